// Two clients of the official JavaScript library on one deployment: what one writes, the other sees, and in order.
import assert from "node:assert/strict";
import { test } from "node:test";
import { BaseConvexClient, ConvexClient } from "convex/browser";
import { anyApi } from "convex/server";
import { WebSocket } from "ws";
import { whenOver } from "./harness/cleanup.mjs";
import { pushApp } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const { journal } = anyApi;
const APPENDS = 1_000;

/** The texts of the first appends, in the order they are sent. */
const texts = (count) => Array.from({ length: count }, (_, index) => `entry ${index + 1}`);

function connect(context, tidemark) {
  const client = new ConvexClient(tidemark.url);
  whenOver(context, () => client.close());
  return client;
}

/**
 * Subscribes to `list` and `count` in one client and keeps what the two show together after each transition: one view
 * per entry, `{ list, count }`.
 */
function watchViews(context, tidemark) {
  const views = [];
  const waiting = new Set();
  const client = new BaseConvexClient(
    tidemark.url,
    () => {
      const list = client.localQueryResult("journal:list", {});
      const count = client.localQueryResult("journal:count", {});
      if (list !== undefined && count !== undefined) {
        views.push({ list, count });
        waiting.forEach((check) => check());
      }
    },
    { webSocketConstructor: WebSocket, unsavedChangesWarning: false },
  );
  client.subscribe("journal:list", {});
  client.subscribe("journal:count", {});
  whenOver(context, () => client.close());
  return {
    views,
    /** Waits for a view with so many entries. */
    async shows(count) {
      await new Promise((resolve) => {
        const check = () => {
          if ((views.at(-1)?.list.length ?? -1) >= count) {
            waiting.delete(check);
            resolve();
          }
        };
        waiting.add(check);
        check();
      });
    },
  };
}

/** Each view is of one moment and holds the beginning of what was sent; no view shows less than the one before it. */
function assertViews(views, sent) {
  let longest = 0;
  for (const { list, count } of views) {
    assert.equal(list.length, count, "list and count of one view are of different moments");
    assert.deepEqual(list, sent.slice(0, list.length), "a view is not a prefix of what was sent");
    assert.ok(list.length >= longest, `a view with ${list.length} entries came after one with ${longest}`);
    longest = list.length;
  }
}

test("a mutation by one client appears at the other", { timeout: 300_000 }, async (context) => {
  const tidemark = await startTidemark(context);
  await pushApp(context, tidemark, "journal");
  const [writer, reader] = [connect(context, tidemark), connect(context, tidemark)];
  const seen = new Promise((resolve) => {
    reader.onUpdate(journal.list, {}, (list) => list.length > 0 && resolve(list));
  });
  assert.equal(await writer.mutation(journal.append, { text: "the tide is in" }), 1);
  assert.deepEqual(await seen, ["the tide is in"]);
});

test("a query that is asked again after another client's write shows the write", { timeout: 300_000 }, async (context) => {
  const tidemark = await startTidemark(context);
  await pushApp(context, tidemark, "journal");
  const [writer, reader] = [connect(context, tidemark), connect(context, tidemark)];
  let stale = 0;
  for (const [index, text] of texts(60).entries()) {
    await reader.query(journal.list, {});
    await writer.mutation(journal.append, { text });
    stale += (await reader.query(journal.list, {})).length !== index + 1;
  }
  // The library answers from a query that it has dropped until the server says that it is gone. That is on another
  // socket than the write, so on a busy machine it may come behind it; but if it waited for a tide, half would be stale.
  assert.ok(stale <= 15, `${stale} of 60 answers did not show the write before them`);
});

test("a client's own mutation is in its view when it resolves", { timeout: 300_000 }, async (context) => {
  const tidemark = await startTidemark(context);
  await pushApp(context, tidemark, "journal");
  const client = connect(context, tidemark);
  let list = [];
  client.onUpdate(journal.list, {}, (value) => (list = value));
  for (const [index, text] of texts(50).entries()) {
    await client.mutation(journal.append, { text });
    assert.equal(list.length, index + 1, `the view when mutation ${index + 1} resolved`);
  }
});

test(`of ${APPENDS} appends every view is a prefix and the last one is all`, { timeout: 300_000 }, async (context) => {
  const tidemark = await startTidemark(context);
  await pushApp(context, tidemark, "journal");
  const writer = connect(context, tidemark);
  const reader = watchViews(context, tidemark);
  await reader.shows(0);
  const sent = texts(APPENDS);
  const numbers = await Promise.all(sent.map((text) => writer.mutation(journal.append, { text })));
  assert.deepEqual(numbers, sent.map((_, index) => index + 1), "appends ran in another order than they were sent");
  await reader.shows(APPENDS);
  assertViews(reader.views, sent);
  assert.deepEqual(reader.views.at(-1).list, sent);
  assert.ok(reader.views.length > 2, `only ${reader.views.length} views: nothing was shown on the way`);
});

test(`killed in the middle of ${APPENDS} appends, nothing is missing or there twice`, { timeout: 300_000 }, async (context) => {
  const tidemark = await startTidemark(context);
  await pushApp(context, tidemark, "journal");
  const writer = connect(context, tidemark);
  const reader = watchViews(context, tidemark);
  await reader.shows(0);
  const sent = texts(APPENDS);
  let acknowledged = 0;
  let enough;
  const isEnough = new Promise((resolve) => (enough = resolve));
  const appends = sent.map(async (text) => {
    const number = await writer.mutation(journal.append, { text });
    acknowledged += 1;
    if (acknowledged === APPENDS / 4) {
      enough();
    }
    return number;
  });
  await Promise.race([reader.shows(APPENDS / 4), isEnough]);
  await tidemark.kill();
  const acknowledgedBefore = acknowledged;
  assert.ok(acknowledgedBefore > 0 && acknowledgedBefore < APPENDS, `the kill came after ${acknowledgedBefore} answers`);
  await tidemark.start();

  // Both clients come back by themselves, and the writer sends again what was not answered.
  assert.deepEqual(await Promise.all(appends), sent.map((_, index) => index + 1));
  await reader.shows(APPENDS);
  assertViews(reader.views, sent);
  assert.deepEqual(reader.views.at(-1).list, sent);
});

test("what was acknowledged before a kill is there for a client that comes after it", { timeout: 300_000 }, async (context) => {
  const tidemark = await startTidemark(context);
  await pushApp(context, tidemark, "journal");
  const before = new ConvexClient(tidemark.url);
  for (const text of texts(20)) {
    await before.mutation(journal.append, { text });
  }
  await before.close();
  await tidemark.kill();
  await tidemark.start();
  assert.deepEqual(await connect(context, tidemark).query(journal.list, {}), texts(20));
});
