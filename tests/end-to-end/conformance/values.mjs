// Values: what they are on both sides, and their order.
import assert from "node:assert/strict";
import { convexToJson } from "convex/values";
import { gives } from "./rule.mjs";

const bytes = (...numbers) => new Uint8Array(numbers).buffer;
const nested = (depth) => (depth === 0 ? 1 : [nested(depth - 1)]);

const SAME = {
  null: null,
  "true and false": [true, false],
  "numbers: small, large, the smallest": [0, 1, -1.5, 2 ** 53, 1.7976931348623157e308, 5e-324],
  "numbers that JSON has no form for": [NaN, Infinity, -Infinity, -0],
  "int64 to both ends": [0n, 1n, -1n, 2n ** 63n - 1n, -(2n ** 63n)],
  "the empty string, and characters of all planes": ["", "é", "漢", "😀", "\u0000\u001f\u007f", "\u2028"],
  "bytes, none and all": [bytes(), bytes(...Array.from({ length: 256 }, (_, index) => index))],
  "arrays in arrays": [[], [[]], [1, ["a", [null]]]],
  "objects, and their fields in any order": { z: 1, a: { y: [{}], b: null } },
  "names of fields with spaces, signs and nothing": { "": 1, " a b ": 2, "-/.?": 3, constructor: 4, __proto: 5 },
  "an array of 8,192": Array.from({ length: 8_192 }, (_, index) => index),
  "an object of 1,000 fields": Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`f${index}`, index])),
  "values nested sixty levels deep": nested(60),
};

const KINDS = [
  [null, "null"],
  [1, "number 1"],
  [-0, "-0"],
  [NaN, "number NaN"],
  [1n, "bigint 1"],
  [true, "boolean true"],
  ["a", "string a"],
  [bytes(1, 2), "ArrayBuffer of 2"],
  [[1, 2, 3], "array of 3"],
  [{ b: 1, a: 2 }, "object of a,b"],
];

/** In the order in which an index has them. */
const ORDERED = [
  null,
  -(2n ** 63n),
  -1n,
  0n,
  5n,
  2n ** 63n - 1n,
  -Infinity,
  -1.5,
  -0,
  0,
  1e-300,
  2,
  Infinity,
  NaN,
  false,
  true,
  "",
  "A",
  "a",
  "a\u0000",
  "aa",
  "é",
  "\uffff",
  "😀",
  bytes(),
  bytes(0),
  bytes(0, 1),
  bytes(255),
  [],
  [null],
  [1, 2],
  [2],
  {},
  { a: 1 },
  { a: 1, b: 1 },
  { a: 2 },
  { b: 0 },
];

const shuffled = () => ORDERED.map((_, index) => ORDERED[(index * 17 + 5) % ORDERED.length]);

export default {
  group: "values",
  rules: [
    ...Object.entries(SAME).map(([name, value]) => gives(`${name}: come back as they were sent`, "query", "values:echo", { value }, value)),
    gives("and from a mutation as from a query", "mutation", "values:echoFromMutation", { value: Object.values(SAME).slice(0, 8) }, Object.values(SAME).slice(0, 8)),
    ...KINDS.map(([value, kind]) => gives(`within a function it is: ${kind}`, "query", "values:kind", { value }, kind)),
    {
      rule: "an index has values of all types in one order, and backwards",
      check: async ({ client, unique }) => {
        const set = unique("ordered");
        assert.deepEqual(await client.call("mutation", "values:keep", convexToJson({ set, values: shuffled() })), { value: null });
        assert.deepEqual(await client.call("query", "values:kept", { set }), { value: convexToJson(ORDERED) });
        const backwards = convexToJson([...ORDERED].reverse());
        assert.deepEqual(await client.call("query", "values:kept", { set, order: "desc" }), { value: backwards });
      },
    },
    {
      rule: "a range of an index has what lies between two values, of whatever type",
      check: async ({ client, unique }) => {
        const set = unique("between");
        await client.call("mutation", "values:keep", convexToJson({ set, values: shuffled() }));
        for (const [from, to] of [
          [3, 11],
          [0, 36],
          [8, 9],
          [20, 20],
          [14, 27],
        ]) {
          const args = convexToJson({ set, from: ORDERED[from], to: ORDERED[to] });
          assert.deepEqual(await client.call("query", "values:between", args), { value: convexToJson(ORDERED.slice(from, to)) });
        }
      },
    },
  ],
};
