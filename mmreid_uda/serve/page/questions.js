/** The view "Questions": pairs of images chosen where an answer tells most; one key each. */
import { get, pictureOf } from './api.js';
import { say, undo } from './acts.js';
import { noReview } from './clusters.js';
import { button, empty, fill, labeled, make, menu, problem } from './dom.js';
import { clusterName, counted, named, similarity, time } from './format.js';
import { inWords, wholeImage } from './picture.js';
import { address, note } from './route.js';

const AT_ONCE = 10;
const MOST = 200;

/**
 * @param {HTMLElement} main
 * @param {import('./route.js').Route} route
 * @param {any} info
 */
export async function show(main, route, info) {
  if (!info.run) {
    noReview(main);
    return { keys: [] };
  }
  const view = new Questions(main, route.query);
  await view.next();
  return { keys: view.keys() };
}

class Questions {
  /** @param {HTMLElement} main @param {URLSearchParams} query */
  constructor(main, query) {
    this.rule = query.get('rule') ?? 'ask_me';
    /** @type {any[]} */
    this.waiting = [];
    this.turn = 0;
    /** @type {{question: any, kind: 'same' | 'different' | 'skip', act?: string}[]} */
    this.answered = [];
    this.box = make('section.question', { 'aria-live': 'polite' });
    this.score = make('p.quiet');
    fill(main, make('div.columns', {}, make('section.middle', {},
      make('div.bar', {}, make('h2', {}, 'Do these show the same subject?'),
        labeled('Choose', menu([['ask_me', 'pairs where an answer tells most'], ['random', 'pairs at random']], this.rule, (value) => {
          this.rule = value;
          note({ rule: value === 'ask_me' ? '' : value });
          this.waiting = [];
          this.next();
        })), make('span.push'), this.score),
      this.box)));
  }

  /** Show the next pair; ask for more where there is none. */
  async next() {
    const mine = (this.turn += 1);
    this.drawScore();
    if (!this.waiting.length) {
      fill(this.box, make('p.quiet', {}, 'Looking for the pairs that matter…'));
      try {
        const seen = new Set(this.answered.map(({ question }) => nameOf(question)));
        const { questions } = await get('questions', { num: Math.min(MOST, AT_ONCE + this.skipped()), rule: this.rule });
        // Meanwhile the last answer may have been taken back, which shows its pair again.
        if (mine !== this.turn) return;
        this.waiting = questions.filter((/** @type {any} */ one) => !seen.has(nameOf(one)));
      } catch (error) {
        fill(this.box, problem(/** @type {Error} */ (error), () => this.next()));
        return;
      }
    }
    const [question] = this.waiting;
    if (!question) {
      fill(this.box, empty('Nothing left to ask', 'What was said decides all pairs that were in doubt.',
        make('p', {}, make('a', { href: address('history') }, 'Cluster again'), ' to see what the answers change.')));
      return;
    }
    this.draw(question);
  }

  skipped() {
    return this.answered.filter(({ kind }) => kind === 'skip').length;
  }

  drawScore() {
    const answers = this.answered.length - this.skipped();
    this.score.textContent = this.answered.length
      ? `${counted(answers, 'answer')}${this.skipped() ? `, ${this.skipped()} skipped` : ''}` : '';
  }

  /** @param {any} question */
  draw(question) {
    const side = (/** @type {any} */ one, /** @type {string} */ which) => make('figure', {},
      wholeImage(pictureOf(one, 'image'), `${which} image: ${inWords(one)}`),
      make('figcaption', {},
        make('span', {}, `Camera ${named(one.camera)}`), make('span', {}, time(one.time) || 'time unknown'),
        one.label === undefined ? null : make('a', { href: address(`clusters/${one.label}`) }, clusterName(one.label))));
    fill(this.box,
      make('div.pair', {}, side(question.first, 'First'), side(question.second, 'Second')),
      make('p.why', {}, make('strong', {}, `Similarity ${similarity(question.similarity)}. `), question.why),
      make('div.answers', {},
        button('Same', () => this.answer('same'), { kind: 'same', key: 's', changes: true }),
        button('Different', () => this.answer('different'), { kind: 'different', key: 'd', changes: true }),
        button('Skip', () => this.skip(), { key: 'Space' }),
        button('Undo', () => this.back(), { kind: 'plain', key: 'u', disabled: !this.answered.length, changes: true })));
    for (const { first, second } of this.waiting.slice(1, 3)) {
      for (const one of [first, second]) new Image().src = pictureOf(one, 'image');
    }
  }

  /** @param {'same' | 'different'} kind */
  async answer(kind) {
    const [question] = this.waiting;
    if (!question || this.busy) return;
    this.busy = true;
    try {
      const act = await say(kind, { first: question.first.image, second: question.second.image }, () => this.unsay(act.id));
      this.answered.push({ question, kind, act: act.id });
      this.waiting.shift();
    } catch { // said by the message
      return;
    } finally {
      this.busy = false;
    }
    await this.next();
  }

  skip() {
    if (!this.waiting.length || this.busy) return;
    this.answered.push({ question: this.waiting.shift(), kind: 'skip' });
    this.next();
  }

  /** Take the last answer back and ask it again. */
  async back() {
    const last = this.answered.at(-1);
    if (!last || this.busy) return;
    if (last.act) await undo(last.act).then(() => this.unsay(last.act), () => {});
    else this.unsay(undefined);
  }

  /** @param {string | undefined} act */
  unsay(act) {
    const index = this.answered.findLastIndex((one) => one.act === act);
    if (index < 0) return;
    const [{ question }] = this.answered.splice(index, 1);
    this.waiting.unshift(question);
    this.next();
  }

  keys() {
    return [
      { keys: 's', does: 'the same subject', run: () => this.answer('same') },
      { keys: 'd', does: 'different subjects', run: () => this.answer('different') },
      { keys: 'Space', does: 'skip: cannot be told', match: (/** @type {KeyboardEvent} */ event) => event.key === ' ', run: () => this.skip() },
      { keys: 'u', does: 'take the last answer back', run: () => this.back() },
    ];
  }
}

/** @param {any} question @returns {string} */
function nameOf({ first, second }) {
  return `${Math.min(first.image, second.image)}-${Math.max(first.image, second.image)}`;
}
