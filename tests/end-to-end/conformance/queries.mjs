// Queries: what ranges of an index, filters and pages find, in data that is there and in what the same transaction has written.
import assert from "node:assert/strict";
import { fails, gives, mustFail, valueOf } from "./rule.mjs";

async function prepared(client, unique) {
  const set = unique("points");
  await valueOf(client, "mutation", "queries:prepare", { set });
  return set;
}

/** A way to ask finds what has these names (apps/conformance/convex/queries.ts). */
const finds = (rule, way, names) => ({
  rule,
  check: async ({ client, unique }) => {
    const expected = names.split("").map((name) => (name === "-" ? null : name));
    assert.deepEqual(await valueOf(client, "query", "queries:find", { set: await prepared(client, unique), way }), expected);
    assert.deepEqual(await valueOf(client, "mutation", "queries:putAndFind", { set: unique("points"), way }), expected, "in the same transaction");
  },
});

const refused = (rule, way, pattern) => ({
  rule,
  check: async ({ client, unique }) => {
    await mustFail(client, "query", "queries:find", { set: await prepared(client, unique), way }, pattern);
    await mustFail(client, "mutation", "queries:putAndFind", { set: unique("points"), way }, pattern);
  },
});

const ALL = "abcdefgh";
const BY_AT = "dfgabche";

const pageOf = (client, set, paginationOpts, args = {}) => valueOf(client, "query", "queries:page", { set, paginationOpts, ...args });

export default {
  group: "queries",
  rules: [
    finds("documents come in the order of their creation", "all by creation", ALL),
    finds("or backwards", "all backwards", "hgfedcba"),
    finds("an index has those that lack its field first, then null, int64, numbers, text", "all by at", BY_AT),
    finds("and backwards all of it", "all by at backwards", "ehcbagfd"),
    finds("a range of what lacks a field", "eq undefined", "d"),
    finds("of null", "eq null", "f"),
    finds("of an int64, which is no number", "eq int64", "g"),
    finds("of what is greater: also of other types", "gt 2", "he"),
    finds("greater or equal", "gte 2", "bche"),
    finds("less: also of other types, and what lacks the field", "lt 2", "dfga"),
    finds("up to null", "lte null", "df"),
    finds("of all that have the field", "gt undefined", "fgabche"),
    finds("between two bounds", "gte 1, lt 2.5", "abc"),
    finds("between bounds that leave nothing", "gt 2, lt 1", ""),
    finds("of one value, and within it of the next field", "eq 2, gt 1", "c"),
    finds("of one value backwards", "eq 2 backwards", "cb"),
    finds("of values of all fields", "eq 2, eq 3", "c"),
    finds("a filter: equal", "filter eq", "bc"),
    finds("without the field", "filter eq undefined", "d"),
    finds("not equal", "filter neq", "adefgh"),
    finds("less, over all types", "filter lt", "adfg"),
    finds("less or equal", "filter lte", "abcdfg"),
    finds("greater", "filter gt", "eh"),
    finds("greater or equal than a value", "filter gte", "bceh"),
    finds("a field against another", "filter two fields", "befh"),
    finds("and", "filter and", "c"),
    finds("or", "filter or", "ae"),
    finds("not", "filter not", "adefgh"),
    finds("and of nothing holds", "filter and of none", ALL),
    finds("or of nothing does not", "filter or of none", ""),
    finds("a filter may be a constant", "filter true", ALL),
    finds("what is within what is no object is missing", "filter nested", ALL),
    finds("two filters, one after the other", "filter twice", "c"),
    finds("a sum", "filter add", "c"),
    finds("a difference", "filter sub", "b"),
    finds("a product", "filter mul", "c"),
    finds("a quotient", "filter div", "c"),
    finds("a remainder", "filter mod", "bc"),
    finds("a negation", "filter neg", "c"),
    refused("a sum of two types is none", "filter add of types", /add|type/i),
    refused("what a filter says is true or false", "filter no boolean", /boolean/i),
    refused("so is what and is said of", "filter and of no booleans", /boolean/i),
    finds("none are taken", "take 0", ""),
    finds("or some", "take 3", "abc"),
    finds("or as many as there are", "take 100", ALL),
    finds("of those that a filter leaves", "take of filtered", "b"),
    refused("but not fewer than none", "take -1", /non-negative/),
    finds("the first", "first", "a"),
    finds("the first that a filter leaves", "first of filtered", "b"),
    finds("the first of none is null", "first of none", "-"),
    finds("the only one", "unique of one", "a"),
    refused("is not one of two", "unique of two", /unique/),
    finds("a loop over a query can be left", "loop left early", "ab"),
    finds("two loops go on side by side", "two loops at once", "ahbg"),
    refused("bounds are of one field", "bounds of two fields", /InvalidIndexRange|BoundsOnMultipleFields/),
    refused("no field of an index is left out", "a field left out", /InvalidIndexRange|\bindex\b/),
    refused("there is one lower bound", "two lower bounds", /AlreadyDefinedBound|InvalidIndexRange/),
    refused("no value is fixed after a bound", "eq after a bound", /InvalidIndexRange/),
    refused("a range is of the index's fields", "a field of no index", /FieldNotInIndex|InvalidIndexRange/),
    fails("an index is there", "query", "queries:noIndex", {}, /by_nothing/),
    fails("system tables are asked by db.system", "query", "queries:systemTable", {}, /db\.system/),
    fails("and nothing else is", "query", "queries:ownTableAsSystem", {}, /db\.query/),
    gives("a table that nobody has declared or filled is empty", "query", "queries:noTable", {}, []),
    fails("what is returned is a result, not a query", "query", "queries:neverRun", {}, /collect|query/i),
    {
      rule: "a page ends where it was said, and the next begins there",
      check: async ({ client, unique }) => {
        const set = await prepared(client, unique);
        const first = await pageOf(client, set, { numItems: 5, cursor: null });
        assert.deepEqual([first.page.join(""), first.isDone], ["dfgab", false]);
        const last = await pageOf(client, set, { numItems: 5, cursor: first.continueCursor });
        assert.deepEqual([last.page.join(""), last.isDone], ["che", true]);
        const none = await pageOf(client, set, { numItems: 5, cursor: last.continueCursor });
        assert.deepEqual([none.page, none.isDone], [[], true]);
      },
    },
    {
      rule: "a page up to where another ended grows with what comes between",
      check: async ({ client, unique }) => {
        const set = await prepared(client, unique);
        const { continueCursor } = await pageOf(client, set, { numItems: 4, cursor: null });
        await valueOf(client, "mutation", "queries:add", { set, name: "z", at: 0 });
        const { page, continueCursor: end, isDone } = await pageOf(client, set, { numItems: 1, cursor: null, endCursor: continueCursor });
        assert.deepEqual([page.join(""), end, isDone], ["dfgza", continueCursor, false]);
      },
    },
    {
      rule: "a page of a filtered query is full, or the last",
      check: async ({ client, unique }) => {
        const set = await prepared(client, unique);
        const first = await pageOf(client, set, { numItems: 4, cursor: null }, { most: 1 });
        assert.deepEqual([first.page.join(""), first.isDone], ["fgab", false]);
        const last = await pageOf(client, set, { numItems: 4, cursor: first.continueCursor }, { most: 1 });
        assert.deepEqual([last.page.join(""), last.isDone], ["h", true]);
      },
    },
    {
      rule: "or as far as it may read",
      check: async ({ client, unique }) => {
        const set = await prepared(client, unique);
        const { page, isDone } = await pageOf(client, set, { numItems: 4, cursor: null, maximumRowsRead: 3 }, { most: 1 });
        assert.deepEqual([page.join(""), isDone], ["fg", false]);
      },
    },
    {
      rule: "a cursor is of its query, and is no text of anybody's own",
      check: async ({ client, unique }) => {
        const set = await prepared(client, unique);
        const { continueCursor } = await pageOf(client, set, { numItems: 1, cursor: null });
        const data = { isConvexSystemError: true, paginationError: "InvalidCursor" };
        for (const [of, cursor] of [[unique("points"), continueCursor], [set, "anything"]]) {
          const { error, data: told } = await client.call("query", "queries:page", { set: of, paginationOpts: { numItems: 1, cursor } });
          assert.match(error ?? "", /InvalidCursor|Convex error/);
          assert.deepEqual(told, data);
        }
      },
    },
    {
      rule: "a page has room for one",
      check: async ({ client, unique }) => {
        const args = { set: unique("points"), paginationOpts: { numItems: 0, cursor: null } };
        await mustFail(client, "query", "queries:page", args, /NoDocumentsForPagination/);
      },
    },
    fails("there is one page a function", "query", "queries:twoPages", { set: "none" }, /MultiplePaginatedDatabaseQueries/),
  ],
};
