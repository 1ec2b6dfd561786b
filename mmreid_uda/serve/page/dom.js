/**
 * Elements are made here and nowhere else: text becomes a text node, never markup.
 * @typedef {Node | string | number | null | undefined | false} Child
 */

/**
 * Make an element.
 * @param {string} tag Its name, optionally with classes: `button.primary`.
 * @param {Record<string, any>} [options] `on` + event = a listener, `data` = dataset; what the element has as a
 *     property is set as such, everything else as an attribute. Null, undefined and false attributes are left out.
 * @param {...(Child | Child[])} children
 * @returns {HTMLElement & Record<string, any>}
 */
export function make(tag, options = {}, ...children) {
  const [name, ...classes] = tag.split('.');
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(' ');
  for (const [key, value] of Object.entries(options)) {
    if (value === null || value === undefined) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (key === 'data') Object.assign(element.dataset, value);
    else if (key in element && !key.startsWith('aria')) element[key] = value;
    else if (value !== false || key.startsWith('aria')) element.setAttribute(key, String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/**
 * Replace what an element contains.
 * @param {Element} element
 * @param {...(Child | Child[])} children
 */
export function fill(element, ...children) {
  element.replaceChildren(
    ...children.flat().filter((child) => child !== null && child !== undefined && child !== false),
  );
}

/**
 * @param {string} text What the button says.
 * @param {() => void} act
 * @param {Record<string, any>} [options] Of {@link make}; `kind` is a class, `key` the key that does the same,
 *     `changes` hides the button where nothing may be changed.
 * @returns {HTMLElement & Record<string, any>}
 */
export function button(text, act, { kind = '', key = '', changes = false, ...options } = {}) {
  return make(
    ['button', kind, changes && 'changes'].filter(Boolean).join('.'),
    { type: 'button', onclick: act, 'aria-keyshortcuts': key || null, ...options },
    text,
    key && make('kbd', { 'aria-hidden': 'true' }, key),
  );
}

/**
 * A labeled control.
 * @param {string} text
 * @param {HTMLElement} control
 * @param {string} [hint] What it does, as the browser's own hint.
 * @returns {HTMLElement}
 */
export function labeled(text, control, hint = '') {
  const box = control instanceof HTMLInputElement && ['checkbox', 'radio'].includes(control.type);
  const caption = make('span', {}, text);
  return make(box ? 'label.check' : 'label.field', { title: hint }, ...(box ? [control, caption] : [caption, control]));
}

/**
 * A menu.
 * @param {[value: string, text: string][]} choices
 * @param {string} chosen
 * @param {(value: string) => void} act
 * @returns {HTMLSelectElement}
 */
export function menu(choices, chosen, act) {
  const options = choices.map(([value, text]) => make('option', { value }, text));
  const select = make('select', { onchange: () => act(select.value) }, options);
  select.value = chosen;
  return /** @type {any} */ (select);
}

/**
 * What stands where there is nothing to show: what it would be, and what to do.
 * @param {string} title
 * @param {...(Child | Child[])} rest
 * @returns {HTMLElement}
 */
export function empty(title, ...rest) {
  return make('section.empty', {}, make('h2', {}, title), ...rest.flat().map((child) =>
    typeof child === 'string' ? make('p', {}, child) : child));
}

/**
 * A problem, shown where the user looks.
 * @param {Error} error
 * @param {() => void} [again] Tries once more.
 * @returns {HTMLElement}
 */
export function problem(error, again) {
  return make('div.problem', { role: 'alert' }, make('p', {}, error.message),
    again && button('Try again', again));
}

/** Whether keys belong to a control in which text is written. @param {EventTarget | null} target */
export function writes(target) {
  return target instanceof HTMLElement
    && (target.matches('textarea, select, input:not([type=checkbox]):not([type=radio]):not([type=range])'));
}
