// Text and vector search, by the official library, client and command line; and over kill -9.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ConvexClient, ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";
import { whenOver } from "./harness/cleanup.mjs";
import { asAdmin } from "./harness/functions.mjs";
import { createProject, pushApp } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const { notes } = anyApi;
const LIMIT = { timeout: 600_000 };

async function start(context) {
  const tidemark = await startTidemark(context);
  await pushApp(context, tidemark, "search");
  return { tidemark, http: new ConvexHttpClient(tidemark.url) };
}

test("texts are found by their terms, the best first", LIMIT, async (context) => {
  const { http } = await start(context);
  await http.mutation(notes.addMany, {
    notes: [
      { body: "Red apples, red pears", author: "ann" },
      { body: "a red car and a blue car and much else that makes it long", author: "bob", tag: 1 },
      { body: "Don't stop-me_now", author: "nobody" },
      { body: "blue sky", tag: null },
    ],
  });
  const find = (text, rest = {}) => http.query(notes.find, { text, ...rest });
  assert.deepEqual(await find("red"), ["Red apples, red pears", "a red car and a blue car and much else that makes it long"]);
  assert.deepEqual(await find("RE"), ["Red apples, red pears", "a red car and a blue car and much else that makes it long"]);
  assert.deepEqual(await find("re sky"), ["blue sky"]);
  assert.deepEqual(await find("don"), ["Don't stop-me_now"]);
  assert.deepEqual(await find("red", { author: "bob" }), ["a red car and a blue car and much else that makes it long"]);
  assert.deepEqual(await find("red", { author: "eve" }), []);
  assert.deepEqual(await find("blue", { count: 1 }), ["blue sky"]);
  assert.deepEqual(await find(" ?! "), []);
  assert.deepEqual(await http.query(notes.untagged, { text: "red" }), ["Red apples, red pears"]);
  assert.deepEqual(await http.query(notes.untagged, { text: "stop" }), []);
  assert.deepEqual(await http.mutation(notes.findOwn, { text: "apples" }), [1, 2, 1, 1]);
});

test("a live search runs again when it must and not otherwise", LIMIT, async (context) => {
  const { tidemark, http } = await start(context);
  await http.mutation(notes.add, { body: "green tea", author: "ann" });
  const client = new ConvexClient(tidemark.url);
  whenOver(context, () => client.close());
  const values = [];
  client.onUpdate(notes.find, { text: "green", author: "ann" }, (value) => values.push(value));
  const runs = async () => (await functionRuns(tidemark)).filter(({ identifier }) => /^notes(\.js)?:find$/.test(identifier)).length;
  const until = async (expected) => {
    while (JSON.stringify(values.at(-1)) !== JSON.stringify(expected)) {
      await sleep(20);
    }
  };
  await until(["green tea"]);
  const before = await runs();
  // Other terms, and other values that are filtered by.
  await client.mutation(notes.add, { body: "black tea", author: "ann" });
  const other = await client.mutation(notes.add, { body: "green house", author: "bob" });
  await client.mutation(notes.remove, { id: other });
  await client.mutation(notes.add, { body: "gree", author: "ann" });
  assert.equal(await runs(), before, "nothing that it asks for has changed");
  const id = await client.mutation(notes.add, { body: "greenest", author: "ann" });
  await until(["greenest", "green tea"]);
  await client.mutation(notes.change, { id, body: "nothing" });
  await until(["green tea"]);
  await client.mutation(notes.change, { id, body: "greens" });
  await until(["greens", "green tea"]);
  await client.mutation(notes.remove, { id });
  await until(["green tea"]);
  assert.equal(await runs(), before + 4);
});

/** The function log by now. */
async function functionRuns(tidemark) {
  const page = await fetch(`${tidemark.url}/api/stream_function_logs?cursor=0`, asAdmin(tidemark));
  return (await page.json()).entries;
}

test("pages of a search neither overlap nor leave gaps", LIMIT, async (context) => {
  const { http } = await start(context);
  await http.mutation(notes.addMany, { notes: Array.from({ length: 25 }, (_, at) => ({ body: `page ${at % 5 ? "one" : "one one"} ${at}` })) });
  const found = [];
  let cursor = null;
  do {
    const { page, isDone, continueCursor } = await http.query(notes.page, { text: "one", paginationOpts: { numItems: 7, cursor, maximumRowsRead: 3 } });
    assert.ok(isDone || page.length === 7, "what may be scanned for a page ends no search");
    found.push(...page.map((note) => note.body));
    cursor = isDone ? null : continueCursor;
  } while (cursor);
  assert.deepEqual(found, await http.query(notes.find, { text: "one" }));
  assert.equal(new Set(found).size, 25);
});

test("mutations that search conflict with what they would have found", LIMIT, async (context) => {
  const { http } = await start(context);
  for (let round = 0; round < 5; round += 1) {
    const taken = await Promise.all(Array.from({ length: 12 }, () => http.mutation(notes.take, { text: `name${round}` }, { skipQueue: true })));
    assert.equal(taken.filter(Boolean).length, 1, "one of them has it");
  }
});

test("vectors are found by their direction", LIMIT, async (context) => {
  const { http } = await start(context);
  const add = (body, vector, author) => http.mutation(notes.add, { body, vector, author });
  await add("x", [1, 0, 0], "ann");
  const y = await add("y", [0, 1e-200, 0], "bob");
  await add("minus x", [-1e200, 0, 0], "eve");
  await add("too short", [1, 0], "ann");
  await http.mutation(notes.add, { body: "none" });
  const nearest = (vector, rest = {}) => http.action(notes.nearest, { vector, ...rest });
  const all = await nearest([1, 0.1, 0]);
  assert.deepEqual(
    all.map(({ body }) => body),
    ["x", "y", "minus x"],
  );
  assert.ok(Math.abs(all[0].score - 1 / Math.hypot(1, 0.1)) < 1e-6 && all[2].score < -0.9);
  assert.deepEqual((await nearest([1, 0, 0], { limit: 1 })).map(({ body }) => body), ["x"]);
  assert.deepEqual((await nearest([1, 0, 0], { authors: ["bob"] })).map(({ body }) => body), ["y"]);
  assert.deepEqual((await nearest([1, 0, 0], { authors: ["eve", "bob"] })).map(({ body }) => body), ["y", "minus x"]);
  await http.mutation(notes.remove, { id: y });
  assert.deepEqual((await nearest([0, 1, 0])).map(({ body }) => body).includes("y"), false, "what was deleted is not found");
  await assert.rejects(nearest([1, 0]), /VectorDimensionsMismatch/);
  await assert.rejects(nearest([1, 0, 0], { limit: 257 }), /VectorLimitTooLargeError/);
});

test("indexes are filled by a push, and are there after a stop and after a kill", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const schema = (indexes) => `
    import { defineSchema, defineTable } from "convex/server";
    import { v } from "convex/values";
    export default defineSchema({ things: defineTable({ text: v.string(), vector: v.array(v.float64()) })${indexes} });`;
  const functions = `
    import { mutation, query, action } from "./_generated/server";
    import { v } from "convex/values";
    export const fill = mutation({ args: { from: v.number(), to: v.number() }, handler: async (ctx, { from, to }) => {
      for (let at = from; at < to; at += 1) await ctx.db.insert("things", { text: "word w" + at, vector: [Math.cos(at), Math.sin(at)] });
    } });
    export const count = query({ args: { text: v.string() }, handler: async (ctx, { text }) =>
      (await ctx.db.query("things").withSearchIndex("by_text", (q) => q.search("text", text)).collect()).length });
    export const near = action({ args: {}, handler: async (ctx) => (await ctx.vectorSearch("things", "by_vector", { vector: [1, 0], limit: 256 })).length });`;
  const project = await createProject(context, tidemark, { files: { "convex/schema.ts": schema(""), "convex/things.ts": functions } });
  const push = (...rest) => project.mustRun("deploy", "--typecheck", "disable", ...rest);
  await push();
  const http = new ConvexHttpClient(tidemark.url);
  const { things } = anyApi;
  for (let at = 0; at < 900; at += 300) {
    await http.mutation(things.fill, { from: at, to: at + 300 });
  }
  const staged = `.searchIndex("by_text", { searchField: "text", filterFields: [], staged: true })`;
  await project.write("convex/schema.ts", schema(staged));
  await push();
  await assert.rejects(http.query(things.count, { text: "word" }), /IndexStagedError/);
  const indexes = `.searchIndex("by_text", { searchField: "text" }).vectorIndex("by_vector", { vectorField: "vector", dimensions: 2 })`;
  await project.write("convex/schema.ts", schema(indexes));
  const { output } = await push();
  assert.match(output, /things\.by_vector/);
  assert.equal(await http.query(things.count, { text: "word" }), 900);
  assert.equal(await http.query(things.count, { text: "w12" }), 11);
  await http.mutation(things.fill, { from: 900, to: 1000 });
  for (const end of [() => tidemark.stop(), () => tidemark.kill()]) {
    await end();
    await tidemark.start();
    const again = new ConvexHttpClient(tidemark.url);
    assert.equal(await again.query(things.count, { text: "word" }), 1_000);
    assert.equal(await again.action(things.near, {}), 256);
  }
  await http.mutation(things.fill, { from: 1_000, to: 1_100 }).catch(() => {});
  await assert.rejects(new ConvexHttpClient(tidemark.url).query(things.count, { text: "word" }), /SearchQueryScannedTooManyDocumentsError/);
});
