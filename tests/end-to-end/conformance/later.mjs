// What actions do besides running, and what runs later.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { fails, valueOf } from "./rule.mjs";

const CANCEL_MS_MAX = 10_000;

async function until(client, path, args, expected) {
  while ((await valueOf(client, "query", path, args)) !== expected) {
    await sleep(10);
  }
}

/** What is scheduled in a function of one kind runs, and says so. */
const scheduled = (kind, path, target) => ({
  rule: `a ${kind} schedules ${target === "enter" ? "a mutation" : "an action"}, which runs`,
  check: async ({ client, unique }) => {
    const name = unique("later");
    const id = await valueOf(client, kind, path, { target, ms: 0, name });
    await until(client, "later:kind", { id }, "success");
    assert.equal(await valueOf(client, "query", "later:isThere", { name }), true);
  },
});

const cancelled = (kind, path) => ({
  rule: `what a ${kind} cancels does not run`,
  check: async ({ client, unique }) => {
    let [name, id, ms] = ["", "", 250];
    // A machine that is too busy to cancel it before its time gets more time.
    do {
      name = unique("never");
      ms *= 2;
      id = await valueOf(client, "action", "later:scheduleByAction", { target: "enter", ms, name });
      await valueOf(client, kind, path, { id });
    } while (ms < CANCEL_MS_MAX && (await valueOf(client, "query", "later:kind", { id })) === "success");
    await sleep(ms + 200);
    assert.equal(await valueOf(client, "query", "later:kind", { id }), "canceled");
    assert.equal(await valueOf(client, "query", "later:isThere", { name }), false);
  },
});

export default {
  group: "later",
  rules: [
    {
      rule: "an action calls a mutation, and its next query sees what that wrote",
      check: async ({ client, unique }) => {
        assert.equal(await valueOf(client, "action", "later:calls", { name: unique("called") }), true);
      },
    },
    scheduled("mutation", "later:scheduleByMutation", "enter"),
    scheduled("mutation", "later:scheduleByMutation", "enterByAction"),
    scheduled("action", "later:scheduleByAction", "enter"),
    scheduled("action", "later:scheduleByAction", "enterByAction"),
    cancelled("mutation", "later:cancelByMutation"),
    cancelled("action", "later:cancelByAction"),
    fails("what is cancelled is a job", "action", "later:cancelByAction", { id: "nothing" }, /ArgumentValidationError/),
    {
      rule: "an action stores a file, reads it and deletes it",
      check: async ({ client }) => {
        const bytes = Uint8Array.from({ length: 1000 }, (_, index) => index % 256).buffer;
        const file = await valueOf(client, "action", "later:keep", { bytes });
        assert.deepEqual(await valueOf(client, "action", "later:read", { file }), {
          type: "application/x-tide",
          bytes: { $bytes: Buffer.from(bytes).toString("base64") },
        });
        await valueOf(client, "action", "later:remove", { file });
        assert.equal(await valueOf(client, "action", "later:read", { file }), null);
      },
    },
  ],
};
