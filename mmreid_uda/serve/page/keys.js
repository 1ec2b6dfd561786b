/** Keys of the view on show, and the table of them (`?`). */
import { button, make, writes } from './dom.js';

/** @typedef {{keys: string, does: string, match?: (event: KeyboardEvent) => boolean, run?: () => void}} Key */

/** @type {Key[]} */
let current = [];
const EVERYWHERE = [
  { keys: '1 – 5', does: 'open the first to the fifth view' },
  { keys: '?', does: 'this table' },
];

/**
 * @param {Key[]} keys Without `run` they are only told of (the wall or the map reads them itself).
 */
export function setKeys(keys) {
  current = keys;
}

export function showHelp() {
  if (document.querySelector('dialog[open]')) return;
  const row = (/** @type {Key} */ { keys, does }) => make('tr', {},
    make('td', {}, keys.split(' ').map((key) => (/^[–+]$/.test(key) && keys.includes(' ') ? ` ${key} ` : make('kbd', {}, key)))),
    make('td', {}, does));
  const dialog = make('dialog.help', { 'aria-label': 'Keys', onclose: () => dialog.remove() },
    make('h2', {}, 'Keys'),
    make('table', {}, make('tbody', {}, [...current, ...EVERYWHERE].map(row))),
    make('form', { method: 'dialog' }, make('button.primary', {}, 'Close')));
  document.body.append(dialog);
  dialog.showModal();
}

/** @param {(number: number) => void} openTab */
export function listen(openTab) {
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || writes(event.target)) return;
    if (document.querySelector('dialog[open]')) return;
    if (event.key === '?') showHelp();
    else if (event.key >= '1' && event.key <= '5') openTab(Number(event.key) - 1);
    else {
      const key = current.find((one) => one.run && (one.match ? one.match(event) : one.keys === event.key));
      const pressed = /** @type {HTMLElement} */ (event.target).closest('button, a, summary, input');
      // A focused button is pressed by space and Enter, as everywhere.
      if (!key?.run || (pressed && (event.key === ' ' || event.key === 'Enter'))) return;
      key.run();
    }
    event.preventDefault();
  });
}

/** A button for the table of keys. @returns {HTMLElement} */
export function helpButton() {
  return button('Keys', showHelp, { kind: 'plain', key: '?' });
}
