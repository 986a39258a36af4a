// Validators: what each takes for an argument and for a result, and what it refuses.
import assert from "node:assert/strict";
import { convexToJson } from "convex/values";
import { fails, gives, mustFail, valueOf } from "./rule.mjs";

const bytes = (...numbers) => new Uint8Array(numbers).buffer;
const NOTHING = Symbol("nothing");
const argsOf = (value) => (value === NOTHING ? {} : { value });

/** A function of this name (apps/conformance/convex/validators.ts) takes and returns these values, and does not take those. */
const takes = (rule, name, taken, refused) => ({
  rule,
  check: async ({ client }) => {
    for (const value of taken) {
      assert.deepEqual(await valueOf(client, "query", `validators:${name}`, argsOf(value)), convexToJson(argsOf(value)));
    }
    for (const value of refused) {
      await mustFail(client, "query", `validators:${name}`, argsOf(value), /ArgumentValidationError/);
    }
  },
});

export default {
  group: "validators",
  rules: [
    takes("null", "ofNull", [null], [0, "", false, NOTHING]),
    takes("true and false", "ofBoolean", [true, false], [0, 1, "true", null]),
    takes("numbers, which need not be finite", "ofNumber", [0, -0, 1.5, NaN, Infinity], [1n, "1", null, [1]]),
    takes("numbers by their other name", "ofFloat64", [1, -1e300], [1n, "1"]),
    takes("int64, which are no numbers", "ofInt64", [0n, 2n ** 63n - 1n], [0, 1.5, "1", null]),
    takes("text", "ofString", ["", "\u0000", "漢"], [1, null, bytes(1), ["a"]]),
    takes("bytes", "ofBytes", [bytes(), bytes(1)], ["", [1], null]),
    takes("anything but nothing", "ofAny", [null, 1n, [{}], bytes(1)], [NOTHING]),
    {
      rule: "ids of a table, whether or not there is such a document",
      check: async ({ client, unique }) => {
        const id = await valueOf(client, "mutation", "documents:add", { name: unique("person") });
        const friend = await valueOf(client, "mutation", "documents:befriend", { of: id, tags: [] });
        await valueOf(client, "mutation", "documents:remove", { id });
        assert.deepEqual(await valueOf(client, "query", "validators:ofId", { value: id }), { value: id });
        for (const [name, value] of [["ofId", friend], ["ofId", "person"], ["ofId", ""], ["ofId", null], ["ofFileId", id]]) {
          await mustFail(client, "query", `validators:${name}`, { value }, /ArgumentValidationError/);
        }
      },
    },
    takes("one text", "ofText", ["a"], ["b", "", null]),
    takes("one number", "ofOne", [1], [1n, 2, "1", true]),
    takes("one int64", "ofBigOne", [1n], [1, 2n]),
    takes("one of true and false", "ofTrue", [true], [false, 1]),
    takes("arrays", "ofArray", [[], [1, 2.5]], [["a"], [1, null], 1, {}]),
    takes("objects, with no more than their fields", "ofObject", [{ name: "a", city: "b" }, { name: "a", city: "b", age: 1 }], [
      { name: "a" },
      { name: "a", city: "b", age: null },
      { name: "a", city: "b", more: 1 },
      [],
      null,
    ]),
    takes("objects without fields", "ofNoFields", [{}], [{ a: 1 }, [], null]),
    takes("records, whatever their keys", "ofRecord", [{}, { a: 1, "a b": 2 }], [{ a: "1" }, { a: 1, b: null }, []]),
    {
      rule: "records by ids",
      check: async ({ client, unique }) => {
        const value = { [await valueOf(client, "mutation", "documents:add", { name: unique("person") })]: true };
        assert.deepEqual(await valueOf(client, "query", "validators:ofRecordOfIds", { value }), { value });
        await mustFail(client, "query", "validators:ofRecordOfIds", { value: { person: true } }, /ArgumentValidationError/);
      },
    },
    takes("one of several", "ofUnion", ["a", { kind: "a", a: 1 }, { kind: "b", b: "" }], [1, { kind: "a", b: "" }, { kind: "c" }, { kind: "a", a: 1, b: "" }]),
    takes("one of none", "ofNoUnion", [], [null, "a"]),
    takes("what may be left out, and is not null then", "ofOptional", [NOTHING, "a"], [null, 1]),
    takes("what may be null, and is not left out", "ofNullable", [null, "a"], [NOTHING, 1]),
    takes("one within the other", "ofNested", [[], [{ list: [null, { a: [1n] }] }]], [[{ list: [{ a: [1] }] }], [{ list: null }], [{}]]),
    takes("some fields of an object", "ofPicked", [{ name: "a" }], [{ name: "a", city: "b" }, {}]),
    takes("all but some", "ofOmitted", [{ city: "b" }, { city: "b", age: 1 }], [{ name: "a", city: "b" }]),
    takes("and more", "ofExtended", [{ name: "a", city: "b", tall: true }], [{ name: "a", city: "b" }]),
    takes("each of which may be left out", "ofPartial", [{}, { city: "b" }], [{ city: null }, { more: 1 }]),
    gives("arguments may be one of several objects", "query", "validators:oneOfTwo", { number: 1 }, ["number"]),
    fails("and of no others", "query", "validators:oneOfTwo", { name: "a", number: 1 }, /ArgumentValidationError/),
    gives("or any", "query", "validators:anything", { a: 1, b: [null] }, ["a", "b"]),
    fails("where none are declared to be taken there are none", "query", "validators:noArguments", { a: 1 }, /ArgumentValidationError[^]*a/),
    gives("where nothing is declared, all are taken", "query", "validators:undeclared", { a: 1, b: "c" }, ["a", "b"]),
    {
      rule: "what is refused is named: where it is, what it is, and what it should be",
      check: async ({ client }) => {
        const number = /ArgumentValidationError: Value does not match validator\.\s+Path: \.value\[1\]\s+Value: "b"\s+Validator: v\.float64\(\)/;
        await mustFail(client, "query", "validators:ofArray", { value: [1, "b"] }, number);
        const union = /Path: \.value\[0\]\.list\[1\]\s+Value: \{a: \["b"\]\}\s+Validator: v\.union\(v\.null\(\), v\.record\(/;
        await mustFail(client, "query", "validators:ofNested", { value: [{ list: [null, { a: ["b"] }] }] }, union);
      },
    },
  ],
};
