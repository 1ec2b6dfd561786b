/** A list of results as a file: a table for programs, or a page that can be opened anywhere. */
import { make } from './dom.js';
import { pictureOf } from './api.js';
import { similarity, time } from './format.js';

const COLUMNS = ['rank', 'similarity', 'camera', 'time', 'tracklet', 'identity', 'path', 'id'];

/** @param {any[]} matches @returns {any[][]} */
function rows(matches) {
  return matches.map((one, index) => [
    index + 1, one.similarity?.toFixed(6) ?? '', one.camera, one.time ?? '', one.tracklet, one.identity, one.path, one.id,
  ]);
}

/**
 * A cell that begins as a formula gets an apostrophe: spreadsheets would compute it.
 * @param {any} value
 * @returns {string}
 */
function cell(value) {
  const text = typeof value === 'string' && /^[=+\-@\t\r]/.test(value) && Number.isNaN(Number(value)) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** @param {string} name @param {string} type @param {string} text */
function download(name, type, text) {
  const link = make('a', { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** @param {any[]} matches */
export function saveTable(matches) {
  const lines = [COLUMNS, ...rows(matches)].map((row) => row.map(cell).join(','));
  download('results.csv', 'text/csv', `${lines.join('\r\n')}\r\n`);
}

/** @param {string | Blob} picture Or its address. @returns {Promise<string>} The picture itself as an address; '' = gone. */
async function inlined(picture) {
  const response = picture instanceof Blob ? new Response(picture) : await fetch(picture, { credentials: 'same-origin' });
  if (!response.ok) return '';
  const blob = picture instanceof Blob ? picture : await response.blob();
  return new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.readAsDataURL(blob);
  });
}

/** @param {any[]} matches @param {(string | Blob)[]} queries The query's pictures, or their addresses. */
export async function savePage(matches, queries) {
  const style = 'body{font:14px sans-serif;margin:2em}figure{display:inline-block;margin:6px;vertical-align:top;width:112px}'
    + 'img{height:160px;width:112px;object-fit:contain;background:#eee}figcaption{font-size:12px;overflow-wrap:anywhere}';
  const figure = (/** @type {string} */ src, /** @type {string} */ text) => make('figure', {},
    make('img', { src, alt: '' }), make('figcaption', {}, text));
  const asked = await Promise.all(queries.map(inlined));
  const pictures = await Promise.all(matches.map((one) => inlined(pictureOf(one))));
  const body = make('body', {},
    make('h1', {}, `Search results: ${matches.length} images`), make('p', {}, `Saved ${new Date().toISOString()}`),
    make('h2', {}, 'Query'), make('div', {}, asked.map((src) => figure(src, ''))),
    make('h2', {}, 'Found'), make('div', {}, matches.map((one, index) => figure(pictures[index],
      [`${index + 1}. ${similarity(one.similarity)}`, one.camera, time(one.time), one.identity, one.path].filter(Boolean).join(' · ')))));
  download('results.html', 'text/html', '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    + `<title>Search results</title><style>${style}</style></head>${body.outerHTML}</html>`);
}
