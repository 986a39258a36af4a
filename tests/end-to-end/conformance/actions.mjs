// Actions: what they call, what they wait for, how they fail.
import assert from "node:assert/strict";
import { fails, gives, valueOf } from "./rule.mjs";

const SOME = [null, true, -0, NaN, 7n, "漢", new Uint8Array([0, 255]).buffer, { b: [1, {}], a: "" }];

const enteredBy = (client, name) => valueOf(client, "query", "actions:count", { name });

/** An action is called with a name of its own, and answers so; then there are so many entries of that name. */
const enters = (rule, path, count, value = null) => ({
  rule,
  check: async ({ client, unique }) => {
    const name = unique("entered");
    assert.deepEqual(await valueOf(client, "action", path, { name }), value);
    assert.equal(await enteredBy(client, name), count);
  },
});

const callsAs = (rule, kind, path, value, pattern) => fails(rule, "action", "actions:callsAs", { kind, path, value }, pattern);

export default {
  group: "actions",
  rules: [
    gives("values of all types come back from an action as they were sent", "action", "actions:echo", { value: SOME }, SOME),
    gives("an action that returns nothing returns null", "action", "actions:nothing", {}, null),
    fails("an action's arguments are checked", "action", "actions:typed", { text: 1 }, /ArgumentValidationError[^]*text/),
    fails("and its result", "action", "actions:typed", { text: "t" }, /ReturnsValidationError/),
    fails("an internal action is not there for clients", "action", "actions:hidden", {}, /Could not find function `actions:hidden`/),
    fails("an action is no query", "query", "actions:echo", { value: 1 }, /is an action and can't be called as a query/),
    fails("an action is no mutation", "mutation", "actions:echo", { value: 1 }, /is an action and can't be called as a mutation/),
    fails("a query is no action", "action", "values:echo", { value: 1 }, /is a query and can't be called as an action/),
    gives("an action's clock goes on while it waits", "action", "actions:clock", {}, true),
    {
      rule: "an action has other random numbers each time",
      check: async ({ client }) => {
        const drawn = [...(await valueOf(client, "action", "actions:random")), ...(await valueOf(client, "action", "actions:random"))];
        assert.equal(new Set(drawn).size, 4, `${drawn}`);
      },
    },
    gives("an action makes keys, and signs with them", "action", "actions:signs", {}, true),
    enters("an action calls mutations, queries that see what these wrote, and actions, internal ones too", "actions:calls", 1, [1, 2]),
    enters("calls of an action at the same time all take place", "actions:callsAtOnce", 20),
    enters("so does one that it does not wait for", "actions:callsAndLeaves", 1),
    {
      rule: "what an action's mutations wrote stays when it fails, and it is not run again",
      check: async ({ client, unique }) => {
        const name = unique("stays");
        const { error } = await client.call("action", "actions:entersAndFails", { name });
        assert.match(error, /Uncaught RangeError: too far[^]*convex\/actions\.ts/);
        assert.equal(await enteredBy(client, name), 1);
      },
    },
    enters("a mutation that fails within an action has written nothing, and its ConvexError can be caught with its data", "actions:catches", 0, {
      reason: "full",
      at: { $integer: "BwAAAAAAAAA=" },
    }),
    fails("or goes on to the client", "action", "actions:refused", { name: "never" }, /full|Convex error/, { reason: "full", at: 7n }),
    callsAs("what an action calls with other arguments than are declared fails", "mutation", "schedules:enter", { name: 1 }, /ArgumentValidationError/),
    callsAs("so does a mutation that it calls as a query", "query", "schedules:enter", { name: "never" }, /is a mutation and can't be called as a query/),
    callsAs("and what is not there", "action", "actions:notThere", {}, /Could not find function[^]*actions:notThere/),
    {
      rule: "an action asks other servers",
      check: async ({ client, server }) => {
        const { status, type, body } = await valueOf(client, "action", "actions:asks", { url: `${server.outside}/a?b=c`, method: "POST", body: "how high?" });
        assert.deepEqual([status, type], [201, "application/json"]);
        assert.deepEqual(body, { method: "POST", url: "/a?b=c", from: "an action", body: "how high?" });
      },
    },
    {
      rule: "and gives up when it wants to",
      check: async ({ client, server }) => {
        assert.equal(await valueOf(client, "action", "actions:givesUp", { url: `${server.outside}/never` }), "TimeoutError");
      },
    },
    fails("an action that waits for what can't come fails", "action", "actions:never", {}, /will never resolve/),
    fails("so does one with a rejection that nobody handles", "action", "actions:unhandled", {}, /Uncaught RangeError: nobody handles this/),
  ],
};
