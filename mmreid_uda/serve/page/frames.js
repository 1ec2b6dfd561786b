/** How long frames take while something moves: kept in `window.frameTimes`, shown on `?debug`. */

const KEPT = 5000;
/** @type {number[]} Milliseconds. */
export const frameTimes = [];
let moving = 0;
let last = 0;

/** @param {number[]} values @param {number} share 0 to 1. @returns {number} */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

/** @param {number} now */
function frame(now) {
  if (last) {
    frameTimes.push(now - last);
    if (frameTimes.length > KEPT) frameTimes.splice(0, frameTimes.length - KEPT);
  }
  last = now;
  if (now < moving) {
    requestAnimationFrame(frame);
  } else {
    last = 0;
    report();
  }
}

/** Measure frames for the next 200 ms: called by whatever scrolls or is dragged. */
export function watchFrames() {
  const resting = performance.now() > moving;
  moving = performance.now() + 200;
  if (resting) requestAnimationFrame(frame);
}

function report() {
  const output = document.getElementById('debug');
  if (!output || !new URLSearchParams(location.search).has('debug')) return;
  output.hidden = false;
  const [median, late] = [0.5, 0.95].map((share) => quantile(frameTimes, share).toFixed(1));
  output.textContent = `${frameTimes.length} frames: median ${median} ms, 95 % ${late} ms · `
    + `${document.getElementsByTagName('*').length} elements`;
}

Object.assign(window, { frameTimes });
