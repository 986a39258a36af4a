// Transactions: what a mutation may write, what it knows of itself, and what it calls.
import assert from "node:assert/strict";
import { fails, gives, mustFail, valueOf } from "./rule.mjs";

const enteredBy = (client, name) => valueOf(client, "query", "actions:count", { name });
const int64 = ({ $integer }) => Buffer.from($integer, "base64").readBigInt64LE();

/** What can't be done to a document (apps/conformance/convex/transactions.ts). */
const refused = (rule, how, pattern) => fails(rule, "mutation", "transactions:wrongly", { how }, pattern);

const metadata = (rule, kind, path, name, visibility = "public") =>
  gives(rule, kind, path, {}, { name: `transactions:${name}`, componentPath: "", type: kind, visibility });

export default {
  group: "transactions",
  rules: [
    gives("a document is got, changed, replaced and deleted by its table and id", "mutation", "transactions:byTable", { name: "by table" }, [
      ["by table", 1],
      ["by table", 2],
      ["by table", null],
      null,
    ]),
    refused("not by another table: got", "get by another table", /friends/),
    refused("changed", "patch by another table", /friends/),
    refused("replaced", "replace by another table", /friends/),
    refused("or deleted", "delete by another table", /friends/),
    gives("what is undefined is left out, and an id and a time may be said again", "mutation", "transactions:sameAgain", { name: "again" }, [
      ["_creationTime", "_id", "name"],
      4,
      true,
    ]),
    refused("they can't be changed: an id", "another id", /_id|InvalidId/),
    refused("a time of creation", "another time of creation", /_creationTime|InvalidCreationTime/),
    refused("undefined is no value", "undefined in an array", /undefined/),
    refused("nor is a Date", "a Date", /Date|not a supported Convex type/),
    refused("nor a Map", "a Map", /not a supported Convex type/),
    refused("nor an instance of a class", "an instance of a class", /not a supported Convex type/),
    refused("nor a function", "a function", /not a supported Convex type/),
    refused("nor a bigint of more than 64 bits", "a large bigint", /BigInt|int64|too large|does not fit/i),
    refused("a field's name begins with no dollar sign", "a name with a dollar", /\$a/),
    refused("and is ASCII", "a name beyond ASCII", /ASCII/),
    refused("an array has 8,192 elements at most", "a long array", /8192|8,192|ArrayTooLong/),
    refused("an object 1,024 fields", "many fields", /1024|1,024|TooManyFields/),
    refused("a document is no more than 16 levels deep", "a deep value", /nest/i),
    refused("and no larger than a mebibyte", "a large document", /ValueTooLarge|1 MiB/),
    refused("a table of the system is not written", "a table of the system", /read-only/),
    refused("nor one whose name is none", "a bad name for a table", /no-name/),
    metadata("a query knows its name and kind", "query", "transactions:metadata", "metadata"),
    metadata("so does a mutation", "mutation", "transactions:metadataOfMutation", "metadataOfMutation"),
    gives("and an action, and what it calls", "action", "transactions:metadataOfAction", {}, [
      { name: "transactions:metadataOfAction", componentPath: "", type: "action", visibility: "public" },
      { name: "transactions:metadataOfInternal", componentPath: "", type: "query", visibility: "internal" },
    ]),
    {
      rule: "a mutation knows what it has used of its limits, and what is left",
      check: async ({ client, unique }) => {
        const [before, [, written, , scheduled], remaining] = await valueOf(client, "mutation", "transactions:used", { name: unique("used") });
        assert.deepEqual([before[1], before[3], written, scheduled, remaining], [0, 0, 2, 0, 16_000]);
      },
    },
    {
      rule: "one that it calls can be given less",
      check: async ({ client, unique }) => {
        const name = unique("limited");
        assert.match(await valueOf(client, "mutation", "transactions:limited", { name, count: 3 }), /TooManyWrites/);
        assert.equal(await enteredBy(client, name), 0);
        assert.equal(await valueOf(client, "mutation", "transactions:limited", { name, count: 2 }), "done");
        assert.equal(await enteredBy(client, name), 2);
      },
    },
    {
      rule: "a query that it calls sees what it has written, or what was before",
      check: async ({ client, unique }) => {
        const name = unique("stale");
        assert.deepEqual(await valueOf(client, "mutation", "transactions:stale", { name }), [1, 0]);
        assert.deepEqual(await valueOf(client, "mutation", "transactions:stale", { name }), [2, 1]);
      },
    },
    {
      rule: "one that the schema does not have may be, and takes anything",
      check: async ({ client, unique }) => {
        const name = unique("undeclared");
        assert.deepEqual(await valueOf(client, "mutation", "transactions:undeclared", { name }), { name, more: [null] });
      },
    },
    {
      rule: "a query knows the moment that it is of: after all that was written before and that it reads",
      check: async ({ client, unique }) => {
        const set = unique("moment");
        const moment = async () => int64(await valueOf(client, "query", "transactions:moment", { set }));
        const before = await moment();
        await valueOf(client, "mutation", "transactions:count", { set });
        const after = await moment();
        assert.ok(before < after, `${after} after ${before}`);
        assert.ok(Math.abs(Number(after / 1_000_000n) - Date.now()) < 60_000, `${after} are nanoseconds`);
      },
    },
    {
      rule: "calls go eight deep, and no deeper",
      check: async ({ client, unique }) => {
        const [shallow, deep] = [unique("shallow"), unique("deep")];
        assert.equal(await valueOf(client, "mutation", "transactions:deep", { name: shallow, depth: 7 }), 7);
        assert.equal(await enteredBy(client, shallow), 8);
        await mustFail(client, "mutation", "transactions:deep", { name: deep, depth: 9 }, /MaximumCallDepthExceeded/);
        assert.equal(await enteredBy(client, deep), 0);
      },
    },
    fails("a mutation calls no action", "mutation", "transactions:callsWrongly", { how: "an action" }, /is an action and can't be called as a mutation/),
    fails("nor a mutation as a query", "mutation", "transactions:callsWrongly", { how: "a mutation as a query" }, /is a mutation and can't be called as a query/),
    fails("nor with other arguments than are declared", "mutation", "transactions:callsWrongly", { how: "other arguments" }, /ArgumentValidationError/),
    fails("nor what is not there", "mutation", "transactions:callsWrongly", { how: "nothing" }, /Could not find function[^]*nothing:there/),
    {
      rule: "mutations at the same time each take effect once, one after the other",
      check: async ({ client, other, unique }) => {
        const set = unique("counter");
        const calls = Array.from({ length: 20 }, (_, index) => valueOf(index % 2 ? client : other, "mutation", "transactions:count", { set }));
        const told = (await Promise.all(calls)).sort((one, another) => one - another);
        assert.deepEqual(told, Array.from({ length: 20 }, (_, index) => index + 1));
      },
    },
  ],
};
