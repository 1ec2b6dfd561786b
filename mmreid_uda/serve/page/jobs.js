/** Work that the server does in the background. */
import { get, post } from './api.js';

const PAUSE = 700;
/** Date, program and level, as a training logs them before each line. */
const LOGGED = /^[\d/]+ [\d:]+ - mmengine - [A-Z]+ - +/;

/**
 * Start a job and wait for its end.
 * @param {string} path
 * @param {(progress: number | null, line: string) => void} told With the last line of its log.
 * @returns {Promise<any>} Its result.
 */
export async function runJob(path, told) {
  let job = await post(path);
  while (!['done', 'failed'].includes(job.state)) {
    told(job.progress ?? null, (job.log?.at(-1) ?? '').replace(LOGGED, ''));
    await new Promise((resolve) => { setTimeout(resolve, PAUSE); });
    job = await get(`jobs/${encodeURIComponent(job.id)}`);
  }
  if (job.state === 'failed') throw new Error(job.error);
  return job.result;
}
