/** The view "Map": every image as a point, near ones look alike. A lasso chooses images, the panel says what they are. */
import { get, pictureOf } from './api.js';
import { say, undo } from './acts.js';
import { noReview } from './clusters.js';
import { button, fill, labeled, make, menu, problem } from './dom.js';
import { clusterName, counted, named } from './format.js';
import { thumbnail } from './picture.js';
import { address, note } from './route.js';
import { NONE, PALETTE, Scatter } from './scatter.js';

const SHOWN = 24;
const STEP = 60;

/**
 * @param {HTMLElement} main
 * @param {import('./route.js').Route} route
 * @param {any} info
 */
export async function show(main, route, info) {
  if (!info.run) {
    noReview(main);
    return { keys: [] };
  }
  const bar = make('div.bar');
  const box = make('div.map-box');
  fill(main, make('div.columns', {}, make('section.middle', { 'aria-label': 'Map' }, bar, box)));
  fill(bar, make('h2', {}, 'Map'), make('p.quiet', {}, 'Laying the map out; for many images this takes a while the first time…'));
  try {
    const points = await get('map');
    const view = new MapView(bar, box, points, route.query);
    return { keys: view.keys(), close: () => view.scatter.close() };
  } catch (error) {
    fill(box, problem(/** @type {Error} */ (error), () => show(main, route, info)));
    return { keys: [] };
  }
}

class MapView {
  /**
   * @param {HTMLElement} bar @param {HTMLElement} box
   * @param {{x: number[], y: number[], label: number[], camera: string[]}} points
   * @param {URLSearchParams} query
   */
  constructor(bar, box, points, query) {
    this.points = points;
    this.by = query.get('color') ?? 'cluster';
    this.cameras = [...new Set(points.camera)].filter((camera) => camera !== '').sort();
    this.canvas = make('canvas.map', {
      tabIndex: 0, role: 'application', 'aria-label': `Map of ${counted(points.x.length, 'image')}: arrow keys move it, + and - zoom, a chooses what is in sight`,
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.key(event),
    });
    this.tip = make('div.tip', { hidden: true });
    this.panel = make('aside.panel', { 'aria-label': 'Chosen images' });
    this.legend = make('ul.legend', { 'aria-label': 'Colors' });
    this.lassoButton = button('Lasso', () => this.setLasso(!this.scatter.lassoing), { key: 'l', 'aria-pressed': false });
    this.scatter = new Scatter(this.canvas, Float32Array.from(points.x), Float32Array.from(points.y), {
      hover: (index, x, y) => this.hover(index, x, y), choose: (found, more) => this.choose(found, more),
    });
    fill(bar, make('h2', {}, `Map of ${counted(points.x.length, 'image')}`),
      labeled('Color', menu([['cluster', 'by cluster'], ['camera', 'by camera']], this.by, (value) => this.color(value))),
      this.legend, make('span.push'), this.lassoButton,
      button('+', () => this.scatter.zoom(1.5), { 'aria-label': 'Zoom in', title: 'Zoom in (+)' }),
      button('−', () => this.scatter.zoom(1 / 1.5), { 'aria-label': 'Zoom out', title: 'Zoom out (-)' }),
      button('Fit', () => this.scatter.fit(), { key: '0' }));
    fill(box, make('div.map-ground', {}, this.canvas, this.tip), this.panel);
    this.color(this.by);
    this.drawPanel();
    this.canvas.focus({ preventScroll: true });
  }

  /** @param {string} by */
  color(by) {
    this.by = by;
    note({ color: by === 'cluster' ? '' : by });
    const { label, camera } = this.points;
    const numbers = by === 'camera' ? camera.map((one) => this.cameras.indexOf(one)) : label;
    this.scatter.colors = Int16Array.from(numbers, (number) => (number < 0 ? -1 : number % PALETTE.length));
    const entry = (/** @type {string} */ color, /** @type {string} */ text) => {
      const dot = make('span.dot');
      dot.style.background = color;
      return make('li', {}, dot, text);
    };
    fill(this.legend,
      by === 'camera' ? this.cameras.slice(0, PALETTE.length).map((name, index) => entry(PALETTE[index], name)) : null,
      by === 'camera' && this.cameras.length > PALETTE.length ? make('li', {}, 'colors repeat for the others') : null,
      by === 'cluster' ? make('li', {}, 'colors repeat: point at an image for its cluster') : null,
      numbers.some((number) => number < 0) ? entry(NONE, by === 'camera' ? 'unknown' : 'in no cluster') : null);
    this.scatter.later();
  }

  /** @param {boolean} on */
  setLasso(on) {
    this.scatter.lassoing = on;
    this.lassoButton.setAttribute('aria-pressed', String(on));
    this.canvas.classList.toggle('lassoing', on);
  }

  /** @param {number} index @param {number} x @param {number} y */
  hover(index, x, y) {
    this.tip.hidden = index < 0;
    if (index < 0) {
      this.over = index;
      return;
    }
    if (index !== this.over) {
      this.over = index;
      const { label, camera } = this.points;
      fill(this.tip, make('img', { alt: '', src: pictureOf({ image: index }) }),
        make('span', {}, `${clusterName(label[index])}`), make('span', {}, `camera ${named(camera[index])}`));
    }
    const right = x > this.canvas.clientWidth - 140;
    this.tip.style.transform = `translate(${right ? x - 132 : x + 14}px, ${Math.min(y + 10, this.canvas.clientHeight - 190)}px)`;
  }

  /** @param {number[]} found @param {boolean} more */
  choose(found, more) {
    this.scatter.chosen = new Set(more ? [...this.scatter.chosen, ...found] : found);
    this.scatter.later();
    this.drawPanel();
  }

  /** @returns {Map<number, number[]>} Cluster -> chosen images of it, the one with most first. */
  chosenByCluster() {
    /** @type {Map<number, number[]>} */
    const parts = new Map();
    for (const index of this.scatter.chosen) {
      const label = this.points.label[index];
      parts.set(label, [...(parts.get(label) ?? []), index]);
    }
    return new Map([...parts].sort(([, one], [, other]) => other.length - one.length));
  }

  drawPanel() {
    const { chosen } = this.scatter;
    if (!chosen.size) {
      fill(this.panel, make('h2', {}, 'Nothing chosen'),
        make('p', {}, 'Images that lie together look alike to the network. Point at one to see it, click it to choose it.'),
        make('p', {}, 'Hold shift and drag, or switch the lasso on, to draw around several: then say here what they are.'),
        make('p.quiet', {}, 'Drag to move, turn the wheel to zoom.'));
      return;
    }
    const parts = this.chosenByCluster();
    const labels = [...parts.keys()].filter((label) => label >= 0);
    const sizes = new Map(labels.map((label) => [label, this.points.label.filter((one) => one === label).length]));
    fill(this.panel, make('h2', {}, `${counted(chosen.size, 'image')} chosen`),
      make('ul.parts', {}, [...parts].slice(0, 8).map(([label, images]) => make('li', {},
        label < 0 ? make('span', {}, clusterName(label)) : make('a', { href: address(`clusters/${label}`) }, clusterName(label)),
        make('span', {}, counted(images.length, 'image')),
        label >= 0 && images.length < sizes.get(label) ? button('Split off', () => this.done(say('split', { label, images })), {
          title: `These show another subject than the rest of cluster ${label}`, changes: true }) : null))),
      parts.size > 8 ? make('p.quiet', {}, `and of ${parts.size - 8} more clusters`) : null,
      make('div.actions', {},
        labels.length > 1 ? button(`Merge these ${labels.length} clusters`, () => this.merge(), { kind: 'primary', key: 'm', changes: true }) : null,
        button('Not a subject', () => this.notSubject(), { key: 'n', changes: true }),
        button('Clear', () => this.choose([], false), { kind: 'plain', key: 'Esc' })),
      make('div.covers', {}, [...chosen].slice(0, SHOWN).map((image) => thumbnail({ image }, true))),
      chosen.size > SHOWN ? make('p.quiet', {}, `and ${counted(chosen.size - SHOWN, 'more image')}`) : null);
  }

  /** @param {Promise<any>} act */
  async done(act) {
    await act.then(() => this.choose([], false), () => {});
  }

  merge() {
    const labels = [...this.chosenByCluster().keys()].filter((label) => label >= 0);
    if (labels.length > 1) this.done(say('merge', { labels }));
  }

  notSubject() {
    if (this.scatter.chosen.size) this.done(say('not_subject', { images: [...this.scatter.chosen] }));
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const moves = { ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    this.scatter.pan(move[0], move[1]);
  }

  keys() {
    return [
      { keys: '← → ↑ ↓', does: 'move the map' },
      { keys: '+', does: 'zoom in', match: (event) => event.key === '+' || event.key === '=', run: () => this.scatter.zoom(1.5) },
      { keys: '-', does: 'zoom out', run: () => this.scatter.zoom(1 / 1.5) },
      { keys: '0', does: 'show everything', run: () => this.scatter.fit() },
      { keys: 'l', does: 'lasso on or off', run: () => this.setLasso(!this.scatter.lassoing) },
      { keys: 'a', does: 'choose everything in sight', run: () => this.scatter.chooseInSight() },
      { keys: 'm', does: 'merge the clusters of the chosen images', run: () => this.merge() },
      { keys: 'n', does: 'the chosen images show no subject', run: () => this.notSubject() },
      { keys: 'u', does: 'undo what was said last', run: () => undo().catch(() => {}) },
      { keys: 'Esc', does: 'choose nothing', match: (event) => event.key === 'Escape', run: () => this.choose([], false) },
    ];
  }
}
