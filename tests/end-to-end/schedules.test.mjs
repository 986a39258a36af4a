// Scheduled functions, by the official library, client and command line; and over kill -9.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ConvexClient, ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";
import { whenOver } from "./harness/cleanup.mjs";
import { asAdmin, post } from "./harness/functions.mjs";
import { pushApp } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const { calls, jobs } = anyApi;
const LIMIT = { timeout: 600_000 };
/** Functions that the tests with kills schedule. With many, they take their time. */
const MUTATIONS_MIN = Number(process.env.SCHEDULED_MUTATIONS ?? 1_600);
const ACTIONS = Number(process.env.SCHEDULED_ACTIONS ?? 180);
const LONG_LIMIT = { timeout: LIMIT.timeout + (MUTATIONS_MIN + ACTIONS) * 10 };
/** Functions that one mutation schedules at most. */
const PER_MUTATION = 1_000;

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

/** A server that answers nobody until `answer()` is called: `asked` are those who wait. */
async function startSilentServer(context) {
  const asked = [];
  const server = createServer((_, response) => asked.push(response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  whenOver(context, () => {
    server.closeAllConnections();
    server.close();
  });
  const isAsked = async (count) => {
    while (asked.length < count) {
      await sleep(10);
    }
  };
  const answer = () => asked.splice(0).forEach((response) => response.end());
  return { url: `http://127.0.0.1:${server.address().port}/`, isAsked, answer };
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

test("each scheduled function runs exactly once over kill -9", LONG_LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  await pushApp(context, tidemark, "schedules");
  const http = new ConvexHttpClient(tidemark.url, { logger: false });
  const rounds = 4;
  const count = Math.min(PER_MUTATION, Math.ceil(MUTATIONS_MIN / rounds / 8));
  const perRound = Math.ceil(MUTATIONS_MIN / rounds / count);
  for (let round = 0; round < rounds; round++) {
    const acknowledged = [];
    const sending = (async () => {
      for (let number = 0; ; number++) {
        // The process may go at any moment.
        const name = `${round} ${number}`;
        await http.mutation(jobs.batch, { name, count, ms: 400 });
        acknowledged.push(name);
      }
    })();
    // A rejected promise that nobody has looked at yet is no accident.
    sending.catch(() => {});
    while (acknowledged.length < perRound) {
      await Promise.race([sending, sleep(5)]);
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
  assert.ok(batches.length >= rounds * perRound);
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
  assert.deepEqual([...kinds], [["success", batches.length * count]]);
});

/** The names that begin so. */
const entered = (client, name) => client.query(jobs.names, { from: name, to: `${name}~` });

test("actions that are due run, and what comes of them is in their documents", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await pushApp(context, tidemark, "schedules");
  const client = connect(context, tidemark);
  const { url, isAsked, answer } = await startSilentServer(context);

  const { stdout } = await project.mustRun("run", "calls:asking", JSON.stringify({ name: "by the command line", url }));
  const id = JSON.parse(stdout);
  const running = await until(client, jobs.job, { id }, (job) => job.state.kind === "inProgress");
  assert.deepEqual([running.name, running.args], ["calls.js:ask", [{ name: "by the command line", url }]]);
  await isAsked(1);
  const answered = Date.now();
  answer();
  const done = await until(client, jobs.job, { id }, over);
  assert.deepEqual(done.state, { kind: "success" });
  assert.ok(done.completedTime >= answered && answered > done.scheduledTime, JSON.stringify(done));
  assert.deepEqual(await entered(client, "by"), ["by the command line began", "by the command line ended"]);

  const failing = await client.mutation(calls.failing, { name: "failing" });
  const failed = await until(client, jobs.job, { id: failing }, over);
  assert.equal(failed.state.kind, "failed");
  assert.match(failed.state.error, /^Uncaught Error: failing fails\n\s+at handler \(\.\.\/convex\/calls\.ts:\d+:\d+\)/);

  // Many that wait do not hold up a mutation.
  const slow = await Promise.all(Array.from({ length: 200 }, (_, number) => client.mutation(calls.asking, { name: `slow ${number}`, url })));
  await isAsked(200);
  const beside = await client.mutation(jobs.after, { ms: 0, name: "beside them" });
  await until(client, jobs.job, { id: beside }, over);
  const kinds = await Promise.all(slow.map(async (id) => (await client.query(jobs.job, { id })).state.kind));
  assert.deepEqual(kinds, Array(200).fill("inProgress"), "it waited for none of them");
  answer();
  const ended = await Promise.all(slow.map((id) => until(client, jobs.job, { id }, over)));
  assert.ok(ended.every((job) => job.state.kind === "success"));
});

test("actions schedule functions and cancel them, whatever becomes of the action", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  await pushApp(context, tidemark, "schedules");
  const client = connect(context, tidemark);
  const id = await client.action(calls.afterInAction, { ms: 0, name: "after" });
  await until(client, jobs.job, { id }, over);
  const time = Date.now() + 500;
  const later = await client.action(calls.atInAction, { time, name: "at" });
  const ran = await until(client, jobs.job, { id: later }, over);
  assert.deepEqual([ran.scheduledTime, ran.state.kind], [time, "success"]);
  const never = await client.action(calls.afterInAction, { ms: 3_600_000, name: "never" });
  await client.action(calls.cancelInAction, { id: never });
  assert.equal((await client.query(jobs.job, { id: never })).state.kind, "canceled");
  await assert.rejects(client.action(calls.failsAfterwards, { name: "all the same" }), /after it has scheduled/);
  await until(client, jobs.names, { from: "", to: "~" }, (names) => names.includes("all the same"));
  assert.deepEqual(await entered(client, ""), ["after", "all the same", "at began", "at ended"]);
});

test("an action that is cancelled while it runs goes on, and what it schedules does not run", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  await pushApp(context, tidemark, "schedules");
  const client = connect(context, tidemark);
  const id = await client.mutation(calls.late, { name: "late", until: "go on" });
  await until(client, jobs.names, { from: "late", to: "late~" }, (names) => names.length === 1);
  const body = JSON.stringify({ id, componentId: null });
  assert.equal((await post(tidemark, "/api/cancel_job", body, asAdmin(tidemark))).status, 200);
  assert.equal((await client.query(jobs.job, { id })).state.kind, "canceled");
  const goOn = await client.mutation(jobs.after, { ms: 0, name: "go on" });
  await until(client, jobs.job, { id: goOn }, over);
  await until(client, jobs.names, { from: "late", to: "late~" }, (names) => names.includes("late ended"));
  const newest = await client.query(jobs.newest, {});
  const children = newest.filter(({ args }) => /child/.test(args[0].name));
  assert.deepEqual(children.map(({ state }) => state.kind), ["canceled", "canceled"]);
  assert.deepEqual(await entered(client, "late"), ["late began", "late child of its mutation 2", "late ended"]);
  assert.equal((await client.query(jobs.job, { id })).state.kind, "canceled");
});

test("administrators cancel one job, those of a function, or all that wait", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  await pushApp(context, tidemark, "schedules");
  const client = connect(context, tidemark);
  const schedule = (reference, more) => client.mutation(reference, { ms: 3_600_000, name: "never", ...more });
  const ids = [await schedule(jobs.after), await schedule(jobs.after), await schedule(calls.after, { lasts: 0 })];
  const kinds = async () => Promise.all(ids.map(async (id) => (await client.query(jobs.job, { id })).state.kind));
  const ask = async (path, body, request = asAdmin(tidemark)) => {
    const response = await post(tidemark, path, JSON.stringify(body), request);
    const text = await response.text();
    return [response.status, text === "" ? null : JSON.parse(text)];
  };
  const refused = async (...args) => {
    const [status, { code }] = await ask(...args);
    return `${status} ${code}`;
  };
  for (const path of ["/api/cancel_job", "/api/cancel_all_jobs"]) {
    assert.equal(await refused(path, { id: ids[0] }, {}), "401 MissingAdminKey");
    assert.equal(await refused(path, { id: ids[0], componentId: "x" }), path === "/api/cancel_job" ? "400 ComponentNotFound" : "400 InvalidJson");
  }
  assert.equal(await refused("/api/cancel_job", { id: "nonsense" }), "400 InvalidArgument");
  assert.equal(await refused("/api/cancel_job", {}), "400 InvalidJson");
  assert.deepEqual(await kinds(), ["pending", "pending", "pending"]);
  assert.deepEqual(await ask("/api/cancel_job", { id: ids[0] }), [200, null]);
  assert.deepEqual(await kinds(), ["canceled", "pending", "pending"]);
  assert.deepEqual(await ask("/api/cancel_all_jobs", { udfPath: "calls.js:act" }), [200, { canceled: 1 }]);
  assert.deepEqual(await kinds(), ["canceled", "pending", "canceled"]);
  assert.deepEqual(await ask("/api/cancel_all_jobs", {}), [200, { canceled: 1 }]);
  assert.deepEqual(await ask("/api/cancel_all_jobs", {}), [200, { canceled: 0 }]);
  assert.deepEqual(await kinds(), ["canceled", "canceled", "canceled"]);
});

test("each scheduled action runs at most once over kill -9, and says what became of it", LONG_LIMIT, async (context) => {
  const tidemark = await startTidemark(context, { allowedInLog: [/actions have failed because their process ended/] });
  await pushApp(context, tidemark, "schedules");
  const http = new ConvexHttpClient(tidemark.url, { logger: false });
  const { url, isAsked } = await startSilentServer(context);
  const rounds = 3;
  const count = Math.min(PER_MUTATION, Math.ceil(ACTIONS / rounds));
  const perRound = Math.ceil(ACTIONS / rounds / count);
  for (let round = 0; round < rounds; round++) {
    // One that is under way for sure, and many that begin, run and end.
    await http.mutation(calls.asking, { name: `${round} held`, url });
    await isAsked(round + 1);
    for (let part = 0; part < perRound; part++) {
      await http.mutation(calls.batch, { name: `${round} ${part}`, count, ms: 900, lasts: 150 });
    }
    const ended = async () => (await entered(http, `${round} ${perRound - 1} `)).filter((name) => name.endsWith("ended")).length;
    while ((await ended()) < count / 2) {
      await sleep(5);
    }
    await tidemark.kill();
    await tidemark.start();
  }
  const states = async () => {
    const found = new Map();
    for (let cursor = null, isDone = false; !isDone; ) {
      const page = await http.query(jobs.statesPage, { cursor });
      page.page.forEach(({ name, state }) => found.set(name, state));
      ({ continueCursor: cursor, isDone } = page);
    }
    return found;
  };
  let last = await states();
  while ([...last.values()].some(({ kind }) => kind === "pending" || kind === "inProgress")) {
    await sleep(100);
    last = await states();
  }
  assert.equal(last.size, rounds * (perRound * count + 1));
  const names = new Set();
  for (let part = 0; part < rounds * perRound; part++) {
    for (const name of await entered(http, `${Math.floor(part / perRound)} ${part % perRound} `)) {
      assert.ok(!names.has(name), `${name} twice`);
      names.add(name);
    }
  }
  const counts = { success: 0, failed: 0 };
  for (const [name, state] of last) {
    counts[state.kind]++;
    if (state.kind === "success") {
      assert.ok(names.has(`${name} began`) && names.has(`${name} ended`), `${name} was acknowledged`);
    } else {
      assert.deepEqual(state, { kind: "failed", error: "Transient error while executing action" });
    }
  }
  const held = Array.from({ length: rounds }, (_, round) => last.get(`${round} held`).kind);
  assert.deepEqual(held, Array(rounds).fill("failed"));
  assert.ok(counts.success >= count, JSON.stringify(counts));
});
