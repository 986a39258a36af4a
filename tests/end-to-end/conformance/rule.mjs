// What a rule is made of: a name and a check. A check gets a connected client (harness/clients.mjs), another one whose calls are
// not the subject, and `unique`, which makes a name that no other check uses.
import assert from "node:assert/strict";
import { convexToJson } from "convex/values";

/** A call answers with a value. */
export function gives(rule, kind, path, args, value) {
  return {
    rule,
    check: async ({ client }) => assert.deepEqual(await client.call(kind, path, convexToJson(args)), { value: convexToJson(value) }),
  };
}

/** A call fails with a text that matches, and with the data of a ConvexError if there is any. */
export function fails(rule, kind, path, args, pattern, data) {
  return {
    rule,
    check: async ({ client }) => {
      const { error, ...rest } = await client.call(kind, path, convexToJson(args));
      assert.match(error ?? "", pattern, `it does not fail so: ${JSON.stringify(rest)}`);
      assert.deepEqual(rest, data === undefined ? {} : { data: convexToJson(data) });
    },
  };
}

/** The value of a call that must not fail. */
export async function valueOf(client, kind, path, args = {}) {
  const { value, error } = await client.call(kind, path, convexToJson(args));
  assert.equal(error, undefined, `${path} failed`);
  return value;
}
