/** The view "History": what was said, and what comes of it: cluster again, train again, before and after. */
import { get } from './api.js';
import { author, setAuthor, settled, undo } from './acts.js';
import { noReview } from './clusters.js';
import { button, empty, fill, labeled, make, problem } from './dom.js';
import { count, counted, time } from './format.js';
import { showFacts } from './facts.js';
import { runJob } from './jobs.js';
import { notify } from './notices.js';

/** Figures in words. @type {Record<string, string>} */
const FIGURES = {
  must_links: 'must-links', must_violated: 'must-links not obeyed', cannot_links: 'cannot-links',
  cannot_violated: 'cannot-links not obeyed', images: 'images that may get a label', ignored: 'images that show no subject',
  outliers: 'images in no cluster', outlier_ratio: 'share of them', median: 'images of a cluster, median',
  largest: 'images of the largest cluster', tracklet_purity: 'tracklets in one cluster as a whole',
  seen_together: 'seen together, yet in one cluster', one_camera_share: 'clusters of one camera alone',
  one_camera_chance: 'the same, by chance',
  tracklet_cuts: 'tracklets cut where images change at once', nodes: 'pieces of tracklets that were joined',
  distance_threshold: 'greatest distance that was joined', refused_joins: 'joins that evidence or links forbade',
  ari_mirrored: 'agreement with the labels of mirrored images (ARI)', ari: 'agreement with the identities (ARI)', f_score: 'pairs that are right (F)',
};

/**
 * @param {HTMLElement} main
 * @param {import('./route.js').Route} _route
 * @param {any} info
 */
export async function show(main, _route, info) {
  if (!info.run) {
    noReview(main);
    return { keys: [] };
  }
  const view = new History(main, info);
  await view.draw();
  return { keys: [{ keys: 'u', does: 'undo what was said last', run: () => undo().then(() => view.drawActs(), () => {}) }] };
}

class History {
  /** @param {HTMLElement} main @param {any} info */
  constructor(main, info) {
    this.info = info;
    this.acts = make('section.acts', { 'aria-label': 'What was said' });
    this.next = make('section.next', { 'aria-label': 'What comes of it' });
    this.compared = make('section.compared', { 'aria-label': 'Before and after' });
    fill(main, make('div.two', {}, this.acts, make('div', {}, this.next, this.compared)));
  }

  async draw() {
    this.drawNext();
    await Promise.all([this.drawActs(), this.drawTraining(), this.drawCompared()]);
  }

  async drawActs() {
    const { who } = this.info;
    const name = make('input', { type: 'text', value: author(), placeholder: who === 'local' ? 'your name' : who, maxLength: 100,
      onchange: () => setAuthor(name.value) });
    const head = [make('h2', {}, 'What was said'),
      make('p.quiet', {}, `Each act is rows of ${this.info.run.links_path}, which every next clustering and training reads.`),
      this.info.read_only ? null : labeled('Said by', name, 'Stands beside each act from now on')];
    try {
      const { acts } = await get('acts');
      const row = (/** @type {any} */ act) => make('tr', { className: act.undone ? 'undone' : '' },
        make('td', {}, act.text), make('td', {}, count(act.rows)), make('td', {}, act.author || '–'),
        make('td.when', {}, time(act.time)),
        make('td', {}, act.undone ? 'undone' : act.kind === 'undo' ? '' : button('Undo', () => this.undo(act.id), { 'aria-label': `Undo: ${act.text}`, changes: true })));
      fill(this.acts, head, acts.length
        ? make('table', {}, make('thead', {}, make('tr', {}, ['Act', 'Rows', 'By', 'When (UTC)', ''].map((text) => make('th', {}, text)))),
          make('tbody', {}, acts.map(row)))
        : empty('Nothing yet', 'Merge and split in Clusters or on the Map, or answer Questions; it is listed here and can be undone.'));
    } catch (error) {
      fill(this.acts, head, problem(/** @type {Error} */ (error), () => this.drawActs()));
    }
  }

  /** @param {string} id */
  async undo(id) {
    await undo(id).then(() => this.drawActs(), () => {});
  }

  drawNext() {
    this.training = make('div.training');
    this.clustered = make('p.quiet', { role: 'status' });
    this.trained = make('p.quiet', { role: 'status' });
    this.again = button('Cluster again', () => this.recluster(), { kind: 'primary', changes: true });
    fill(this.next, make('h2', {}, 'What comes of it'),
      make('p.changes', {}, make('strong', {}, 'Cluster again: '), 'the same features, with the links as they are now. Takes seconds, and holds until the server ends.'),
      make('div.row', {}, this.again, this.clustered), this.training, this.trained,
      make('p', {}, make('strong', {}, 'Take it along: '), 'paths, cameras, clusters, map and features as one table, which '
        + 'Spotlight, Embedding Atlas and LightlyStudio open. ',
      make('a', { href: '/v1/export/review.parquet', download: 'review.parquet' }, 'Save as parquet')));
  }

  async drawTraining() {
    const { command } = await get('trainings').catch(() => ({ command: null }));
    if (!command) return;
    const line = Array.isArray(command) ? command.map(quoted).join(' ') : command;
    const copy = async () => {
      await navigator.clipboard.writeText(line).then(() => notify('Copied.'), () => {
        getSelection()?.selectAllChildren(shown);
        notify('The browser does not let this page copy; the command is marked: press Ctrl + C.', { kind: 'bad' });
      });
    };
    const shown = make('code', {}, line);
    fill(this.training,
      make('p', {}, make('strong', {}, 'Train again: '), 'a new run whose labels obey the links, so that the features learn from them.'),
      make('pre.command', {}, shown), make('div.row', {}, button('Copy the command', copy),
        this.info.training ? button('Train here', () => this.train(), { changes: true }) : null));
  }

  /**
   * @param {string} path
   * @param {HTMLElement} state Tells how far it is, and then what has come of it.
   * @param {string} doing
   * @param {(result: any) => string} said
   */
  async job(path, state, doing, said) {
    const buttons = this.next.querySelectorAll('button');
    for (const one of buttons) one.disabled = true;
    try {
      const result = await runJob(path, (progress, line) => {
        const far = progress === null ? `${doing}…` : `${doing}: ${Math.round(100 * progress)} %`;
        state.textContent = line ? `${far} ${line}` : far;
      });
      state.textContent = said(result);
      await Promise.all([this.drawCompared(), this.drawTraining(), get('info').then(showFacts)]);
    } catch (error) {
      state.textContent = '';
      notify(/** @type {Error} */ (error).message, { kind: 'bad' });
    }
    for (const one of buttons) one.disabled = false;
  }

  async recluster() {
    await this.job('recluster', this.clustered, 'Clustering',
      ({ clusters }) => `Clustered again, ${counted(clusters, 'cluster')}: Clusters and Map show the new labels.`);
    settled();
  }

  async train() {
    await this.job('trainings', this.trained, 'Training',
      (result) => `Trained. To look at it: mmreid serve --run ${quoted(result.work_dir)}`);
  }

  async drawCompared() {
    try {
      const { rows, before, after } = await get('compare');
      fill(this.compared, make('h2', {}, 'Before and after'),
        rows.length ? make('p.quiet', {}, `Before: ${before}. After: ${after}.`) : null, rows.length
        ? make('table.figures', {}, make('thead', {}, make('tr', {}, ['', 'Before', 'After'].map((text) => make('th', {}, text)))),
          make('tbody', {}, [...rows].sort(tellingFirst).map(compared)))
        : make('p.quiet', {}, this.info.read_only ? 'Nothing has changed since the server was started.' : 'Cluster again to see what the acts change.'));
    } catch (error) {
      fill(this.compared, make('h2', {}, 'Before and after'), problem(/** @type {Error} */ (error)));
    }
  }
}

/** @param {string} word @returns {string} As a shell reads it. */
function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** @param {any} value @returns {string} */
function figure(value) {
  if (value === null || value === undefined) return '–';
  if (typeof value !== 'number' || Number.isInteger(value)) return String(value);
  return value.toPrecision(3).replace('-', '\u2212');
}

/** Rows of which one side is the better one come first. @param {any} one @param {any} other @returns {number} */
function tellingFirst(one, other) {
  return Number(Boolean(other.better)) - Number(Boolean(one.better));
}

/** @param {any} row @returns {HTMLElement} */
function compared({ name, before, after, better }) {
  const moved = typeof before === 'number' && typeof after === 'number' ? Math.sign(after - before) : 0;
  const good = moved * ({ higher: 1, lower: -1 }[better] ?? 0);
  return make('tr', {}, make('th', { scope: 'row' }, FIGURES[name.replaceAll(' ', '_')] ?? name), make('td', {}, figure(before)),
    make('td', { className: good > 0 ? 'better' : good < 0 ? 'worse' : '' }, figure(after),
      moved ? make('span', { 'aria-hidden': 'true' }, moved > 0 ? ' ↑' : ' ↓') : null));
}
