/** Numbers and times as people read them. */

/** @param {number} number @returns {string} With thin spaces between thousands. */
export function count(number) {
  return number.toLocaleString('en-US').replaceAll(',', '\u202f');
}

/** @param {number} number @param {string} one @param {string} [many] @returns {string} `3 cameras` */
export function counted(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/**
 * Cosine similarities differ in the third digit.
 * @param {number | null | undefined} value
 * @returns {string}
 */
export function similarity(value) {
  return value === null || value === undefined ? '' : value.toFixed(3).replace('-', '\u2212');
}

/**
 * Seconds on a clock: of a video (below a year), or since 1970.
 * @param {number | null | undefined} seconds
 * @returns {string} '' = unknown.
 */
export function time(seconds) {
  if (seconds === null || seconds === undefined) return '';
  if (seconds > 366 * 86400) return new Date(seconds * 1000).toISOString().replace('T', ' ').slice(0, 19);
  const whole = Math.floor(Math.abs(seconds));
  const parts = [Math.floor(whole / 60) % 60, whole % 60].map((part) => String(part).padStart(2, '0'));
  const hours = Math.floor(whole / 3600);
  return `${seconds < 0 ? '\u2212' : ''}${hours ? `${hours}:` : ''}${parts.join(':')}`;
}

/**
 * What {@link time} writes, read: `mm:ss`, `h:mm:ss`, seconds, or a date.
 * @param {string} text
 * @returns {number | null} Null where it is empty.
 * @throws {Error} It is none of these.
 */
export function seconds(text) {
  const clean = text.trim();
  if (!clean) return null;
  if (/^-?\d+(\.\d+)?$/.test(clean)) return Number(clean);
  if (/^\d+(:\d{1,2}){1,2}(\.\d+)?$/.test(clean)) {
    return clean.split(':').reduce((sum, part) => sum * 60 + Number(part), 0);
  }
  const date = Date.parse(/[zZ]|[+-]\d\d:?\d\d$/.test(clean) ? clean : `${clean.replace(' ', 'T')}Z`);
  if (Number.isNaN(date)) {
    throw new Error(`"${clean}" is no time: write minutes and seconds (02:30), seconds (150) or a date (2026-05-01 14:00).`);
  }
  return date / 1000;
}

/** @param {string} text @param {string} [unknown] @returns {string} */
export function named(text, unknown = 'unknown') {
  return text === '' || text === undefined || text === null ? unknown : text;
}

/** @param {number} label @returns {string} */
export function clusterName(label) {
  return label < 0 ? 'no cluster' : `cluster ${label}`;
}
