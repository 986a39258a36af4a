// Calls: arguments and results, errors, what is not there, calls within calls.
import assert from "node:assert/strict";
import { fails, gives, valueOf } from "./rule.mjs";

export default {
  group: "calls",
  rules: [
    gives("a function that returns nothing returns null", "query", "calls:nothing", {}, null),
    gives("arguments that fit their validators", "query", "calls:typed", { text: "t", number: 1.5, either: "b" }, "t"),
    fails("an argument that is missing", "query", "calls:typed", {}, /ArgumentValidationError[^]*text/),
    fails("an argument too many", "query", "calls:typed", { text: "t", more: 1 }, /ArgumentValidationError[^]*more/),
    fails("an argument of another type", "query", "calls:typed", { text: "t", number: 1n }, /ArgumentValidationError[^]*number/),
    fails("an argument that is none of several", "query", "calls:typed", { text: "t", either: "c" }, /ArgumentValidationError[^]*either/),
    fails("an id of another table", "query", "documents:get", { id: "nothing" }, /ArgumentValidationError/),
    fails("a result that its validator refuses", "query", "calls:wrongReturn", {}, /ReturnsValidationError/),
    fails("an error tells its class, its text and where", "query", "calls:failing", { how: "error" }, /Uncaught RangeError: out of range[^]*convex\/calls\.ts/),
    fails("a ConvexError carries a text", "query", "calls:failing", { how: "convex error", data: "a text" }, /a text/, "a text"),
    fails("or any value", "query", "calls:failing", { how: "convex error", data: { code: 7n, list: [1.5, null] } }, /code|Convex error/, { code: 7n, list: [1.5, null] }),
    fails("what is thrown need not be an error", "query", "calls:failing", { how: "no error" }, /Uncaught Error: a text/),
    {
      rule: "a mutation that fails has written nothing, whoever catches its data",
      check: async ({ client }) => {
        const { data } = await client.call("mutation", "calls:failingMutation", { data: { is: "kept" } });
        assert.deepEqual(data, { is: "kept" });
        assert.deepEqual(await valueOf(client, "query", "values:kept", { set: "never" }), []);
      },
    },
    fails("a function that is not there", "query", "calls:notThere", {}, /Could not find function `calls:notThere`/),
    fails("a module that is not there", "mutation", "notThere:at", {}, /Could not find function `notThere:at`/),
    fails("an internal function is not there for clients", "query", "calls:hidden", {}, /Could not find function `calls:hidden`/),
    fails("a mutation is no query", "query", "values:keep", { set: "a", values: [] }, /mutation/i),
    fails("a query is no mutation", "mutation", "values:echo", { value: 1 }, /query/i),
    {
      rule: "a mutation within a mutation that fails takes back its own writes and no others",
      check: async ({ client }) => {
        const { added, failure } = await valueOf(client, "mutation", "calls:nested");
        assert.ok(added.includes("kept") && !added.includes("lost"), `${added}`);
        assert.match(failure, /the inner one fails/);
      },
    },
    gives("a query's clock stands still", "query", "calls:clock", {}, 0),
  ],
};
