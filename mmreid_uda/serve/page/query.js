/**
 * What is searched for: images from outside (kept here, never in the address) or images of the gallery (their ids are
 * in the address). Several show one subject.
 */
import { button, fill, make } from './dom.js';
import { pictureOf } from './api.js';
import { notify } from './notices.js';
import { wholeImage } from './picture.js';

export const MOST = 8;
/** @type {File[]} */
let files = [];

/** @returns {File[]} */
export function uploads() {
  return files;
}

/**
 * @param {Iterable<File>} more
 * @param {boolean} together Beside those that are there, not in their place.
 * @returns {boolean} Whether there is something to search.
 */
export function take(more, together) {
  const images = [...more].filter((file) => file.type.startsWith('image/'));
  if (!images.length) {
    notify('That is no image: drop, paste or choose JPEG, PNG, WebP or BMP files.', { kind: 'bad' });
    return false;
  }
  const all = together ? [...files, ...images] : images;
  if (all.length > MOST) notify(`Up to ${MOST} images of one subject are searched together; the last ones are taken.`);
  files = all.slice(-MOST);
  return true;
}

/**
 * @typedef {object} QueryActions
 * @property {() => void} search Other files are there.
 * @property {(id: string) => void} drop An image of the gallery is no part of the query any more.
 * @property {() => void} clear
 */

/**
 * The box in which the query is put together.
 * @param {string[]} ids Images of the gallery.
 * @param {QueryActions} actions
 * @returns {HTMLElement}
 */
export function queryBox(ids, actions) {
  const input = make('input', {
    type: 'file', accept: 'image/*', multiple: true, id: 'files', 'aria-label': 'Choose images of one subject',
    onchange: () => input.files.length && take(input.files, false) && actions.search(),
  });
  const shown = make('div.query-images');
  const addresses = files.map((file) => URL.createObjectURL(file));
  const picture = (/** @type {string} */ src, /** @type {() => void} */ drop) => make('figure', {},
    wholeImage(src, 'Part of the query', { loaded: () => URL.revokeObjectURL(src) }),
    button('×', drop, { kind: 'remove', 'aria-label': 'Leave this image out', title: 'Leave this image out' }));
  fill(shown,
    addresses.map((src, index) => picture(src, () => {
      files = files.filter((_, other) => other !== index);
      if (files.length) actions.search();
      else actions.clear();
    })),
    ids.map((id) => picture(pictureOf({ id }, 'image'), () => actions.drop(id))));
  const some = addresses.length + ids.length;
  const box = make('section.drop', {
    'aria-label': 'Query',
    ondragover: (/** @type {DragEvent} */ event) => { event.preventDefault(); box.classList.add('over'); },
    ondragleave: () => box.classList.remove('over'),
    ondrop: (/** @type {DragEvent} */ event) => {
      event.preventDefault();
      box.classList.remove('over');
      if (take(event.dataTransfer?.files ?? [], false)) actions.search();
    },
  },
  make('h2', {}, some ? 'Searching for' : 'Search for a subject'),
  shown,
  make('p.quiet', {}, some ? 'Drop or paste another image to search for that one.'
    : 'Drop or paste one image, or several of the same subject.'),
  make('div.row', {},
    make('label.button', { htmlFor: 'files' }, 'Choose images…'), input,
    some ? button('Clear', actions.clear, { kind: 'plain' }) : null));
  return box;
}

/** Images pasted anywhere on the page are the query. @param {() => void} search @returns {() => void} Stops it. */
export function listenForPaste(search) {
  const pasted = (/** @type {ClipboardEvent} */ event) => {
    const images = [...(event.clipboardData?.files ?? [])];
    if (images.length && take(images, false)) {
      event.preventDefault();
      search();
    }
  };
  document.addEventListener('paste', pasted);
  return () => document.removeEventListener('paste', pasted);
}

/** Forget the images from outside. */
export function forget() {
  files = [];
}
