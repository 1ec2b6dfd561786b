/** Opens the view that the address names, and keeps what all views share. */
import { get, onUnauthorized } from './api.js';
import { fill, make, problem } from './dom.js';
import { showFacts } from './facts.js';
import { listen, setKeys, showHelp } from './keys.js';
import { showLogin } from './login.js';
import { address, readRoute } from './route.js';
import * as clusters from './clusters.js';
import * as history from './history.js';
import * as map from './map.js';
import * as questions from './questions.js';
import * as search from './search.js';

const VIEWS = /** @type {const} */ ([
  ['search', 'Search', search], ['clusters', 'Clusters', clusters], ['map', 'Map', map],
  ['questions', 'Questions', questions], ['history', 'History', history],
]);
const main = /** @type {HTMLElement} */ (document.getElementById('main'));
/** @type {any} */
let info = null;
/** @type {{keys: any[], close?: () => void}} */
let open = { keys: [] };
let turn = 0;

/** @param {string} view */
function drawTabs(view) {
  fill(/** @type {HTMLElement} */ (document.getElementById('tabs')), VIEWS.map(([name, text]) =>
    make('a', { href: address(name), 'aria-current': name === view ? 'page' : null }, text)));
  showFacts(info);
}

async function show() {
  const mine = (turn += 1);
  const route = readRoute();
  const fallback = info?.gallery || !info?.run ? 'search' : 'clusters';
  const [name, text, view] = VIEWS.find(([one]) => one === route.view) ?? VIEWS.find(([one]) => one === fallback) ?? VIEWS[0];
  open.close?.();
  open = { keys: [] };
  document.title = `${text} · mmreid`;
  try {
    info = await get('info');
    if (mine !== turn) return;
    drawTabs(name);
    const shown = await view.show(main, route, info);
    if (mine !== turn) {
      shown.close?.();
      return;
    }
    open = shown;
  } catch (error) {
    if (/** @type {any} */ (error).status !== 401) fill(main, problem(/** @type {Error} */ (error), show));
    if (!info) drawTabs(name);
  }
  setKeys(open.keys);
}

onUnauthorized(() => showLogin(main, show));
addEventListener('hashchange', show);
document.getElementById('help-button')?.addEventListener('click', showHelp);
listen((number) => { location.hash = address(VIEWS[number][0]); });
show();
