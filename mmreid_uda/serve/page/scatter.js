/**
 * Points on a canvas: every picture is painted pixel by pixel in one pass, which for 100 000 points takes a few
 * milliseconds without any GPU. Moved by dragging, zoomed by the wheel, a lasso chooses.
 */
import { watchFrames } from './frames.js';

/** Colors that people who see few colors can tell apart (Okabe and Ito), the yellow darkened for a white ground. */
export const PALETTE = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#b3a300'];
export const NONE = '#9aa0a6';
const FADED = 40;

/** @param {string} hex @param {number} alpha @returns {number} As a canvas keeps it: ABGR. */
function pixel(hex, alpha) {
  const value = parseInt(hex.slice(1), 16);
  return ((alpha << 24) | ((value & 255) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
}

/** @param {number} radius @param {number} width Of the picture. @returns {Int32Array} Its pixels, seen from the center. */
function discOf(radius, width) {
  const found = [];
  for (let dy = -radius; dy <= radius; dy += 1) {
    for (let dx = -radius; dx <= radius; dx += 1) if (dx * dx + dy * dy <= radius * (radius + 1)) found.push(dy * width + dx);
  }
  return Int32Array.from(found);
}

/**
 * @param {[number, number][]} polygon
 * @param {number} x @param {number} y
 * @returns {boolean} Whether the point lies inside (even-odd rule).
 */
export function inside(polygon, x, y) {
  let odd = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i, i += 1) {
    const [xi, yi] = polygon[i];
    const [xj, yj] = polygon[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) odd = !odd;
  }
  return odd;
}

export class Scatter {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {ArrayLike<number>} x (N,) @param {ArrayLike<number>} y (N,)
   * @param {{hover: (index: number, x: number, y: number) => void, choose: (indices: number[], more: boolean) => void}} told
   */
  constructor(canvas, x, y, told) {
    Object.assign(this, { canvas, x, y, told });
    this.number = x.length;
    /** Which colour each point has: -1 = none. */
    this.colors = new Int16Array(this.number).fill(-1);
    /** @type {Set<number>} */
    this.chosen = new Set();
    this.lassoing = false;
    /** @type {[number, number][] | null} */
    this.lasso = null;
    this.watcher = new ResizeObserver(() => this.resize());
    this.watcher.observe(canvas);
    canvas.addEventListener('wheel', (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 300), event.offsetX, event.offsetY);
    }, { passive: false });
    canvas.addEventListener('pointerdown', (event) => this.down(event));
    canvas.addEventListener('pointermove', (event) => this.moved(event));
    canvas.addEventListener('pointerup', (event) => this.up(event));
    canvas.addEventListener('pointerleave', () => this.told.hover(-1, 0, 0));
  }

  resize() {
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    this.ratio = ratio;
    this.picture = this.canvas.getContext('2d')?.createImageData(this.canvas.width, this.canvas.height);
    if (this.scale === undefined && this.canvas.clientWidth > 1) this.fit();
    else this.later();
  }

  /** Everything in sight. */
  fit() {
    let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < this.number; i += 1) {
      left = Math.min(left, this.x[i]);
      right = Math.max(right, this.x[i]);
      top = Math.min(top, this.y[i]);
      bottom = Math.max(bottom, this.y[i]);
    }
    const { clientWidth, clientHeight } = this.canvas;
    this.scale = 0.92 * Math.min(clientWidth / (right - left || 1), clientHeight / (bottom - top || 1));
    this.left = clientWidth / 2 - (this.scale * (left + right)) / 2;
    this.top = clientHeight / 2 - (this.scale * (top + bottom)) / 2;
    this.later();
  }

  /** @param {number} factor @param {number} [atX] Stays where it is, CSS pixels. @param {number} [atY] */
  zoom(factor, atX = this.canvas.clientWidth / 2, atY = this.canvas.clientHeight / 2) {
    this.scale *= factor;
    this.left = atX - factor * (atX - this.left);
    this.top = atY - factor * (atY - this.top);
    this.later();
  }

  /** @param {number} dx @param {number} dy CSS pixels. */
  pan(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.later();
  }

  /** Paint at the next frame. */
  later() {
    watchFrames();
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = undefined;
      this.paint();
    });
  }

  paint() {
    const { picture } = this;
    if (!picture || this.scale === undefined) return;
    const pixels = new Uint32Array(picture.data.buffer);
    pixels.fill(0);
    const some = this.chosen.size > 0;
    const strong = [NONE, ...PALETTE].map((color) => pixel(color, 255));
    const faded = [NONE, ...PALETTE].map((color) => pixel(color, some ? FADED : 255));
    const radius = Math.max(1, Math.round(this.ratio * Math.min(4.5, Math.max(1.5, 260 / Math.sqrt(this.number)))));
    const disc = discOf(radius, picture.width);
    for (let i = 0; i < this.number; i += 1) this.dot(pixels, i, radius, disc, faded[this.colors[i] + 1]);
    for (const i of this.chosen) this.dot(pixels, i, radius, disc, strong[this.colors[i] + 1]);
    const context = this.canvas.getContext('2d');
    context?.putImageData(picture, 0, 0);
    if (context && this.lasso) this.paintLasso(context);
  }

  /** @param {Uint32Array} pixels @param {number} i @param {number} radius @param {Int32Array} disc @param {number} color */
  dot(pixels, i, radius, disc, color) {
    const { width, height } = /** @type {ImageData} */ (this.picture);
    const cx = Math.round((this.x[i] * this.scale + this.left) * this.ratio);
    const cy = Math.round((this.y[i] * this.scale + this.top) * this.ratio);
    if (cx < radius || cy < radius || cx >= width - radius || cy >= height - radius) return;
    const center = cy * width + cx;
    for (let k = 0; k < disc.length; k += 1) pixels[center + disc[k]] = color;
  }

  /** @param {CanvasRenderingContext2D} context */
  paintLasso(context) {
    context.beginPath();
    for (const [x, y] of this.lasso ?? []) context.lineTo(x * this.ratio, y * this.ratio);
    context.closePath();
    context.strokeStyle = '#d55e00';
    context.lineWidth = 2 * this.ratio;
    context.fillStyle = 'rgba(213, 94, 0, 0.12)';
    context.fill();
    context.stroke();
  }

  /** @param {number} x @param {number} y CSS pixels. @returns {number} The nearest point within 8 pixels; -1 = none. */
  at(x, y) {
    let [best, nearest] = [64, -1];
    for (let i = 0; i < this.number; i += 1) {
      const dx = this.x[i] * this.scale + this.left - x;
      const dy = this.y[i] * this.scale + this.top - y;
      const distance = dx * dx + dy * dy;
      if (distance < best) [best, nearest] = [distance, i];
    }
    return nearest;
  }

  /** @param {[number, number][]} polygon CSS pixels. @returns {number[]} */
  within(polygon) {
    const found = [];
    const [xs, ys] = [polygon.map(([x]) => x), polygon.map(([, y]) => y)];
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    for (let i = 0; i < this.number; i += 1) {
      const x = this.x[i] * this.scale + this.left;
      const y = this.y[i] * this.scale + this.top;
      if (x >= left && x <= right && y >= top && y <= bottom && inside(polygon, x, y)) found.push(i);
    }
    return found;
  }

  /** Choose every point in sight: what a lasso does, for the keyboard. */
  chooseInSight() {
    const { clientWidth: w, clientHeight: h } = this.canvas;
    this.told.choose(this.within([[0, 0], [w, 0], [w, h], [0, h]]), false);
  }

  /** @param {PointerEvent} event */
  down(event) {
    if (event.button) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.grip = { x: event.offsetX, y: event.offsetY, far: false };
    if (this.lassoing !== event.shiftKey) this.lasso = [[event.offsetX, event.offsetY]];
  }

  /** @param {PointerEvent} event */
  moved(event) {
    const { offsetX: x, offsetY: y } = event;
    if (!this.grip) {
      this.told.hover(this.at(x, y), x, y);
      return;
    }
    this.grip.far ||= Math.hypot(x - this.grip.x, y - this.grip.y) > 4;
    if (this.lasso) {
      this.lasso.push([x, y]);
      this.later();
    } else if (this.grip.far) {
      this.pan(x - this.grip.x, y - this.grip.y);
      Object.assign(this.grip, { x, y });
    }
  }

  /** @param {PointerEvent} event */
  up(event) {
    const { grip, lasso } = this;
    this.grip = undefined;
    this.lasso = null;
    if (!grip) return;
    if (lasso && lasso.length > 2 && grip.far) {
      this.told.choose(this.within(lasso), event.ctrlKey || event.metaKey);
    } else if (!grip.far) {
      const one = this.at(event.offsetX, event.offsetY);
      this.told.choose(one < 0 ? [] : [one], one >= 0 && (event.ctrlKey || event.metaKey));
    }
    this.later();
  }

  /** The canvas leaves the page. */
  close() {
    this.watcher.disconnect();
  }
}
