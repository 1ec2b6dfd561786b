/** Which images are looked at, and how: the form beside the wall. All of it stands in the address. */
import { button, labeled, make, menu } from './dom.js';
import { count, seconds, time } from './format.js';

/** Names of the address that make up the options of a search, and whether each may stand there several times. */
const LISTS = ['cameras', 'not_cameras', 'identities', 'tracklets'];
const TIMES = ['since', 'until'];
const SWITCHES = ['rerank', 'center'];

/** @param {URLSearchParams} query @returns {Record<string, any>} As the API reads them. */
export function optionsOf(query) {
  /** @type {Record<string, any>} */
  const options = {};
  for (const name of LISTS) if (query.has(name)) options[name] = query.getAll(name);
  for (const name of TIMES) if (query.has(name)) options[name] = Number(query.get(name));
  return options;
}

/** @param {URLSearchParams} query @returns {Record<string, any>} */
export function searchOptionsOf(query) {
  const options = optionsOf(query);
  options.topk = Number(query.get('topk') ?? 50);
  if (query.has('group_by')) options.group_by = query.get('group_by');
  for (const name of SWITCHES) if (query.has(name)) options[name] = true;
  return options;
}

/**
 * @param {URLSearchParams} query The address as it is.
 * @param {any} info Of the gallery.
 * @param {string[]} own Cameras of the query, '' left out.
 * @param {(query: URLSearchParams) => void} change
 * @returns {HTMLElement}
 */
export function filterForm(query, info, own, change) {
  const edit = (/** @type {(changed: URLSearchParams) => void} */ act) => {
    const changed = new URLSearchParams(query);
    act(changed);
    change(changed);
  };
  const put = (/** @type {string} */ name, /** @type {string[]} */ values) => edit((changed) => {
    changed.delete(name);
    for (const value of values) if (value !== '') changed.append(name, value);
  });
  return make('form.filters', { 'aria-label': 'Filters', onsubmit: (/** @type {Event} */ event) => event.preventDefault() },
    make('h2', {}, 'Filters'),
    cameras(query, info.cameras ?? {}, own, edit),
    TIMES.map((name) => timeField(name, query, put)),
    identities(query, info.identities ?? {}, put),
    query.has('item') || query.has('upload') ? order(query, put) : null,
    [...query.keys()].some((name) => ![...SWITCHES, 'item', 'upload'].includes(name))
      ? button('Reset the filters', () => edit((changed) => {
        for (const name of [...changed.keys()]) if (!['item', 'upload'].includes(name)) changed.delete(name);
      }), { kind: 'plain' }) : null);
}

/** How what is found is ranked, of a search alone. @param {URLSearchParams} query @param {(name: string, values: string[]) => void} put */
function order(query, put) {
  return [
    make('h2', {}, 'Order'),
    labeled('Show', menu([['', 'every image'], ['tracklet', 'the best of each tracklet'],
      ['identity', 'the best of each identity']], query.get('group_by') ?? '', (value) => put('group_by', [value]))),
    labeled('At most', menu([['', '50 images'], ['200', '200 images'], ['1000', `${count(1000)} images`]],
      query.get('topk') ?? '', (value) => put('topk', [value]))),
    toggle('rerank', 'Re-rank', 'Compare neighborhoods as well: better for hard subjects, slower.', query, put),
    toggle('center', 'Center', 'Take off what the images of a camera have in common: helps where each camera has its own look.', query, put),
  ];
}

/**
 * @param {URLSearchParams} query
 * @param {Record<string, number>} known Camera -> images.
 * @param {string[]} own
 * @param {(act: (changed: URLSearchParams) => void) => void} edit
 */
function cameras(query, known, own, edit) {
  const mode = query.has('not_cameras') ? 'not_cameras' : 'cameras';
  const chosen = new Set(query.getAll(mode));
  const write = (/** @type {string} */ name, /** @type {Iterable<string>} */ values) => edit((changed) => {
    changed.delete('cameras');
    changed.delete('not_cameras');
    for (const value of values) changed.append(name, value);
  });
  const box = (/** @type {string} */ camera) => labeled(camera === '' ? 'unknown' : camera, make('input', {
    type: 'checkbox', checked: chosen.has(camera),
    onchange: () => {
      if (!chosen.delete(camera)) chosen.add(camera);
      write(mode, chosen);
    },
  }), `${count(known[camera])} images`);
  const switched = /** @type {any} */ (menu([['cameras', 'only those ticked'], ['not_cameras', 'all but those ticked']],
    mode, (value) => write(value, chosen)));
  switched.setAttribute('aria-label', 'Ticked cameras');
  return make('fieldset', {}, make('legend', {}, 'Cameras'),
    make('div.checks', {}, Object.keys(known).sort().map(box)),
    chosen.size ? switched : null,
    own.length ? button('Only other cameras than the query’s', () => write('not_cameras', own), { kind: 'plain' }) : null);
}

/** @param {string} name @param {URLSearchParams} query @param {(name: string, values: string[]) => void} put */
function timeField(name, query, put) {
  const given = query.get(name);
  const input = make('input', {
    type: 'text', value: given === null ? '' : time(Number(given)), placeholder: 'any time',
    onchange: () => {
      try {
        const read = seconds(input.value);
        input.setCustomValidity('');
        put(name, read === null ? [] : [String(read)]);
      } catch (error) {
        input.setCustomValidity(/** @type {Error} */ (error).message);
        input.reportValidity();
      }
    },
  });
  return labeled(name === 'since' ? 'From' : 'Until', input, 'Minutes and seconds (02:30), seconds, or a date and time (UTC)');
}

/** @param {URLSearchParams} query @param {Record<string, number>} known @param {(name: string, values: string[]) => void} put */
function identities(query, known, put) {
  const names = Object.keys(known).filter((name) => name !== '');
  if (!names.length) return null;
  const input = make('input', {
    type: 'text', value: query.get('identities') ?? '', placeholder: 'any',
    onchange: () => put('identities', [input.value.trim()]),
  });
  // `list` is read-only as a property.
  input.setAttribute('list', 'identities');
  return make('div', {}, labeled('Identity', input),
    make('datalist', { id: 'identities' }, names.slice(0, 1000).map((value) => make('option', { value }))));
}

/**
 * @param {string} name @param {string} text @param {string} hint @param {URLSearchParams} query
 * @param {(name: string, values: string[]) => void} put
 */
function toggle(name, text, hint, query, put) {
  const input = make('input', {
    type: 'checkbox', checked: query.has(name), onchange: () => put(name, input.checked ? ['1'] : []),
  });
  return labeled(text, input, hint);
}
