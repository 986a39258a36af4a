// What is asked of a cluster that loses nodes: whichever answers.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { asAdmin } from "./functions.mjs";

const ANSWER_MS_MAX = 60_000;
const PAUSE_MS = 100;

/**
 * Asks one node after the other until one answers: without a leader none does, and the answer of one that is killed is lost. So what is
 * asked for may have taken effect more than once.
 */
export async function anywhere(cluster, random, ask) {
  const deadline = Date.now() + ANSWER_MS_MAX;
  for (;;) {
    const { running } = cluster;
    try {
      return await ask(running[random.below(running.length)]);
    } catch (error) {
      // TypeError: fetch found nobody, or nobody any more.
      const mayPass = error instanceof TypeError || error.status >= 500;
      if (!mayPass || Date.now() > deadline) throw error;
      await sleep(PAUSE_MS);
    }
  }
}

/** The bytes that an administrator is answered with. Anything but a success is an error with the status of the answer. */
export async function askAsAdmin(tidemark, path, { headers = {}, ...request } = {}) {
  const response = await fetch(tidemark.url + path, { ...request, headers: { ...asAdmin(tidemark).headers, ...headers } });
  const bytes = Buffer.from(await response.arrayBuffer());
  if (!response.ok) throw Object.assign(new Error(`${path}: ${response.status} ${bytes}`), { status: response.status });
  return bytes;
}

/** The value of a function. */
export async function valueOf(tidemark, kind, path, args = {}) {
  const body = JSON.stringify({ path, args, format: "json" });
  const bytes = await askAsAdmin(tidemark, `/api/${kind}`, { method: "POST", body, headers: { "Content-Type": "application/json" } });
  const answer = JSON.parse(bytes);
  assert.equal(answer.status, "success", `${path}: ${bytes}`);
  return answer.value;
}
