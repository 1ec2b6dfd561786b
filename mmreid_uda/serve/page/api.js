/**
 * The HTTP API, `/v1`: the page talks to nothing else.
 *
 * @typedef {object} ImageInfo An image of the review (a run's, or a gallery's).
 * @property {number} image Its position there.
 * @property {string | null} [item] Its id in the gallery.
 * @property {string} camera '' = unknown.
 * @property {number | null} time Seconds.
 * @property {string} tracklet
 * @property {number} [label] Its cluster; -1 = of none.
 * @property {number} [similarity]
 *
 * @typedef {object} Item An image of the gallery.
 * @property {string} id
 * @property {number | null} [image] Its position in the review.
 * @property {string} camera
 * @property {number | null} time
 * @property {string} tracklet
 * @property {string} identity
 * @property {string} path The file's name.
 * @property {number} [similarity]
 * @property {number} [group_size]
 */

/** An answer that is no success. `message` is a sentence to show. */
export class ApiError extends Error {
  /** @param {number} status 0 = nothing answered. @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** @type {{clustering: string | null}} The labels that this page shows: acts on clusters are refused for others. */
export const shown = { clustering: null };

const listeners = { unauthorized: () => {} };

/** @param {() => void} act Called when the API asks for a token. */
export function onUnauthorized(act) {
  listeners.unauthorized = act;
}

/**
 * @param {string} method
 * @param {string} path Behind `/v1/`.
 * @param {RequestInit} [options]
 * @returns {Promise<Response>}
 */
async function ask(method, path, options = {}) {
  let response;
  try {
    response = await fetch(`/v1/${path}`, { method, credentials: 'same-origin', ...options });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError(0, 'The server does not answer. Is `mmreid serve` still running? Start it again, then try again.');
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  const said = typeof body?.error === 'string' ? `${body.error[0].toUpperCase()}${body.error.slice(1)}`
    : `The server answered ${response.status} ${response.statusText}.`;
  if (response.status === 401 && path !== 'login') listeners.unauthorized();
  throw new ApiError(response.status, said);
}

/**
 * @param {string} path
 * @param {Record<string, any>} [query] Null, undefined and '' are left out; a list is given several times.
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function get(path, query = {}, signal = undefined) {
  const words = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== '') words.append(key, String(one));
    }
  }
  const text = words.toString();
  const answer = await (await ask('GET', text ? `${path}?${text}` : path, { signal })).json();
  shown.clustering ??= answer.clustering ?? null;
  return answer;
}

/**
 * @param {string} path
 * @param {any} [body] JSON, or form data.
 * @param {string} [method]
 * @returns {Promise<any>}
 */
export async function post(path, body = {}, method = 'POST') {
  const form = body instanceof FormData;
  return (await ask(method, path, form ? { body } : {
    body: JSON.stringify(body),
    headers: { 'Content-Type': 'application/json' },
  })).json();
}

/** Exchange a token for a cookie. @param {string} token */
export async function logIn(token) {
  // The answer leads to the page, which is there already.
  await ask('POST', 'login', { body: new URLSearchParams({ token }) });
}

/** @param {Partial<Item & ImageInfo>} one @param {'thumbnail' | 'image'} what @returns {string} */
export function pictureOf(one, what = 'thumbnail') {
  return one.id !== undefined ? `/v1/items/${encodeURIComponent(one.id)}/${what}` : `/v1/images/${one.image}/${what}`;
}
