// What runs later.
import assert from "node:assert/strict";
import { fails, mustFail, until, valueOf } from "./rule.mjs";

const HOUR_MS = 3_600_000;
const YEAR_MS = 366 * 24 * HOUR_MS;

const jobOf = (client, id) => valueOf(client, "query", "schedules:job", { id });
const isOver = ({ state }) => ["success", "failed", "canceled"].includes(state.kind);
const enteredBy = (client, name) => valueOf(client, "query", "actions:count", { name });

/** Schedules a function and waits for its end: what its document says then. */
async function ran(client, kind, path, value, ms = 0) {
  const id = await valueOf(client, kind.toLowerCase(), `schedules:by${kind}`, { path, ms, value });
  return until(() => jobOf(client, id), isOver);
}

const scheduled = (kind, path, what) => ({
  rule: `${kind === "Mutation" ? "a mutation" : "an action"} schedules ${what}, which runs`,
  check: async ({ client, unique }) => {
    const name = unique("later");
    const id = await valueOf(client, kind.toLowerCase(), `schedules:by${kind}`, { path, ms: 0, value: { name } });
    assert.match(id, /^kc2[0-9a-z]{29}$/);
    const { state, completedTime, scheduledTime } = await until(() => jobOf(client, id), isOver);
    assert.deepEqual(state, { kind: "success" });
    assert.ok(completedTime >= scheduledTime);
    assert.equal(await enteredBy(client, name), 1);
  },
});

const cancelled = (kind) => ({
  rule: `what ${kind === "Mutation" ? "a mutation" : "an action"} cancels does not run`,
  check: async ({ client, unique }) => {
    const name = unique("never");
    const args = { path: "schedules:enter", ms: HOUR_MS, value: { name } };
    const id = await valueOf(client, "mutation", "schedules:byMutation", args);
    await valueOf(client, kind.toLowerCase(), `schedules:cancelBy${kind}`, { id });
    const job = await jobOf(client, id);
    assert.deepEqual(job.state, { kind: "canceled" });
    assert.equal(typeof job.completedTime, "number");
    await valueOf(client, "mutation", "schedules:cancelByMutation", { id });
    assert.deepEqual(await jobOf(client, id), job, "again, it changes nothing");
  },
});

/** One that can't run has failed, and says why. */
const fallsOver = (rule, path, value, pattern) => ({
  rule,
  check: async ({ client }) => {
    const { state } = await ran(client, "Mutation", path, value);
    assert.equal(state.kind, "failed");
    assert.match(state.error, pattern);
  },
});

const refused = (rule, args, pattern) => fails(rule, "mutation", "schedules:byMutation", { path: "schedules:enter", value: { name: "never" }, ms: 0, ...args }, pattern);

/** A run makes an entry about how it sees itself. */
const sees = (rule, path) => ({
  rule,
  check: async ({ client, unique }) => {
    const name = unique("sees");
    assert.deepEqual((await ran(client, "Mutation", path, { name })).state, { kind: "success" });
    assert.equal(await enteredBy(client, `${name}: inProgress`), 1);
  },
});

export default {
  group: "schedules",
  rules: [
    scheduled("Mutation", "schedules:enter", "a mutation"),
    scheduled("Mutation", "schedules:enterByAction", "an action"),
    scheduled("Mutation", "native:enter", "an action in Node.js"),
    scheduled("Action", "schedules:enter", "a mutation"),
    scheduled("Action", "schedules:enterByAction", "an action"),
    {
      rule: "a job is a document: its function, its arguments, its time and its state",
      check: async ({ client, unique }) => {
        const name = unique("document");
        const before = Date.now();
        const id = await valueOf(client, "mutation", "schedules:byMutation", { path: "schedules:enter", ms: HOUR_MS, value: { name } });
        const { _creationTime, scheduledTime, ...job } = await jobOf(client, id);
        assert.deepEqual(job, { _id: id, name: "schedules.js:enter", args: [{ name }], state: { kind: "pending" } });
        assert.ok(scheduledTime >= before + HOUR_MS && scheduledTime <= Date.now() + HOUR_MS, `${scheduledTime}`);
        assert.deepEqual(await valueOf(client, "query", "schedules:ofName", { name }), ["pending"], "and is found by a query");
        await valueOf(client, "mutation", "schedules:cancelByMutation", { id });
      },
    },
    {
      rule: "a job does not run before its time",
      check: async ({ client, unique }) => {
        const { scheduledTime, completedTime } = await ran(client, "Mutation", "schedules:enter", { name: unique("in time") }, 300);
        assert.ok(completedTime >= scheduledTime, `${completedTime} before ${scheduledTime}`);
      },
    },
    {
      rule: "a job for a time that is over runs at once, and keeps that time",
      check: async ({ client, unique }) => {
        const time = Date.now() - HOUR_MS;
        const id = await valueOf(client, "mutation", "schedules:at", { time, isDate: false, name: unique("past") });
        assert.equal((await until(() => jobOf(client, id), isOver)).scheduledTime, time);
      },
    },
    {
      rule: "a time may be a Date",
      check: async ({ client, unique }) => {
        const time = Date.now() + HOUR_MS;
        const id = await valueOf(client, "mutation", "schedules:at", { time, isDate: true, name: unique("date") });
        assert.equal((await jobOf(client, id)).scheduledTime, time);
        await valueOf(client, "mutation", "schedules:cancelByMutation", { id });
      },
    },
    {
      rule: "arguments of all types arrive",
      check: async ({ client, unique }) => {
        const set = unique("arguments");
        const values = [7n, new Uint8Array([1, 2]).buffer, -0, { a: [null] }];
        await ran(client, "Mutation", "values:keep", { set, values });
        const kept = await valueOf(client, "query", "values:kept", { set });
        assert.deepEqual(kept, [{ $integer: "BwAAAAAAAAA=" }, { $float: "AAAAAAAAAIA=" }, { $bytes: "AQI=" }, { a: [null] }]);
      },
    },
    {
      rule: "a function handle can be scheduled",
      check: async ({ client, unique }) => {
        const name = unique("by handle");
        const id = await valueOf(client, "mutation", "schedules:byHandle", { name });
        assert.deepEqual((await until(() => jobOf(client, id), isOver)).state, { kind: "success" });
        assert.equal(await enteredBy(client, name), 1);
      },
    },
    {
      rule: "a job may schedule the next",
      check: async ({ client, unique }) => {
        const name = unique("chain");
        await ran(client, "Mutation", "schedules:chain", { name, left: 10 });
        await until(() => enteredBy(client, name), (count) => count === 10);
      },
    },
    sees("a mutation that runs sees itself in progress", "schedules:seesItself"),
    sees("so does everybody with an action", "schedules:seesItselfByAction"),
    {
      rule: "a mutation that fails has failed, says why, and has written nothing",
      check: async ({ client, unique }) => {
        const name = unique("fails");
        const { state } = await ran(client, "Mutation", "schedules:fail", { name });
        assert.equal(state.kind, "failed");
        assert.match(state.error, /Uncaught RangeError: too late[^]*convex\/schedules\.ts/);
        assert.equal(await enteredBy(client, name), 0);
      },
    },
    {
      rule: "an action that fails has failed, and is not run again",
      check: async ({ client, unique }) => {
        const name = unique("fails");
        const { state } = await ran(client, "Action", "actions:entersAndFails", { name });
        assert.equal(state.kind, "failed");
        assert.match(state.error, /Uncaught RangeError: too far/);
        assert.equal(await enteredBy(client, name), 1);
      },
    },
    fallsOver("arguments are checked when a job runs", "schedules:enter", { name: 7 }, /ArgumentValidationError/),
    fallsOver("a query does not run", "schedules:look", { name: "never" }, /is a query/),
    refused("what is scheduled is there", { path: "schedules:notThere" }, /InvalidScheduledFunction\b/),
    refused("a time is no more than five years ahead", { ms: 6 * YEAR_MS }, /InvalidScheduledFunctionDelay/),
    fails("nor five years back", "mutation", "schedules:at", { time: Date.now() - 6 * YEAR_MS, isDate: false, name: "never" }, /InvalidScheduledFunctionDelay/),
    fails("and is a number", "mutation", "schedules:at", { time: NaN, isDate: true, name: "never" }, /InvalidScheduledFunctionDelay/),
    {
      rule: "a mutation that fails has scheduled nothing",
      check: async ({ client, unique }) => {
        const name = unique("never");
        await mustFail(client, "mutation", "schedules:andFails", { name }, /changed its mind/);
        assert.deepEqual(await valueOf(client, "query", "schedules:ofName", { name }), []);
      },
    },
    {
      rule: "nor has one within another",
      check: async ({ client, unique }) => {
        const name = unique("once");
        const id = await valueOf(client, "mutation", "schedules:andCatches", { name });
        assert.deepEqual(await valueOf(client, "query", "schedules:ofName", { name }), ["pending"]);
        await valueOf(client, "mutation", "schedules:cancelByMutation", { id });
      },
    },
    {
      rule: "what an action has scheduled runs, also when the action fails",
      check: async ({ client, unique }) => {
        const name = unique("all the same");
        await mustFail(client, "action", "schedules:andFailsByAction", { name }, /changed its mind/);
        await until(() => enteredBy(client, name), (count) => count === 1);
      },
    },
    cancelled("Mutation"),
    cancelled("Action"),
    {
      rule: "what is over can't be cancelled, and stays as it is",
      check: async ({ client, unique }) => {
        const { _id: id } = await ran(client, "Mutation", "schedules:enter", { name: unique("over") });
        await valueOf(client, "mutation", "schedules:cancelByMutation", { id });
        assert.deepEqual((await jobOf(client, id)).state, { kind: "success" });
      },
    },
    {
      rule: "a mutation that cancels itself goes on",
      check: async ({ client, unique }) => {
        const name = unique("goes on");
        assert.deepEqual((await ran(client, "Mutation", "schedules:cancelsItself", { name })).state, { kind: "success" });
        assert.equal(await enteredBy(client, name), 1);
      },
    },
    fails("what is cancelled is a job", "mutation", "schedules:cancelByMutation", { id: "nothing" }, /InvalidArgument/),
    fails("for an action, too", "action", "schedules:cancelByAction", { id: "nothing" }, /InvalidArgument/),
    fails("a mutation schedules no more than a thousand", "mutation", "schedules:many", { name: "too many", count: 1_001 }, /TooManyFunctionsScheduled/),
  ],
};
