// Scheduled functions, by the official library, client and command line; and over kill -9.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ConvexClient, ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";
import { whenOver } from "./harness/cleanup.mjs";
import { pushApp } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const { jobs } = anyApi;
const LIMIT = { timeout: 240_000 };

function connect(context, tidemark) {
  const client = new ConvexClient(tidemark.url);
  whenOver(context, () => client.close());
  return client;
}

/** Waits until a live query has a value of which `holds` is true, and returns it. */
function until(client, reference, args, holds) {
  return new Promise((resolve, reject) => {
    const stop = client.onUpdate(
      reference,
      args,
      (value) => {
        if (holds(value)) {
          stop();
          resolve(value);
        }
      },
      reject,
    );
  });
}

const over = (job) => ["success", "failed", "canceled"].includes(job.state.kind);

test("scheduled functions run, and their documents are live", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await pushApp(context, tidemark, "schedules");
  const client = connect(context, tidemark);

  const { stdout } = await project.mustRun("run", "jobs:after", '{"ms": 0, "name": "by the command line"}');
  const id = JSON.parse(stdout);
  assert.match(id, /^kc2[0-9a-z]{29}$/);
  const done = await until(client, jobs.job, { id }, over);
  assert.deepEqual(Object.keys(done).sort(), ["_creationTime", "_id", "args", "completedTime", "name", "scheduledTime", "state"]);
  assert.equal(done.name, "jobs.js:enter");
  assert.deepEqual(done.args, [{ name: "by the command line" }]);
  assert.deepEqual(done.state, { kind: "success" });
  assert.ok(done.completedTime >= done.scheduledTime);
  const all = { from: "", to: "~" };
  assert.deepEqual(await client.query(jobs.names, all), ["by the command line"]);
  const shown = await project.mustRun("data", "_scheduled_functions");
  assert.match(shown.stdout, /jobs\.js:enter/);

  // At a time, in the past too.
  const past = await client.mutation(jobs.at, { time: Date.now() - 60_000, name: "past" });
  await until(client, jobs.job, { id: past }, over);
  const time = Date.now() + 700;
  const later = await client.mutation(jobs.at, { time, name: "later" });
  const ran = await until(client, jobs.job, { id: later }, over);
  assert.equal(ran.scheduledTime, time);
  assert.ok(ran.completedTime >= time, "not before its time");

  // What fails says so and leaves nothing.
  const failing = await client.mutation(jobs.failing, { name: "failing" });
  const failed = await until(client, jobs.job, { id: failing }, over);
  assert.equal(failed.state.kind, "failed");
  assert.match(failed.state.error, /^Uncaught Error: failing fails\n\s+at handler \(\.\.\/convex\/jobs\.ts:\d+:\d+\)/);

  const cancelled = await client.mutation(jobs.after, { ms: 3_600_000, name: "never" });
  await client.mutation(jobs.cancel, { id: cancelled });
  assert.equal((await client.query(jobs.job, { id: cancelled })).state.kind, "canceled");

  // One that schedules the next.
  await client.mutation(jobs.counting, { name: "count", count: 50 });
  await until(client, jobs.names, { from: "count", to: "counu" }, (names) => names.length === 50);
  assert.deepEqual(await client.query(jobs.names, all), [
    "by the command line",
    ...Array.from({ length: 50 }, (_, n) => `count ${n + 1}`).sort(),
    "later",
    "past",
  ]);
});

test("each scheduled function runs exactly once over kill -9", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  await pushApp(context, tidemark, "schedules");
  const http = new ConvexHttpClient(tidemark.url, { logger: false });
  for (let round = 0; round < 4; round++) {
    const acknowledged = [];
    const sending = (async () => {
      for (let number = 0; ; number++) {
        // The process may go at any moment.
        const name = `${round} ${number}`;
        await http.mutation(jobs.batch, { name, count: 50, ms: 400 });
        acknowledged.push(name);
      }
    })();
    // A rejected promise that nobody has looked at yet is no accident.
    sending.catch(() => {});
    while (acknowledged.length < 8) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await tidemark.kill();
    await assert.rejects(sending);
    await tidemark.start();
    const known = (await http.query(jobs.batches, {})).map(({ name }) => name);
    assert.deepEqual(acknowledged.filter((name) => !known.includes(name)), [], "what was acknowledged is there");
  }
  const client = connect(context, tidemark);
  await until(client, jobs.waiting, {}, (waiting) => waiting === null);
  const batches = await client.query(jobs.batches, {});
  assert.ok(batches.length >= 32);
  for (const { name, count } of batches) {
    const expected = Array.from({ length: count }, (_, number) => `${name} ${number}`).sort();
    const found = await until(client, jobs.names, { from: `${name} `, to: `${name}!` }, (names) => names.length >= count);
    assert.deepEqual(found, expected);
  }
  const kinds = new Map();
  for (let cursor = null, isDone = false; !isDone; ) {
    const page = await client.query(jobs.pendingPage, { cursor });
    page.page.forEach((kind) => kinds.set(kind, (kinds.get(kind) ?? 0) + 1));
    ({ continueCursor: cursor, isDone } = page);
  }
  assert.deepEqual([...kinds], [["success", batches.length * 50]]);
});
