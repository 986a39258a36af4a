// What a rule is made of: a name and a check. A check gets a connected client (harness/clients.mjs), another one whose calls are
// not the subject, `connect()`, which connects one more of the first one's kind, `unique`, which makes a name that no other check uses,
// and `server` (server.mjs). Rules of a group with `once` are about the server's addresses: no client is their subject.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { convexToJson } from "convex/values";

// Only what hangs takes so long.
const WAIT_MS_MAX = 120_000;

/** A call answers with a value. */
export function gives(rule, kind, path, args, value) {
  return {
    rule,
    check: async ({ client }) => assert.deepEqual(await client.call(kind, path, convexToJson(args)), { value: convexToJson(value) }),
  };
}

/** A call fails with a text that matches, and with the data of a ConvexError if there is any. */
export function fails(rule, kind, path, args, pattern, data) {
  return { rule, check: ({ client }) => mustFail(client, kind, path, args, pattern, data) };
}

/** The same within a check. */
export async function mustFail(client, kind, path, args, pattern, data) {
  const { error, ...rest } = await client.call(kind, path, convexToJson(args));
  assert.match(error ?? "", pattern, `it does not fail so: ${JSON.stringify(rest)}`);
  assert.deepEqual(rest, data === undefined ? {} : { data: convexToJson(data) });
}

/** The value of a call that must not fail. */
export async function valueOf(client, kind, path, args = {}) {
  const { value, error } = await client.call(kind, path, convexToJson(args));
  assert.equal(error, undefined, `${path} failed`);
  return value;
}

/** Asks until the answer is one for which `holds`, and returns it. */
export async function until(ask, holds = Boolean) {
  const deadline = Date.now() + WAIT_MS_MAX;
  for (;;) {
    const answer = await ask();
    if (holds(answer)) {
      return answer;
    }
    assert.ok(Date.now() < deadline, `it does not come to that, and is at last: ${JSON.stringify(answer)}`);
    await sleep(20);
  }
}
