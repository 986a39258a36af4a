// Results and errors: what a function may return, and what its caller sees of what it throws.
import assert from "node:assert/strict";
import { convexToJson } from "convex/values";
import { mustFail, valueOf } from "./rule.mjs";

const KINDS = [["query", "results:ofQuery"], ["mutation", "results:ofMutation"]];

/** A function returns so (apps/conformance/convex/results.ts). */
const returns = (rule, how, value) => ({
  rule,
  check: async ({ client }) => {
    for (const [kind, path] of KINDS) {
      assert.deepEqual(await valueOf(client, kind, path, { how }), convexToJson(value), kind);
    }
  },
});

const refused = (rule, how, pattern, data) => ({
  rule,
  check: async ({ client }) => {
    for (const [kind, path] of KINDS) {
      await mustFail(client, kind, path, { how }, pattern, data);
    }
  },
});

const NO_VALUE = /not a supported Convex type/;

export default {
  group: "results and errors",
  rules: [
    returns("nothing is null", "undefined", null),
    returns("fields that are undefined are left out", "fields that are undefined", { a: 1, c: {} }),
    returns("an object need not have a prototype", "an object without a prototype", { a: 1 }),
    refused("an array has no undefined", "an array with undefined", /undefined/),
    refused("a Date is no value", "a Date", NO_VALUE),
    refused("nor is a Map", "a Map", NO_VALUE),
    refused("nor a Set", "a Set", NO_VALUE),
    refused("nor a typed array", "a typed array", NO_VALUE),
    refused("nor an instance of a class", "an instance of a class", NO_VALUE),
    refused("nor a function", "a function", NO_VALUE),
    refused("nor a symbol", "a symbol", NO_VALUE),
    refused("nor a promise within an array", "a promise in an array", NO_VALUE),
    refused("nor a bigint of more than 64 bits", "a large bigint", /BigInt/),
    refused("nor half of a character of two halves", "half a character", /InvalidReturnValue/),
    refused("a field's name begins with no dollar sign", "a name with a dollar", /\$a/),
    refused("an array has 8,192 elements at most", "a long array", /8192|8,192|ArrayTooLong/),
    refused("a result is no more than 64 levels deep", "what is deep", /nest/i),
    refused("a subclass of ConvexError is one", "a subclass of ConvexError", /full|Convex error/, { reason: "full" }),
    refused("one of null has null for its data", "a ConvexError of nothing", /null|Convex error/, null),
    refused("an error has its name", "an error with a name", /Uncaught Named: by its name/),
    refused("null may be thrown", "null thrown", /Uncaught[^]*null/),
    refused("or undefined", "undefined thrown", /Uncaught[^]*undefined/),
    refused("or an object", "an object thrown", /Uncaught[^]*(thrown|Object)/),
    refused("an error after a wait tells where, too", "thrown later", /Uncaught TypeError: after a wait[^]*convex\/results\.ts/),
    refused("so does one that JavaScript throws", "thrown by JavaScript", /Uncaught TypeError: Cannot read properties of undefined[^]*convex\/results\.ts/),
    refused("and one of the database", "thrown by the database", /Uncaught[^]*convex\/results\.ts/),
    refused("a stack that has no end fails", "a stack without an end", /RangeError: Maximum call stack size exceeded/),
  ],
};
