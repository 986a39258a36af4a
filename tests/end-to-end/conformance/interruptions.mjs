// What clients may be told while nodes are lost, without a promise being broken: that a call was not made, or that it is not known what
// became of it. A rule that was told so is held once more, from its beginning, with names that nobody has used.
//
// The official clients over WebSockets ask again by themselves, so their queries and mutations are told nothing of it: if one is, its rule
// fails. Those of Python and Rust ask again in another session, so that a call may take effect twice without that anybody is told
// (docs/reference/clients.md): their rules are held once more as well where a node was lost meanwhile.
import assert from "node:assert/strict";
import { inspect } from "node:util";
import { CLIENTS } from "../harness/clients.mjs";

const TIMES_MAX = 5;

/** Clients that send what has no answer again in a session of its own. */
const ASK_IN_ANOTHER_SESSION = ["Python", "Rust"];
/** So long after a node was lost they may still be about to. */
const ASKS_AGAIN_WITHIN_MS = 3_000;

/** Codes of docs/reference/errors.md, and what a scheduled action leaves behind whose process has ended. */
const OF_THE_SERVER = /\b(NotLeader|NodeUnreachable|ConnectionLost|CallTimedOut|UnknownOutcome|ResultLost|EpochEnded|NotYet)\b|Transient error while executing action/;
/** What clients and fetch say of a connection that breaks. */
const OF_A_CONNECTION = new RegExp(
  [
    ...["ECONNRESET", "ECONNREFUSED", "EPIPE", "fetch failed", "other side closed", "terminated", "socket hang up"],
    "Connection lost while action was in flight",
    ...["Connection aborted", "Connection refused", "Connection reset", "Connection broken", "Response ended prematurely"],
    // Python and Rust, of a call that was being written (docs/reference/clients.md).
    "channel closed",
  ].join("|"),
);

const isInterruption = (text) => OF_THE_SERVER.test(text) || OF_A_CONNECTION.test(text);

/** What the rule that is held was told. */
let told = [];
/** What nobody may be told. */
let broken = [];

/** Has whatever is fetched from now on be looked at. */
export function watchFetch() {
  const original = globalThis.fetch;
  globalThis.fetch = async (...request) => {
    let response;
    try {
      response = await original(...request);
    } catch (error) {
      told.push(`${error.message}: ${error.cause?.code ?? error.cause?.message}`);
      throw error;
    }
    if (response.status >= 500) {
      const text = await response.clone().text().catch(String);
      if (isInterruption(text)) {
        told.push(`${response.status} ${text}`);
      }
    }
    return response;
  };
}

/** Connects a client, whose answers are looked at. */
export async function connectWatched(name, context, url) {
  const client = await CLIENTS[name](context, url);
  const call = client.call.bind(client);
  client.asksInAnotherSession = ASK_IN_ANOTHER_SESSION.includes(name);
  client.call = async (kind, path, args) => {
    const answer = await call(kind, path, args);
    if (answer.error !== undefined && isInterruption(answer.error)) {
      const asksAgain = client.subscribe && kind !== "action" && !/channel closed/.test(answer.error);
      (asksAgain ? broken : told).push(`${kind} ${path} (${name}): ${answer.error}`);
    }
    return answer;
  };
  return client;
}

export const repetitions = [];

/** Holds a rule until it is kept, as long as what it was told is no more than an interruption. `losses` are the times at which nodes were lost. */
export const holdThrough = (losses) => async ({ rule, check }, context, given) => {
  for (let times = 1; ; times++) {
    const begun = Date.now();
    [told, broken] = [[], []];
    try {
      await check(given);
      assert.deepEqual(broken, [], "a client that asks again by itself was told of an interruption");
      return;
    } catch (error) {
      const texts = [error.message, inspect(error.actual, { depth: 8 }), inspect(error.cause)];
      const reasons = [...told, ...texts.filter(isInterruption)];
      if (given.client.asksInAnotherSession && losses.some((time) => time > begun - ASKS_AGAIN_WITHIN_MS)) {
        reasons.push(`a node was lost, and its client asks again in another session (${error.message})`);
      }
      if (broken.length > 0 || reasons.length === 0 || times === TIMES_MAX) {
        throw error;
      }
      repetitions.push(rule);
      context.diagnostic(`once more, as it was told: ${reasons[0].slice(0, 300)}`);
    }
  }
};
