/** The form for the token, where the server wants one. */
import { make } from './dom.js';
import { logIn } from './api.js';

/**
 * @param {HTMLElement} main
 * @param {() => void} done
 */
export function showLogin(main, done) {
  if (main.querySelector('form.login')) return;
  const input = make('input', { type: 'password', name: 'token', autocomplete: 'current-password', required: true });
  const said = make('p.problem', { role: 'alert', hidden: true });
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    try {
      await logIn(input.value.trim());
      done();
    } catch (error) {
      said.hidden = false;
      said.textContent = /** @type {Error} */ (error).message;
      input.select();
    }
  };
  main.replaceChildren(make('form.login', { onsubmit: submit },
    make('h2', {}, 'This server asks for a token'),
    make('p', {}, '`mmreid serve` prints it when it starts, or reads it from the file named by --token-file.'),
    make('label.field', {}, make('span', {}, 'Token'), input),
    make('button.primary', {}, 'Enter'), said));
  input.focus();
}
