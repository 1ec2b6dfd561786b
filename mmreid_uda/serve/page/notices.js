/** The last short message, at the lower edge; it may offer to take back what it tells of. */
import { button, make } from './dom.js';

const SECONDS = 8;

/**
 * @param {string} text
 * @param {{kind?: 'good' | 'bad', act?: {text: string, key?: string, run: () => void}}} [options]
 */
export function notify(text, { kind = 'good', act } = {}) {
  const box = /** @type {HTMLElement} */ (document.getElementById('notices'));
  const notice = make(`div.notice.${kind}`, {}, make('span', {}, text));
  const close = () => notice.remove();
  if (act) notice.append(button(act.text, () => { close(); act.run(); }, { kind: 'plain', key: act.key }));
  notice.append(button('×', close, { kind: 'plain', 'aria-label': 'Close this message' }));
  box.replaceChildren(notice);
  if (kind === 'good') setTimeout(close, SECONDS * 1000);
}
