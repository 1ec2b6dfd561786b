/**
 * The view and what it shows stand in the address behind `#`, so that a view can be linked to and gone back to:
 * `#/search?item=3f…&cameras=c1&cameras=c2`.
 *
 * @typedef {{view: string, rest: string[], query: URLSearchParams}} Route
 */

/** @param {string} [hash] @returns {Route} */
export function readRoute(hash = location.hash) {
  const [path, query = ''] = hash.replace(/^#\/?/, '').split('?');
  const [view, ...rest] = path.split('/').map(decodeURIComponent);
  return { view, rest, query: new URLSearchParams(query) };
}

/**
 * @param {string} path `search`, `clusters/12`
 * @param {Record<string, any> | URLSearchParams} [query] Null, undefined, false and '' are left out.
 * @returns {string}
 */
export function address(path, query = {}) {
  const words = new URLSearchParams();
  const pairs = query instanceof URLSearchParams ? [...query] : Object.entries(query);
  for (const [key, value] of pairs) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== '' && one !== false) words.append(key, String(one));
    }
  }
  const text = words.toString();
  return `#/${path}${text ? `?${text}` : ''}`;
}

/** @param {string} path @param {Record<string, any> | URLSearchParams} [query] */
export function go(path, query = {}) {
  location.hash = address(path, query);
}

/** Change the query of the address where it is, without a step in the browser's history. @param {Record<string, any>} query */
export function note(query) {
  const { view, rest } = readRoute();
  history.replaceState(null, '', address([view, ...rest].map(encodeURIComponent).join('/'), query));
}
