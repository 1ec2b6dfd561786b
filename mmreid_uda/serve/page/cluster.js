/** One cluster: its images by distance from their mean, the clusters nearest to it, and what can be said of them. */
import { get } from './api.js';
import { say, undo } from './acts.js';
import { numberOf, reasons } from './clusters.js';
import { button, fill, make, problem } from './dom.js';
import { counted, similarity } from './format.js';
import { imageTile, inWords, showDetails, thumbnail } from './picture.js';
import { address, go } from './route.js';
import { Wall } from './wall.js';

const TILE = { width: 122, height: 200 };
const NEAREST = 5;

/**
 * @param {HTMLElement} main
 * @param {number} label -1 = the images of no cluster.
 * @param {URLSearchParams} query `order` and `at`: where it stands on the wall of clusters.
 * @param {any} info
 */
export async function showCluster(main, label, query, info) {
  const view = new Cluster(main, label, query, info);
  await view.start();
  return { keys: view.keys(), close: () => view.wall?.close() };
}

class Cluster {
  /** @param {HTMLElement} main @param {number} label @param {URLSearchParams} query @param {any} info */
  constructor(main, label, query, info) {
    Object.assign(this, { main, label, query, info });
    this.order = query.get('order') ?? 'worst';
    this.at = query.has('at') ? Number(query.get('at')) : -1;
    this.bar = make('div.bar');
    this.actions = make('div.bar.actions-bar');
    this.box = make('div.wall-box');
    this.panel = make('aside.panel', { 'aria-label': 'The current image' });
    this.nearest = make('aside.side.nearest', { 'aria-label': 'Nearest other clusters' });
    fill(main, make('div.columns', {},
      make('section.middle', { 'aria-label': 'Images of the cluster' }, this.bar, this.actions, this.box), this.panel, this.nearest));
  }

  async start() {
    fill(this.bar, make('h2', {}, 'Looking at the cluster…'));
    const failed = (/** @type {Error} */ error) => fill(this.box, problem(error, () => this.start()));
    try {
      this.found = await get(`clusters/${this.label}`, { offset: 0, limit: 1 });
    } catch (error) {
      failed(/** @type {Error} */ (error));
      return;
    }
    const total = this.found.total ?? this.found.size;
    fill(this.bar,
      make('nav.crumbs', { 'aria-label': 'Other clusters' },
        make('a', { href: address('clusters', { order: this.order === 'worst' ? '' : this.order }) }, '← All clusters'),
        this.at > 0 ? button('Previous', () => this.step(-1), { kind: 'plain', key: '[' }) : null,
        this.at >= 0 ? button('Next', () => this.step(1), { kind: 'plain', key: ']' }) : null),
      make('h2', {}, this.label < 0 ? 'Images of no cluster' : `Cluster ${this.label}`),
      make('p.quiet', {}, [counted(total, 'image'),
        this.found.cameras !== undefined && counted(numberOf(this.found.cameras), 'camera')].filter(Boolean).join(' · ')),
      this.found.reasons && this.label >= 0 ? reasons(this.found) : null);
    this.wall = new Wall({
      label: `Images of cluster ${this.label}`, ...TILE, sections: [{ title: '', count: total }],
      load: async (offset, limit) => (await get(`clusters/${this.label}`, { offset, limit })).members,
      draw: imageTile, describe: inWords, failed,
      choose: () => this.drawActions(), moved: (one) => this.showOne(one),
      open: (one) => { if (one.item && this.info.gallery) go('search', { item: one.item }); },
    });
    fill(this.box, this.wall.element);
    this.drawActions();
    this.wall.element.focus({ preventScroll: true });
    await this.drawNearest();
  }

  drawActions() {
    const { size } = this.wall.chosen;
    const several = this.label >= 0;
    fill(this.actions, size ? [
      make('strong', {}, `${counted(size, 'image')} chosen`),
      several && size < this.wall.total ? button('Split off', () => this.say('split'), { kind: 'primary', key: 'x', changes: true,
        title: 'They show another subject than the rest of this cluster' }) : null,
      button('Not a subject', () => this.say('not_subject'), { key: 'n', changes: true, title: 'Nobody is on them: they get no label' }),
      size === 2 ? button('Same subject', () => this.sayOfTwo('same'), { key: 's', changes: true }) : null,
      size === 2 ? button('Different', () => this.sayOfTwo('different'), { key: 'd', changes: true }) : null,
      button('Clear', () => this.wall.clear(), { kind: 'plain', key: 'Esc' }),
    ] : make('p.quiet', {}, several ? 'Sorted from typical to far off. Choose images that do not belong here: click, or shift and click for a row of them.'
      : 'Choose images, then say what they are.'));
  }

  /** @returns {Promise<number[]>} Positions of the chosen images. */
  async images() {
    return (await this.wall.pages.all([...this.wall.chosen].sort((a, b) => a - b))).map((one) => one.image);
  }

  /** @param {'split' | 'not_subject'} kind */
  async say(kind) {
    if (!this.wall.chosen.size) return;
    const images = await this.images();
    const about = kind === 'split' ? { label: this.label, images } : { images };
    await this.done(say(kind, about, () => this.wall.measure()));
  }

  /** @param {'same' | 'different'} kind */
  async sayOfTwo(kind) {
    if (this.wall.chosen.size !== 2) return;
    const [first, second] = await this.images();
    await this.done(say(kind, { first, second }, () => this.wall.measure()));
  }

  /** @param {Promise<any>} act */
  async done(act) {
    await act.then(() => this.wall.clear(), () => {});
    this.wall.measure();
    this.wall.element.focus({ preventScroll: true });
  }

  /** @param {any} one */
  showOne(one) {
    showDetails(this.panel, one, [
      one.item && this.info.gallery ? button('Search this', () => go('search', { item: one.item }), { key: '⏎' }) : null,
    ]);
  }

  async drawNearest() {
    const others = (this.found.nearest ?? []).slice(0, NEAREST);
    if (this.label < 0 || !others.length) {
      this.nearest.remove();
      return;
    }
    fill(this.nearest, make('h2', {}, 'Nearest clusters'), make('p.quiet', {}, 'Is one of them the same subject?'));
    const shown = await Promise.all(others.map((/** @type {any} */ one) =>
      get(`clusters/${one.label}`, { offset: 0, limit: 3 }).catch(() => ({ members: [] }))));
    this.nearest.append(...others.map((/** @type {any} */ one, /** @type {number} */ index) => make('section.near', {},
      make('div.covers', {}, shown[index].members.map((/** @type {any} */ member) => thumbnail(member, true))),
      make('p', {}, make('a', { href: address(`clusters/${one.label}`, { order: this.order }) }, `Cluster ${one.label}`),
        ` ${counted(shown[index].total ?? shown[index].size ?? 0, 'image')}, similarity ${similarity(one.similarity)}`),
      button('Merge with this one', () => this.merge(one.label), { key: index ? '' : 'm', changes: true }))));
  }

  /** @param {number} other */
  async merge(other) {
    await this.done(say('merge', { labels: [this.label, other] }));
  }

  /** @param {number} by */
  async step(by) {
    const at = this.at + by;
    const { clusters } = await get('clusters', { order: this.order, offset: at, limit: 1 });
    if (clusters.length) go(`clusters/${clusters[0].label}`, { order: this.order, at });
  }

  keys() {
    return [
      { keys: '← → ↑ ↓', does: 'go to another image' },
      { keys: 'Space', does: 'choose the image (shift and arrows: several)' },
      { keys: 'x', does: 'split the chosen images off: another subject', run: () => this.say('split') },
      { keys: 'n', does: 'the chosen images show no subject', run: () => this.say('not_subject') },
      { keys: 's', does: 'the two chosen images show the same subject', run: () => this.sayOfTwo('same') },
      { keys: 'd', does: 'they show different subjects', run: () => this.sayOfTwo('different') },
      { keys: 'm', does: 'merge with the nearest cluster', run: () => {
        const [nearest] = this.found?.nearest ?? [];
        if (nearest) this.merge(nearest.label);
      } },
      { keys: '[', does: 'previous cluster', run: () => { if (this.at > 0) this.step(-1); } },
      { keys: ']', does: 'next cluster', run: () => { if (this.at >= 0) this.step(1); } },
      { keys: 'Enter', does: 'search the gallery for the image' },
      { keys: 'u', does: 'undo what was said last', run: () => undo().then(() => this.wall.measure(), () => {}) },
      { keys: 'Esc', does: 'choose none' },
    ];
  }
}
