// Actions in Node.js (`"use node"`).
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { fails, gives, mustFail, until, valueOf } from "./rule.mjs";

const SOME = [null, true, -0, NaN, Infinity, 7n, -(2n ** 63n), "漢", new Uint8Array([0, 255]).buffer, { b: [1, {}], a: "" }];
const TIDE_SHA256 = createHash("sha256").update("tide").digest("hex");

const enteredBy = (client, name) => valueOf(client, "query", "actions:count", { name });

export default {
  group: "Node.js actions",
  rules: [
    {
      rule: "they run in Node.js 22 or later, with Buffer",
      check: async ({ client }) => {
        const { name, major, buffer } = await valueOf(client, "action", "native:host");
        assert.deepEqual([name, buffer], ["node", "function"]);
        assert.ok(major >= 22, `${major}`);
      },
    },
    gives("modules of Node.js can be imported", "action", "native:computes", { text: "tide" }, [TIDE_SHA256, "tide"]),
    gives("values of all types come back as they were sent", "action", "native:echo", { value: SOME }, SOME),
    gives("one that returns nothing returns null", "action", "native:nothing", {}, null),
    fails("arguments are checked", "action", "native:typed", { text: 1 }, /ArgumentValidationError[^]*text/),
    fails("and results", "action", "native:typed", { text: "t" }, /ReturnsValidationError/),
    fails("internal ones are not there for clients", "action", "native:hidden", {}, /Could not find function `native:hidden`/),
    fails("they are no mutations", "mutation", "native:echo", { value: 1 }, /is an action and can't be called as a mutation/),
    {
      rule: "they call mutations, queries and actions, internal ones too",
      check: async ({ client, unique }) => {
        assert.deepEqual(await valueOf(client, "action", "native:calls", { name: unique("called") }), [1, 2]);
      },
    },
    {
      rule: "an action in an isolate calls them",
      check: async ({ client }) => {
        const args = { kind: "action", path: "native:computes", value: { text: "tide" } };
        assert.deepEqual(await valueOf(client, "action", "actions:callsAs", args), [TIDE_SHA256, "tide"]);
      },
    },
    {
      rule: "an error tells its class, its text and where; what was written before it stays, and nothing is run again",
      check: async ({ client, unique }) => {
        const name = unique("stays");
        await mustFail(client, "action", "native:entersAndFails", { name }, /Uncaught RangeError: too far[^]*convex\/native\.ts/);
        assert.equal(await enteredBy(client, name), 1);
      },
    },
    fails("a ConvexError brings its data to the client", "action", "native:refuses", {}, /full|Convex error/, { reason: "full", at: 7n }),
    {
      rule: "that of a mutation can be caught with its data",
      check: async ({ client, unique }) => {
        const data = await valueOf(client, "action", "native:catches", { name: unique("never") });
        assert.deepEqual(data, { reason: "full", at: { $integer: "BwAAAAAAAAA=" } });
      },
    },
    {
      rule: "they store files, read and delete them",
      check: async ({ client }) => {
        const bytes = new Uint8Array([0, 1, 254, 255]).buffer;
        const kept = await valueOf(client, "action", "native:keeps", { bytes });
        assert.deepEqual(kept, [{ $bytes: "AAH+/w==" }, "application/x-tide", null]);
      },
    },
    {
      rule: "they schedule functions, and run when they are scheduled",
      check: async ({ client, unique }) => {
        const name = unique("later");
        const id = await valueOf(client, "action", "native:schedules", { name });
        await until(() => valueOf(client, "query", "schedules:job", { id }), ({ state }) => state.kind === "success");
        assert.equal(await enteredBy(client, name), 1);
      },
    },
    {
      rule: "they ask other servers",
      check: async ({ client, server }) => {
        assert.equal((await valueOf(client, "action", "native:asks", { url: `${server.outside}/tide` })).url, "/tide");
      },
    },
    {
      rule: "one that ends its process fails, and no other",
      check: async ({ client }) => {
        await mustFail(client, "action", "native:exits", {}, /NodeProcessEnded[^]*exit code 3/);
        assert.deepEqual(await valueOf(client, "action", "native:computes", { text: "tide" }), [TIDE_SHA256, "tide"]);
      },
    },
  ],
};
