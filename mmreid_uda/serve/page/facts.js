/** What is served, at the upper edge. */
import { counted } from './format.js';

/** @param {any} info Of the server; null = not known yet. */
export function showFacts(info) {
  const { gallery, run, read_only: readOnly } = info ?? {};
  const facts = [gallery && counted(gallery.count, 'image'), run && `${run.name}: ${counted(run.clusters, 'cluster')}`,
    readOnly && 'read-only'];
  /** @type {HTMLElement} */ (document.getElementById('facts')).textContent = facts.filter(Boolean).join(' · ');
  document.body.classList.toggle('read-only', Boolean(readOnly));
}
