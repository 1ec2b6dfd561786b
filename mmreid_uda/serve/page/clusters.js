/** The view "Clusters": a wall of cards, the one most in need of a look first. */
import { get } from './api.js';
import { saidOfCluster, say, undo } from './acts.js';
import { showCluster } from './cluster.js';
import { button, empty, fill, labeled, make, menu, problem } from './dom.js';
import { count, counted } from './format.js';
import { thumbnail } from './picture.js';
import { address, go } from './route.js';
import { Wall } from './wall.js';

const CARD = { width: 322, height: 236 };
export const ORDERS = /** @type {[string, string][]} */ ([
  ['worst', 'worst first'], ['size', 'largest first'], ['label', 'by number'],
]);

/** What stands where there is nothing to review. @param {HTMLElement} main */
export function noReview(main) {
  fill(main, empty('No clusters are open', 'Open the folder of a training to see whom it took for whom, or have the images of a gallery clustered:',
    make('pre', {}, 'mmreid serve --run work_dirs/my_run\nmmreid serve --gallery my_gallery --clusters')));
}

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
  return route.rest.length ? showCluster(main, Number(route.rest[0]), route.query, info) : showAll(main, route.query);
}

/** @param {HTMLElement} main @param {URLSearchParams} query */
async function showAll(main, query) {
  const order = query.get('order') ?? 'worst';
  const bar = make('div.bar');
  const box = make('div.wall-box');
  fill(main, make('div.columns', {}, make('section.middle', { 'aria-label': 'Clusters' }, bar, box)));
  const failed = (/** @type {Error} */ error) => fill(box, problem(error, () => showAll(main, query)));
  const ask = (/** @type {number} */ offset, /** @type {number} */ limit) => get('clusters', { order, offset, limit });
  const actions = make('div.row');
  /** @type {Wall<any>} */
  let wall;
  const merge = async () => {
    const labels = (await wall.pages.all([...wall.chosen])).map((one) => one.label);
    if (labels.length < 2) return;
    await say('merge', { labels }, () => wall.measure()).then(() => wall.clear(), () => {});
    wall.measure();
  };
  const choose = (/** @type {Set<number>} */ chosen) => fill(actions,
    chosen.size > 1 ? [button(`Merge these ${chosen.size}`, merge, { kind: 'primary', key: 'm', changes: true }),
      button('Clear', () => wall.clear(), { kind: 'plain', key: 'Esc' })]
      : make('p.quiet', {}, chosen.size ? 'Tick another cluster to merge the two.' : 'Click a cluster to look into it; tick several that show one subject to merge them.'));
  let first;
  fill(bar, make('h2', {}, 'Looking at the clusters…'));
  try {
    first = await ask(0, 1);
  } catch (error) {
    failed(/** @type {Error} */ (error));
    return { keys: [] };
  }
  fill(bar, make('h2', {}, counted(first.total, 'cluster')),
    first.outliers ? make('a.quiet', { href: address('clusters/-1'), title: 'Look at them' }, `${counted(first.outliers, 'image')} in none`) : null,
    labeled('Order', menu(ORDERS, order, (value) => go('clusters', { order: value === 'worst' ? '' : value }))),
    make('span.push'), actions);
  if (!first.total) {
    fill(box, empty('There are no clusters', 'Every image is an outlier: cluster again with a larger distance, or train for longer.'));
    return { keys: [] };
  }
  wall = new Wall({
    label: 'Clusters', ...CARD, sections: [{ title: '', count: first.total }],
    load: async (offset, limit) => (await ask(offset, limit)).clusters,
    draw: card, describe: inWords, failed, choose, clickOpens: true,
    open: (one, index) => go(`clusters/${one.label}`, { order, at: index }),
  });
  fill(box, wall.element);
  choose(wall.chosen);
  wall.element.focus({ preventScroll: true });
  return {
    close: () => wall.close(),
    keys: [
      { keys: '← → ↑ ↓', does: 'go to another cluster' },
      { keys: 'Enter', does: 'look into the cluster' },
      { keys: 'Space', does: 'tick the cluster' },
      { keys: 'm', does: 'merge the ticked clusters', run: merge },
      { keys: 'u', does: 'undo what was said last', run: () => undo().then(() => wall.measure(), () => {}) },
    ],
  };
}

/** @param {any} one A cluster. @returns {string} */
function inWords(one) {
  return [`cluster ${one.label}`, counted(one.size, 'image'), counted(numberOf(one.cameras), 'camera'), ...one.reasons].join(', ');
}

/** @param {any} cameras Their number, or their names. @returns {number} */
export function numberOf(cameras) {
  return typeof cameras === 'number' ? cameras : Object.keys(cameras ?? {}).length;
}

/** @param {any} one @returns {Node[]} */
function card(one) {
  const said = saidOfCluster(one.label);
  return [
    make('div.covers', {}, one.cover.slice(0, 6).map((/** @type {number} */ image) => thumbnail({ image }))),
    ...(said ? [make('span.badge.said', {}, said)] : []),
    make('div.caption', {}, make('strong', {}, `Cluster ${one.label}`),
      make('span', {}, `${count(one.size)} images · ${counted(numberOf(one.cameras), 'camera')}`),
      make('span.pick', { title: 'Tick (space)', 'aria-hidden': 'true' })),
    reasons(one, 2),
  ];
}

/**
 * Why a cluster needs a look.
 * @param {any} one A cluster.
 * @param {number} [most] Reasons to spell out.
 * @returns {HTMLElement}
 */
export function reasons(one, most = Infinity) {
  const more = one.reasons.slice(most);
  const parts = one.reasons.slice(0, most).map((/** @type {string} */ reason) => make('li', { title: reason }, reason));
  return make('ul.reasons', { 'aria-label': 'Why to look at it' },
    parts.length ? parts : make('li.fine', { title: 'The order is that of several signs together; a sign is named where it stands out alone' }, 'no sign stands out'),
    more.length ? make('li', { title: more.join('; ') }, `+${more.length}`) : null);
}
