/** The view "Search": the query and filters at the left, a wall of what was found, one image large at the right. */
import { get, pictureOf, post } from './api.js';
import { button, empty, fill, make, problem, writes } from './dom.js';
import { filterForm, optionsOf, searchOptionsOf } from './filters.js';
import { count, counted, similarity } from './format.js';
import { say, undo } from './acts.js';
import { forget, listenForPaste, MOST, queryBox, uploads } from './query.js';
import { go, note } from './route.js';
import { imageTile, inWords, showDetails } from './picture.js';
import { savePage, saveTable } from './save.js';
import { notify } from './notices.js';
import { Wall } from './wall.js';

/** @typedef {import('./api.js').Item} Item */
const TILE = { width: 122, height: 200 };

/**
 * @param {HTMLElement} main
 * @param {import('./route.js').Route} route
 * @param {any} info Of the server.
 */
export async function show(main, route, info) {
  if (!info.gallery) {
    fill(main, empty('No gallery is open', 'Search looks through a gallery of images.',
      'Make one and start again:', make('pre', {}, 'mmreid gallery add galleries/shop FOLDER --config rendered://mobilenet_v2\nmmreid serve --gallery galleries/shop')));
    return { keys: [] };
  }
  const view = new Search(main, route, info);
  await view.start();
  return { keys: view.keys(), close: () => view.close() };
}

class Search {
  /** @param {HTMLElement} main @param {import('./route.js').Route} route @param {any} info */
  constructor(main, route, info) {
    this.query = route.query;
    this.gallery = info.gallery;
    this.threshold = Number(this.query.get('threshold') ?? info.gallery.threshold?.similarity ?? NaN);
    this.ids = this.query.getAll('item');
    /** @type {Item[]} */
    this.matches = [];
    this.bar = make('div.bar');
    this.wallBox = make('div.wall-box');
    this.panel = make('aside.panel', { 'aria-label': 'The current image' });
    this.side = make('div.side');
    this.stopPaste = listenForPaste(() => this.searchUploads());
    fill(main, make('div.columns', {}, this.side, make('section.middle', { 'aria-label': 'Images' }, this.bar, this.wallBox), this.panel));
  }

  async start() {
    try {
      this.asked = await Promise.all(this.ids.map((id) => get(`items/${encodeURIComponent(id)}`)));
    } catch (error) {
      this.ids = [];
      this.asked = [];
      this.failed(/** @type {Error} */ (error));
      this.drawSide();
      return;
    }
    this.drawSide();
    if (this.ids.length || this.usesUploads()) await this.search();
    else await this.browse();
  }

  usesUploads() {
    return this.query.has('upload') && uploads().length > 0;
  }

  drawSide() {
    const own = [...new Set(this.asked.map((one) => one.camera).filter(Boolean))];
    if (!this.usesUploads()) forget();
    fill(this.side,
      queryBox(this.ids, {
        search: () => this.searchUploads(),
        clear: () => { forget(); this.goTo((query) => { query.delete('item'); query.delete('upload'); }); },
        drop: (id) => this.goTo((query) => query.delete('item', id)),
      }),
      filterForm(this.query, this.gallery, own, (query) => go('search', query)));
  }

  /** @param {(query: URLSearchParams) => void} edit */
  goTo(edit) {
    const query = new URLSearchParams(this.query);
    edit(query);
    go('search', query);
  }

  searchUploads() {
    this.goTo((query) => {
      query.delete('item');
      // Another number each time: other images are another step of the browser's history.
      query.set('upload', String(Date.now()));
    });
  }

  /** The gallery itself, where nothing is searched. */
  async browse() {
    const where = optionsOf(this.query);
    fill(this.bar, make('h2', {}, 'Looking at the gallery…'));
    const { total } = await get('items', { ...where, offset: 0, limit: 1 }).catch((error) => { this.failed(error); return {}; });
    if (total === undefined) return;
    if (!total) {
      fill(this.bar, make('h2', {}, 'Gallery: 0 images'));
      fill(this.wallBox, this.gallery.count
        ? empty('No image passes the filters', 'Reset them at the left to see the whole gallery.')
        : empty('The gallery is empty', 'Fill it from a folder of images or from tracks:', make('pre', {}, 'mmreid gallery add GALLERY FOLDER')));
      return;
    }
    fill(this.bar, make('h2', {}, `Gallery: ${counted(total, 'image')}`),
      make('p.quiet', {}, 'Double-click an image, or press Enter, to search for who is on it.'));
    this.showWall([{ title: '', count: total }],
      async (offset, limit) => (await get('items', { ...where, offset, limit })).items);
    if (!writes(document.activeElement)) this.wall?.element.focus({ preventScroll: true });
  }

  async search() {
    fill(this.bar, make('h2', {}, 'Searching…'));
    const options = searchOptionsOf(this.query);
    let result;
    try {
      if (this.usesUploads()) {
        const form = new FormData();
        for (const file of uploads()) form.append('image', file);
        form.append('query', JSON.stringify(options));
        result = await post('search', form);
      } else {
        result = await post('search/items', { ids: this.ids, ...options });
      }
    } catch (error) {
      this.failed(/** @type {Error} */ (error));
      return;
    }
    this.matches = result.matches;
    this.drawBar(result);
    if (!this.matches.length) {
      fill(this.wallBox, empty('Nothing found', 'No image passes the filters at the left.'));
      return;
    }
    this.drawResults();
  }

  /** @param {{took_ms: number, exact: boolean}} result */
  drawBar(result) {
    const marked = Number.isFinite(this.threshold);
    const input = make('input', {
      type: 'number', min: -1, max: 1, step: 0.01, value: marked ? this.threshold.toFixed(2) : '', placeholder: 'none',
      onchange: () => {
        this.threshold = input.value === '' ? NaN : Number(input.value);
        this.query.set('threshold', input.value);
        note(this.query);
        this.drawResults();
      },
    });
    const calibrated = this.gallery.threshold;
    const hint = !calibrated?.far ? 'Images above it are likely the same subject'
      : `Calibrated: ${similarity(calibrated.similarity)} lets ${(100 * calibrated.far).toPrecision(2)} % of different subjects pass`;
    const anew = ['rerank', 'center'].some((name) => this.query.has(name));
    fill(this.bar,
      make('h2', {}, counted(this.matches.length, 'image')),
      make('p.quiet', { title: anew ? 'Re-rank and Center put the images in another order; below each stands its plain similarity' : '' },
        `${result.took_ms < 10 ? result.took_ms.toFixed(1) : Math.round(result.took_ms)} ms, ${result.exact ? 'exact' : 'approximate'}${anew ? ', ranked anew' : ''}`),
      make('label.inline', { title: hint }, make('span', {}, 'Same subject from'), input),
      make('span.push'),
      button('Save CSV', () => saveTable(this.matches), { title: 'The list as a table' }),
      button('Save HTML', () => savePage(this.matches, this.queryPictures()), { title: 'The list with its pictures, as one file' }));
  }

  queryPictures() {
    return this.usesUploads() ? uploads() : this.ids.map((id) => pictureOf({ id }));
  }

  drawResults() {
    const { threshold, matches } = this;
    const above = Number.isFinite(threshold) ? matches.filter((one) => (one.similarity ?? 0) >= threshold) : matches;
    const below = matches.filter((one) => !above.includes(one));
    const ordered = [...above, ...below];
    const sections = Number.isFinite(threshold) ? [
      { title: `Likely the same subject (from ${similarity(threshold)}): ${count(above.length)}`, count: above.length },
      { title: `Less similar, likely others: ${count(below.length)}`, count: below.length },
    ] : [{ title: '', count: ordered.length }];
    this.showWall(sections.filter((section) => section.count || sections.length > 1),
      async (offset, limit) => ordered.slice(offset, offset + limit));
    this.wall?.element.focus({ preventScroll: true });
  }

  /** @param {{title: string, count: number}[]} sections @param {(offset: number, limit: number) => Promise<Item[]>} load */
  showWall(sections, load) {
    this.wall?.close();
    this.wall = new Wall({
      label: 'Images', ...TILE, sections, load, draw: imageTile, describe: inWords,
      open: (one) => this.searchFor(one), moved: (one) => this.showOne(one), failed: (error) => this.failed(error),
    });
    fill(this.wallBox, this.wall.element);
  }

  /** @param {Error} error */
  failed(error) {
    fill(this.bar, make('h2', {}, 'That did not work'));
    fill(this.wallBox, problem(error, () => this.start()));
  }

  /** The one image of the query of which same and different can be said. @returns {Item | undefined} */
  get subject() {
    return this.asked.length === 1 && typeof this.asked[0].image === 'number' ? this.asked[0] : undefined;
  }

  /** @param {Item} one */
  showOne(one) {
    const linked = this.subject && typeof one.image === 'number';
    showDetails(this.panel, one, [
      button('Search this', () => this.searchFor(one), { kind: 'primary', key: '⏎' }),
      this.ids.length > 0 && this.ids.length < MOST && button('Add to the query', () => this.add(one), { key: 'a' }),
      linked && button('Same subject', () => this.sayOf('same'), { key: 's', changes: true }),
      linked && button('Different', () => this.sayOf('different'), { key: 'd', changes: true }),
      typeof one.image === 'number' && one.label !== undefined && one.label >= 0
        && make('a', { href: `#/clusters/${one.label}` }, `Open cluster ${one.label}`),
      this.nameForm(one),
    ]);
  }

  /** @param {Item} one */
  nameForm(one) {
    const input = make('input', { type: 'text', value: one.identity, placeholder: 'unknown', maxLength: 200 });
    const save = async (/** @type {Event} */ event) => {
      event.preventDefault();
      try {
        await post('items', { ids: [one.id], identity: input.value.trim() }, 'PATCH');
        one.identity = input.value.trim();
        notify(one.identity ? `Named ${one.identity}.` : 'The name is gone.');
      } catch (error) {
        notify(/** @type {Error} */ (error).message, { kind: 'bad' });
      }
    };
    return make('form.row.changes', { onsubmit: save }, make('label.field', {}, make('span', {}, 'Name this subject'), input),
      make('button', {}, 'Save'));
  }

  /** @param {Item} one */
  searchFor(one) {
    this.goTo((query) => { query.delete('upload'); query.delete('item'); query.append('item', one.id); });
  }

  /** @param {Item} one */
  add(one) {
    if (!this.ids.includes(one.id)) this.goTo((query) => { query.append('item', one.id); });
  }

  /** @param {'same' | 'different'} kind */
  async sayOf(kind) {
    const one = this.wall?.currentItem();
    if (!one) return;
    if (!this.subject || typeof one.image !== 'number') {
      notify('Same and different are said of two images of the run or gallery under review: search one of those first '
        + '(Enter), then say it of what is found.', { kind: 'bad' });
      return;
    }
    await say(kind, { first: this.subject.image ?? undefined, second: one.image }).then(() => {
      this.wall?.move(this.wall.current + 1);
    }, () => {});
  }

  keys() {
    return [
      { keys: '← → ↑ ↓', does: 'go to another image' },
      { keys: 'Enter', does: 'search for the current image' },
      { keys: 'a', does: 'add the current image to the query', run: () => {
        const one = this.wall?.currentItem();
        if (one && this.ids.length) this.add(one);
      } },
      { keys: 's', does: 'the current image shows the same subject as the query', run: () => this.sayOf('same') },
      { keys: 'd', does: 'it shows a different subject', run: () => this.sayOf('different') },
      { keys: 'u', does: 'undo what was said last', run: () => undo().catch(() => {}) },
      { keys: 'Ctrl + V', does: 'search for the image that was copied' },
    ];
  }

  close() {
    this.wall?.close();
    this.stopPaste();
  }
}
