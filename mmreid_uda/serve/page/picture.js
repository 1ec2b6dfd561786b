/** An image on a tile, and beside the wall with all that is known of it. */
import { fill, make } from './dom.js';
import { clusterName, named, similarity, time } from './format.js';
import { saidOfImage } from './acts.js';
import { pictureOf } from './api.js';

/**
 * A thumbnail; a {@link Wall} loads it when scrolling rests.
 * @param {any} one An item or an image of the review.
 * @param {boolean} [now] Load it at once.
 * @returns {HTMLElement}
 */
export function thumbnail(one, now = false) {
  const image = make('img', { alt: '', decoding: 'async', draggable: false, onerror: () => {
    // Once more, a little later: a server may refuse what comes too fast.
    if (image.dataset.again) image.replaceWith(make('span.missing', {}, 'image not found'));
    else setTimeout(() => { if (image.isConnected) image.src = pictureOf(one); }, 1500);
    image.dataset.again = '1';
  } });
  if (now) image.src = pictureOf(one);
  else image.dataset.src = pictureOf(one);
  return image;
}

/**
 * An image in full size, or a word in its place.
 * @param {string} src
 * @param {string} alt
 * @param {{className?: string, loaded?: () => void}} [options]
 * @returns {HTMLElement}
 */
export function wholeImage(src, alt, { className = '', loaded = () => {} } = {}) {
  const image = make('img', { src, alt, className, onload: loaded,
    onerror: () => image.replaceWith(make('span', { className: `missing ${className}`, role: 'img', 'aria-label': alt }, 'image not found')) });
  return image;
}

/** Camera and time, as a tile's second line. @param {any} one @returns {string} */
export function whereAndWhen(one) {
  return [named(one.camera, ''), time(one.time)].filter(Boolean).join(' · ') || 'camera and time unknown';
}

/** @param {any} one @returns {string} In words, for screen readers. */
export function inWords(one) {
  return [
    `camera ${named(one.camera)}`, one.time !== null && `at ${time(one.time)}`,
    one.similarity !== undefined && one.similarity !== null && `similarity ${similarity(one.similarity)}`,
    one.identity && `identity ${one.identity}`, one.group_size > 1 && `best of ${one.group_size}`,
  ].filter(Boolean).join(', ');
}

/** What stands on the tile of one image. @param {any} one @returns {Node[]} */
export function imageTile(one) {
  const said = saidOfImage(one.image);
  const badges = [
    one.group_size > 1 && make('span.badge', { title: 'The best of so many of one group' }, `×${one.group_size}`),
    said && make('span.badge.said', { title: 'Said since the labels were made' }, said),
  ].filter(Boolean);
  const caption = make('div.caption', {},
    make('span', { title: whereAndWhen(one) }, whereAndWhen(one)),
    make('strong', { title: 'Cosine similarity' }, similarity(one.similarity)));
  return [thumbnail(one), ...badges, caption];
}

/**
 * The panel beside a wall: one image, large.
 * @param {HTMLElement} panel
 * @param {any} one
 * @param {(Node | null | false)[]} actions
 */
export function showDetails(panel, one, actions) {
  const rows = [
    ['Similarity', similarity(one.similarity)], ['Camera', named(one.camera)], ['Time', named(time(one.time))],
    ['Tracklet', named(one.tracklet)], ['Identity', one.identity],
    ['Cluster', one.label === undefined ? '' : clusterName(one.label)], ['File', one.path],
  ].filter(([, value]) => value);
  fill(panel,
    wholeImage(pictureOf(one, 'image'), inWords(one), { className: 'large' }),
    make('dl', {}, rows.flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, value)])),
    make('div.actions', {}, actions.filter(Boolean)));
}
