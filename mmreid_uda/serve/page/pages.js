/** A long list of which only parts are asked for and kept. */

const SIZE = 100;
const KEPT = 60;

/** @template T */
export class Pages {
  /**
   * @param {(offset: number, limit: number) => Promise<T[]>} load
   * @param {() => void} changed A part has come.
   * @param {(error: Error) => void} failed
   */
  constructor(load, changed, failed) {
    this.load = load;
    this.changed = changed;
    this.failed = failed;
    /** @type {Map<number, T[] | Promise<T[]>>} Least recently used first. */
    this.pages = new Map();
  }

  /**
   * @param {number} index
   * @returns {T | undefined} Undefined where it is not here yet; it is asked for then.
   */
  at(index) {
    const page = this.page(Math.floor(index / SIZE));
    return Array.isArray(page) ? page[index % SIZE] : undefined;
  }

  /** @param {number[]} indices @returns {Promise<T[]>} All of them, waited for. */
  async all(indices) {
    const found = [];
    for (const index of indices) found.push((await this.page(Math.floor(index / SIZE)))[index % SIZE]);
    return found;
  }

  /** @param {number} number @returns {T[] | Promise<T[]>} */
  page(number) {
    const known = this.pages.get(number);
    if (known) {
      this.pages.delete(number);
      this.pages.set(number, known);
      return known;
    }
    const coming = this.load(number * SIZE, SIZE);
    this.pages.set(number, coming);
    coming.then((items) => {
      this.pages.set(number, items);
      this.changed();
    }, (error) => {
      this.pages.delete(number);
      this.failed(error);
    });
    if (this.pages.size > KEPT) this.pages.delete(/** @type {number} */ (this.pages.keys().next().value));
    return coming;
  }
}
