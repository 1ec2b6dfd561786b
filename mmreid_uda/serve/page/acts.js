/**
 * What a person says of images, each said in one place: merge, split, same, different, not a subject, and undo.
 *
 * @typedef {object} Act
 * @property {string} id
 * @property {string} kind
 * @property {string} text A sentence.
 * @property {string} author
 * @property {number} time Seconds since 1970.
 * @property {number} rows Rows of links.csv it wrote.
 * @property {boolean} undone
 */
import { post, shown } from './api.js';
import { counted } from './format.js';
import { notify } from './notices.js';

const DONE = {
  merge: 'Merged', split: 'Split', same: 'Same subject', different: 'Different subjects', not_subject: 'Not a subject',
};
const BADGES = {
  merge: 'merged', split: 'split off', same: 'same', different: 'different', not_subject: 'not a subject',
};
/** @type {{id: string, images: number[], labels: number[], text: string}[]} Of this page, not taken back, last one last. */
const done = [];

/** @param {number | null | undefined} image @returns {string} What was said of it since the labels were made; '' = nothing. */
export function saidOfImage(image) {
  return done.findLast((act) => act.images.includes(image ?? -1))?.text ?? '';
}

/** @param {number} label @returns {string} The same of a cluster. */
export function saidOfCluster(label) {
  return done.findLast((act) => act.labels.includes(label))?.text ?? '';
}

/** The labels follow what was said: nothing waits for them any more. */
export function settled() {
  done.length = 0;
  shown.clustering = null;
}

/** @returns {string} Who says it: stands in links.csv. */
export function author() {
  return localStorage.getItem('author') ?? '';
}

/** @param {string} name */
export function setAuthor(name) {
  localStorage.setItem('author', name.trim());
}

/**
 * Say it. A problem becomes a message and is thrown on.
 * @param {'merge' | 'split' | 'same' | 'different' | 'not_subject'} kind
 * @param {{labels?: number[], label?: number, images?: number[], first?: number, second?: number}} about
 * @param {() => void} [undone] Called when it is taken back by the message's button.
 * @returns {Promise<Act>}
 */
export async function say(kind, about, undone = () => {}) {
  try {
    const answer = await post('acts', { kind, ...about, author: author(), clustering: shown.clustering });
    const { labels = [], label, images = [], first, second } = about;
    done.push({
      id: answer.act.id, text: BADGES[kind],
      images: [...images, first, second].filter((image) => image !== undefined),
      labels: label === undefined ? labels : [...labels, label],
    });
    notify(`${DONE[kind]}: ${counted(answer.links_written, 'row')} written to the links.`, {
      act: { text: 'Undo', key: 'u', run: () => undo(answer.act.id).then(undone, () => {}) },
    });
    return answer.act;
  } catch (error) {
    notify(/** @type {Error} */ (error).message, { kind: 'bad' });
    throw error;
  }
}

/** @param {string} [id] Without: the last act of this page. @returns {Promise<boolean>} Whether there was one. */
export async function undo(id = done.at(-1)?.id) {
  if (id === undefined) {
    notify('There is nothing left to undo here; the History tab lists everything said before.', { kind: 'bad' });
    return false;
  }
  try {
    await post(`acts/${encodeURIComponent(id)}/undo`, { author: author() });
  } catch (error) {
    notify(/** @type {Error} */ (error).message, { kind: 'bad' });
    throw error;
  }
  const at = done.findIndex((act) => act.id === id);
  if (at >= 0) done.splice(at, 1);
  notify('Taken back: the links say so from now on.');
  return true;
}
