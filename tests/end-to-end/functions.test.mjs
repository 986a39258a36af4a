// What functions can do, by the official library on both sides.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";
import { ConvexError } from "convex/values";
import { asAdmin, callFunction } from "./harness/functions.mjs";
import { pushApp } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const LIMIT = { timeout: 300_000 };
const { books, values } = anyApi;

const file = { after };
const tidemark = await startTidemark(file);
await pushApp(file, tidemark, "library");
const client = new ConvexHttpClient(tidemark.url, { logger: false });
const ids = {};

before(async () => {
  for (const [title, author, year, pages] of [
    ["The Waves", "Woolf", 1931, 324],
    ["Orlando", "Woolf", 1928, 333],
    ["Moby-Dick", "Melville", 1851, 635],
    ["To the Lighthouse", "Woolf", 1927, undefined],
    ["Typee", "Melville", 1846, 325],
  ]) {
    const book = { title, author, year };
    ids[title] = await client.mutation(books.add, pages === undefined ? book : { ...book, pages });
  }
});

test("a document comes back as it was stored, with its id and the time of its creation", LIMIT, async () => {
  const { _creationTime, ...document } = await client.query(books.get, { id: ids.Orlando });
  assert.deepEqual(document, { _id: ids.Orlando, title: "Orlando", author: "Woolf", year: 1928, details: { pages: 333 } });
  assert.ok(Math.abs(_creationTime - Date.now()) < 60_000, `${_creationTime}`);
});

test("an index range is read in its order, either way, up to its bounds", LIMIT, async () => {
  const range = { author: "Woolf", from: 1927, before: 1931 };
  assert.deepEqual(await client.query(books.byAuthor, { ...range, order: "asc" }), ["To the Lighthouse", "Orlando"]);
  assert.deepEqual(await client.query(books.byAuthor, { ...range, order: "desc" }), ["Orlando", "To the Lighthouse"]);
  assert.deepEqual(await client.query(books.byAuthor, { ...range, author: "Nobody", order: "asc" }), []);
});

test("an index over a nested field finds documents that lack it", LIMIT, async () => {
  assert.deepEqual(await client.query(books.withoutPages, {}), ["To the Lighthouse"]);
});

test("a filter keeps what matches, in the order of creation", LIMIT, async () => {
  assert.deepEqual(await client.query(books.filtered, { author: "Woolf", after: 1927 }), ["The Waves", "Orlando"]);
});

test("unique refuses two documents", LIMIT, async () => {
  await assert.rejects(client.query(books.onlyOne, { author: "Woolf" }), /unique/);
  assert.equal(await client.query(books.onlyOne, { author: "Nobody" }), null);
});

test("pages follow each other without a gap until they are done", LIMIT, async () => {
  const titles = [];
  let cursor = null;
  for (let done = false; !done; ) {
    const page = await client.query(books.pages, { paginationOpts: { numItems: 2, cursor } });
    titles.push(...page.page.map(({ title }) => title));
    [cursor, done] = [page.continueCursor, page.isDone];
    assert.ok(titles.length <= 5, "more than there is");
  }
  assert.deepEqual(titles, ["Typee", "Moby-Dick", "To the Lighthouse", "Orlando", "The Waves"]);
});

const all = ["Typee", "Moby-Dick", "To the Lighthouse", "Orlando", "The Waves"];
for (const name of ["streamed", "merged", "paginated"]) {
  for (const order of ["asc", "desc"]) {
    for (const numItems of [1, 2, 5]) {
      test(`pages of ${numItems} by convex-helpers (${name}, ${order}) hold everything once`, LIMIT, async () => {
        const titles = [];
        let cursor = null;
        for (let done = false; !done; ) {
          const page = await client.query(anyApi.streams[name], { order, paginationOpts: { numItems, cursor } });
          titles.push(...page.page.map(({ title }) => title));
          [cursor, done] = [page.continueCursor, page.isDone];
          assert.ok(titles.length <= all.length, "more than there is");
        }
        assert.deepEqual(titles, order === "asc" ? all : all.toReversed());
      });
    }
  }
}

test("a cursor of another query is refused", LIMIT, async () => {
  await assert.rejects(
    client.query(books.pages, { paginationOpts: { numItems: 2, cursor: "not a cursor" } }),
    /InvalidCursor|cursor/i,
  );
});

test("patch sets and unsets fields, replace leaves nothing of what was, delete takes all", LIMIT, async () => {
  const id = await client.mutation(books.add, { title: "Emma", author: "Austen", year: 1815, pages: 474 });
  await client.mutation(books.move, { id, shelf: "A3" });
  assert.equal((await client.query(books.get, { id })).shelf, "A3");
  await client.mutation(books.move, { id });
  assert.ok(!("shelf" in (await client.query(books.get, { id }))));
  const { _creationTime } = await client.query(books.get, { id });
  await client.mutation(books.replace, { id, title: "Persuasion", author: "Austen", year: 1817 });
  const replaced = { _id: id, _creationTime, title: "Persuasion", author: "Austen", year: 1817 };
  assert.deepEqual(await client.query(books.get, { id }), replaced);
  await client.mutation(books.remove, { id });
  assert.equal(await client.query(books.get, { id }), null);
  await assert.rejects(client.mutation(books.remove, { id }), /nonexistent|not exist|not found/i);
});

test("a document that the schema doesn't allow is refused", LIMIT, async () => {
  const id = ids.Typee;
  await assert.rejects(client.mutation(books.replace, { id, title: "Omoo", author: "Melville", year: "1847" }), /Validat/);
});

test("an id is known by its table", LIMIT, async () => {
  assert.deepEqual(await client.query(books.normalize, { id: ids.Orlando }), [ids.Orlando, null]);
  assert.deepEqual(await client.query(books.normalize, { id: "nonsense" }), [null, null]);
  const value = await client.mutation(values.store, { value: 1 });
  await assert.rejects(client.query(books.get, { id: value }), /ArgumentValidationError/);
});

test("a nested mutation that throws is undone, and its caller goes on", LIMIT, async () => {
  const book = ids["Moby-Dick"];
  assert.equal(await client.mutation(books.lend, { book, reader: "Ishmael" }), "lent");
  assert.deepEqual(await client.mutation(books.lend, { book, reader: "Ahab" }), { reason: "lent already", book });
  assert.deepEqual(await client.query(books.loansThroughTheFront, { book }), ["Ishmael"]);
  assert.ok((await client.query(values.all, {})).includes("Ahab waits"));
});

test("nested mutations commit with their caller", LIMIT, async () => {
  await client.mutation(books.addTwice, { title: "Echo" });
  const range = { author: "twice", from: 0, before: 9, order: "asc" };
  assert.deepEqual(await client.query(books.byAuthor, range), ["Echo", "Echo"]);
});

test("a mutation that throws writes nothing; its data and its log reach the caller", LIMIT, async () => {
  await assert.rejects(client.mutation(books.addThenFail, { title: "Ghost" }), (error) => {
    assert.ok(error instanceof ConvexError);
    assert.deepEqual(error.data, { title: "Ghost", copies: 3n });
    return true;
  });
  const { body } = await callFunction(tidemark, "mutation", "books:addThenFail", { title: "Ghost" });
  assert.deepEqual(body.logLines, ["[LOG] 'about to fail' { title: 'Ghost' }", "[WARN] 'really'"]);
  assert.deepEqual(await client.query(books.byAuthor, { author: "nobody", from: 0, before: 1, order: "asc" }), []);
});

for (const [name, value] of Object.entries({
  "null": null,
  "a negative zero": -0,
  "not a number": NaN,
  "infinity": -Infinity,
  "the largest bigint": 2n ** 63n - 1n,
  "the smallest bigint": -(2n ** 63n),
  "bytes": new Uint8Array([0, 255, 128]).buffer,
  "text beyond the basic plane": "a\u0000b 🌊 \u2028",
  "nested arrays and objects": { list: [1, [2n, { deep: [null, true] }]], "": "empty name" },
  "an empty object": {},
})) {
  test(`${name} comes back as it was stored`, LIMIT, async () => {
    const id = await client.mutation(values.store, { value });
    assert.deepEqual(await client.query(values.load, { id }), value);
  });
}

test("a return value that the validator doesn't accept is refused", LIMIT, async () => {
  await assert.rejects(client.query(values.wrongReturn, {}), /ReturnsValidationError/);
});

test("internal functions are for other functions and administrators only", LIMIT, async () => {
  const args = { book: ids.Orlando };
  const refused = await callFunction(tidemark, "query", "books:loansOf", args);
  assert.match(refused.body.errorMessage, /Could not find/);
  const answered = await callFunction(tidemark, "query", "books:loansOf", args, asAdmin(tidemark));
  assert.deepEqual(answered.body.value, []);
});

test("within a query the clock stands still, and the environment names the deployment", LIMIT, async () => {
  const world = await client.query(values.world, {});
  assert.equal(world.clockMoved, 0);
  assert.ok(Math.abs(world.now - Date.now()) < 60_000, `${world.now}`);
  assert.notEqual(world.random[0], world.random[1]);
  assert.equal(world.cloudUrl, tidemark.url);
  assert.match(world.siteUrl, /^http:\/\/127\.0\.0\.1:\d+$/);
});

test("an error's stack names the app's own source", LIMIT, async () => {
  const { body } = await callFunction(tidemark, "query", "values:fail");
  assert.match(body.errorMessage, /Uncaught RangeError: too deep/);
  assert.match(body.errorMessage, /at sink \(\.\.\/convex\/values\.ts:\d+:\d+\)/);
  assert.ok(!("errorData" in body));
});

test("a server for production tells clients a request id, and administrators everything", LIMIT, async (context) => {
  const environment = { TIDEMARK_REDACT_LOGS_TO_CLIENT: "true" };
  const production = await startTidemark(context, { environment });
  await pushApp(context, production, "library");
  const failed = await callFunction(production, "query", "values:fail");
  assert.match(failed.body.errorMessage, /^\[Request ID: \w+\] Server Error$/);
  const own = await callFunction(production, "mutation", "books:addThenFail", { title: "Ghost" });
  assert.deepEqual(own.body.errorData, { title: "Ghost", copies: { $integer: "AwAAAAAAAAA=" } });
  assert.deepEqual(own.body.logLines, []);
  const shown = await callFunction(production, "mutation", "books:addThenFail", { title: "Ghost" }, asAdmin(production));
  assert.match(shown.body.errorMessage, /Uncaught ConvexError/);
  assert.equal(shown.body.logLines.length, 2);
});

test("a query can't write", LIMIT, async () => {
  await assert.rejects(client.query(values.writeFromQuery, {}));
  assert.ok(!(await client.query(values.all, {})).includes("from a query"));
});

const MIB = 2 ** 20;

test("bytes work up to the limits of results, arguments and documents, and not beyond", { timeout: 300_000 }, async () => {
  const isRight = (buffer, length) => {
    const bytes = new Uint8Array(buffer);
    return bytes.length === length && [0, 4097, 3 * 4097, 5].every((i) => bytes[i] === (i % 4097 ? 0 : (i >> 12) % 256));
  };
  // Bytes count two more than their length.
  const longest = 16 * MIB - 2;
  for (const call of [(args) => client.query(values.bytes, args), (args) => client.mutation(values.bytesOfMutation, args)]) {
    assert.ok(isRight(await call({ length: longest }), longest));
    await assert.rejects(call({ length: longest + 1 }), /FunctionResultTooLarge/);
  }
  // Arguments come as text of at most 16 MiB.
  const sent = await client.query(values.bytes, { length: 12_000_000 });
  assert.ok(isRight(await client.query(values.sameBytes, { bytes: sent }), 12_000_000));
  const stored = await client.query(values.bytes, { length: MIB - 200 });
  const id = await client.mutation(values.store, { value: stored });
  assert.ok(isRight(await client.query(values.load, { id }), MIB - 200));
  await assert.rejects(client.mutation(values.store, { value: new ArrayBuffer(MIB) }), /ValueTooLargeError|larger/);
});
