/**
 * A wall of tiles, of which only those in sight are in the document: 100 000 images cost as many elements as 100.
 * One tile is the current one (arrow keys); some may be chosen (click, shift and click, space).
 */
import { fill, make } from './dom.js';
import { watchFrames } from './frames.js';
import { Pages } from './pages.js';

const GAP = 10;
const HEADING = 44;
/** Thumbnails are left out above this speed of scrolling, pixels per millisecond. */
const HURRY = 3;
let walls = 0;

/**
 * @template T
 * @typedef {object} WallOptions
 * @property {string} label What the wall shows, for screen readers.
 * @property {number} width Of a tile at least, pixels. @property {number} height
 * @property {{title: string, count: number}[]} sections Tiles below each heading; no heading where its title is ''.
 * @property {(offset: number, limit: number) => Promise<T[]>} load
 * @property {(item: T) => Node[]} draw What stands on a tile.
 * @property {(item: T) => string} describe A tile in words.
 * @property {(item: T, index: number) => void} open Enter, or double click.
 * @property {(item: T, index: number) => void} [moved] Another tile is the current one.
 * @property {(chosen: Set<number>) => void} [choose] Tiles may be chosen; called when other ones are.
 * @property {boolean} [clickOpens] A click opens; then `.pick` on a tile, shift and space choose.
 * @property {(error: Error) => void} failed
 */

/** @template T */
export class Wall {
  /** @param {WallOptions<T>} options */
  constructor(options) {
    this.options = options;
    this.name = `wall${(walls += 1)}`;
    this.pages = new Pages(options.load, () => this.draw(), options.failed);
    this.total = options.sections.reduce((sum, section) => sum + section.count, 0);
    this.current = 0;
    /** The tile of which `moved` was told last. */
    this.announced = -1;
    /** @type {Set<number>} */
    this.chosen = new Set();
    this.anchor = 0;
    this.columns = 1;
    /** @type {Map<number, HTMLElement>} */
    this.tiles = new Map();
    this.canvas = make('div.wall-canvas');
    this.element = make('div.wall', {
      role: 'listbox', tabIndex: 0, 'aria-label': options.label, 'aria-multiselectable': Boolean(options.choose),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.key(event),
      onclick: (/** @type {MouseEvent} */ event) => this.click(event),
      ondblclick: (/** @type {MouseEvent} */ event) => options.clickOpens || this.open(this.indexOf(event)),
      onscroll: () => this.scrolled(),
    }, this.canvas);
    this.before = { top: 0, time: 0 };
    this.watcher = new ResizeObserver(() => this.measure());
    this.watcher.observe(this.element);
  }

  /** Columns, and where each section begins. */
  measure() {
    const { width, height, sections } = this.options;
    const room = this.element.clientWidth - 2 * GAP;
    if (room <= 0) return;
    this.columns = Math.max(1, Math.floor((room + GAP) / (width + GAP)));
    this.width = Math.floor((room + GAP) / this.columns) - GAP;
    let top = 0;
    let first = 0;
    this.places = sections.map((section) => {
      const heading = section.title ? HEADING : GAP;
      const place = { ...section, first, top, heading };
      top += heading + Math.ceil(section.count / this.columns) * (height + GAP);
      first += section.count;
      return place;
    });
    this.canvas.style.height = `${top}px`;
    this.tiles.clear();
    const headings = this.places.filter((place) => place.title).map((place) => {
      const heading = make('h3.wall-heading', { role: 'presentation' }, place.title);
      heading.style.top = `${place.top}px`;
      return heading;
    });
    fill(this.canvas, headings);
    this.draw();
  }

  /** @param {number} index @returns {{left: number, top: number}} */
  placeOf(index) {
    const { width, options: { height } } = this;
    const place = this.places.findLast((one) => one.first <= index && one.count);
    const inside = index - place.first;
    return {
      left: GAP + (inside % this.columns) * (width + GAP),
      top: place.top + place.heading + Math.floor(inside / this.columns) * (height + GAP),
    };
  }

  /** @returns {[number, number]} First tile in sight (with a margin), and the one behind the last. */
  inSight() {
    const row = this.options.height + GAP;
    const [from, to] = [this.element.scrollTop - row, this.element.scrollTop + this.element.clientHeight + row];
    let [first, last] = [this.total, 0];
    for (const place of this.places) {
      const top = place.top + place.heading;
      const rows = Math.ceil(place.count / this.columns);
      const begin = Math.min(rows, Math.max(0, Math.floor((from - top) / row)));
      const end = Math.min(rows, Math.max(0, Math.ceil((to - top) / row)));
      if (begin >= end) continue;
      first = Math.min(first, place.first + begin * this.columns);
      last = Math.max(last, Math.min(place.first + end * this.columns, place.first + place.count));
    }
    return [first, last];
  }

  /** Bring the document up to what is in sight. */
  draw() {
    if (!this.places) return;
    const [first, last] = this.inSight();
    for (const [index, tile] of this.tiles) {
      if (index < first || index >= last) {
        tile.remove();
        this.tiles.delete(index);
      }
    }
    for (let index = first; index < last; index += 1) {
      const item = this.pages.at(index);
      const known = this.tiles.get(index);
      if (known && (!item || known.dataset.full)) continue;
      const tile = this.tile(index, item);
      if (known) known.replaceWith(tile);
      else this.canvas.append(tile);
      this.tiles.set(index, tile);
    }
    this.mark();
    if (!this.hurry) this.loadPictures();
  }

  /** @param {number} index @param {T | undefined} item @returns {HTMLElement} */
  tile(index, item) {
    const { height, draw, describe } = this.options;
    const { left, top } = this.placeOf(index);
    const tile = make('div.tile', {
      role: 'option', id: `${this.name}-${index}`, 'aria-setsize': this.total, 'aria-posinset': index + 1,
      'aria-label': item ? describe(item) : 'loading', data: { index, ...(item ? { full: '1' } : {}) },
    }, item ? draw(item) : []);
    Object.assign(tile.style, {
      width: `${this.width}px`, height: `${height}px`, transform: `translate(${left}px, ${top}px)`,
    });
    return tile;
  }

  mark() {
    for (const [index, tile] of this.tiles) {
      tile.classList.toggle('current', index === this.current);
      tile.setAttribute('aria-selected', String(this.chosen.has(index)));
    }
    this.element.setAttribute('aria-activedescendant', `${this.name}-${this.current}`);
    const item = this.announced === this.current ? undefined : this.currentItem();
    if (item) {
      this.announced = this.current;
      this.options.moved?.(item, this.current);
    }
  }

  loadPictures() {
    for (const picture of this.canvas.querySelectorAll('img[data-src]')) {
      const { src } = picture.dataset;
      delete picture.dataset.src;
      picture.src = src;
    }
  }

  scrolled() {
    watchFrames();
    const now = performance.now();
    const top = this.element.scrollTop;
    this.hurry = Math.abs(top - this.before.top) / Math.max(1, now - this.before.time) > HURRY;
    this.before = { top, time: now };
    clearTimeout(this.settling);
    this.settling = setTimeout(() => {
      this.hurry = false;
      this.draw();
    }, 90);
    if (!this.waiting) {
      this.waiting = requestAnimationFrame(() => {
        this.waiting = 0;
        this.draw();
      });
    }
  }

  /** @param {Event} event @returns {number} -1 = beside all tiles. */
  indexOf(event) {
    const tile = /** @type {HTMLElement} */ (event.target).closest('.tile');
    return tile ? Number(/** @type {HTMLElement} */ (tile).dataset.index) : -1;
  }

  /** @param {MouseEvent} event */
  click(event) {
    const index = this.indexOf(event);
    if (index < 0) return;
    const { choose, clickOpens } = this.options;
    const picked = Boolean(/** @type {HTMLElement} */ (event.target).closest('.pick'));
    this.move(index);
    if (choose && event.shiftKey) this.chooseTo(index);
    else if (choose && (picked || !clickOpens)) this.toggle(index);
    else if (clickOpens) this.open(index);
  }

  /** @param {number} index */
  toggle(index) {
    if (!this.chosen.delete(index)) this.chosen.add(index);
    this.anchor = index;
    this.changed();
  }

  /** Choose all from the last one chosen to this one. @param {number} index */
  chooseTo(index) {
    const [first, last] = [Math.min(this.anchor, index), Math.max(this.anchor, index)];
    for (let one = first; one <= last; one += 1) this.chosen.add(one);
    this.changed();
  }

  clear() {
    this.chosen.clear();
    this.changed();
  }

  changed() {
    this.mark();
    this.options.choose?.(this.chosen);
  }

  /** @param {number} index */
  open(index) {
    const item = this.pages.at(index);
    if (index >= 0 && item) this.options.open(item, index);
  }

  /** Make a tile the current one and bring it into sight. @param {number} index */
  move(index) {
    if (!this.total) return;
    this.current = Math.max(0, Math.min(this.total - 1, index));
    if (this.places) {
      const { top } = this.placeOf(this.current);
      const { scrollTop, clientHeight } = this.element;
      const below = top + this.options.height + GAP - clientHeight;
      if (top < scrollTop + HEADING) this.element.scrollTop = top - HEADING;
      else if (below > scrollTop) this.element.scrollTop = below;
      this.draw();
    }
  }

  /** @returns {T | undefined} */
  currentItem() {
    return this.total ? this.pages.at(this.current) : undefined;
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const rows = Math.max(1, Math.floor(this.element.clientHeight / (this.options.height + GAP)));
    const steps = {
      ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.columns, ArrowUp: -this.columns,
      PageDown: rows * this.columns, PageUp: -rows * this.columns, Home: -this.total, End: this.total,
    };
    if (event.key in steps) {
      if (event.shiftKey && this.options.choose) {
        if (!this.chosen.size) this.anchor = this.current;
        this.move(this.current + steps[event.key]);
        this.chooseTo(this.current);
      } else {
        this.move(this.current + steps[event.key]);
      }
    } else if (event.key === 'Enter') {
      this.open(this.current);
    } else if (event.key === ' ' && this.options.choose) {
      this.toggle(this.current);
    } else if (event.key === 'Escape' && this.chosen.size) {
      this.clear();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  /** The wall leaves the page. */
  close() {
    this.watcher.disconnect();
    clearTimeout(this.settling);
  }
}
