// Cron jobs, by the official library and command line; and over kill -9.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { asAdmin, callFunction } from "./harness/functions.mjs";
import { createProject } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const DAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const LIMIT = { timeout: 300_000 };
const WAIT_MS_MAX = 120_000;

const NOTES = `
  import { v } from "convex/values";
  import { internalMutation, query } from "./_generated/server";
  export const enter = internalMutation({
    args: { by: v.string() },
    handler: async (ctx, { by }) => {
      console.log("entered by", by);
      return await ctx.db.insert("notes", { by });
    },
  });
  export const fail = internalMutation({
    args: {},
    handler: async (ctx) => {
      await ctx.db.insert("notes", { by: "fail" });
      throw new Error("as it must");
    },
  });
  export const list = query({
    args: { by: v.string() },
    handler: async (ctx, { by }) => (await ctx.db.query("notes").collect()).filter((note) => note.by === by).length,
  });
`;

const crons = (declarations) => `
  import { cronJobs } from "convex/server";
  import { internal } from "./_generated/api";
  const crons = cronJobs();
  ${declarations}
  export default crons;
`;

async function asked(tidemark, kind, path, args, request) {
  const { body } = await callFunction(tidemark, kind, path, args, request);
  assert.equal(body.status, "success", JSON.stringify(body));
  return body.value;
}

const notes = (tidemark, by) => asked(tidemark, "query", "notes:list", { by });
const jobs = (tidemark) => asked(tidemark, "query", "_system/frontend/listCronJobs:default", {}, asAdmin(tidemark));
const runs = (tidemark) => asked(tidemark, "query", "_system/frontend/listCronJobRuns:default", {}, asAdmin(tidemark));
/** An Int64, which is small enough. */
const integer = ({ $integer }) => Number(Buffer.from($integer, "base64").readBigInt64LE());

async function until(what, holds) {
  const deadline = Date.now() + WAIT_MS_MAX;
  for (;;) {
    const value = await holds();
    if (value) {
      return value;
    }
    assert.ok(Date.now() < deadline, what);
    await sleep(50);
  }
}

test("cron jobs run, and change with each push", LIMIT, async (context) => {
  // Not due while this runs.
  const day = (new Date().getUTCDay() + 3) % DAYS.length;
  const tidemark = await startTidemark(context);
  const files = {
    "convex/notes.ts": NOTES,
    "convex/crons.ts": crons(`
      crons.interval("each second", { seconds: 1 }, internal.notes.enter, { by: "second" });
      crons.interval("fails", { hours: 1 }, internal.notes.fail);
      crons.hourly("hourly", { minuteUTC: 5 }, internal.notes.enter, { by: "hour" });
      crons.daily("daily", { hourUTC: 3, minuteUTC: 4 }, internal.notes.enter, { by: "day" });
      crons.weekly("weekly", { dayOfWeek: "${DAYS[day]}", hourUTC: 3, minuteUTC: 4 }, internal.notes.enter, { by: "week" });
      crons.monthly("monthly", { day: 2, hourUTC: 3, minuteUTC: 4 }, internal.notes.enter, { by: "month" });
      crons.cron("by an expression", "*/5 3-4 * * MON-FRI", internal.notes.enter, { by: "cron" });`),
  };
  const project = await createProject(context, tidemark, { files });
  const push = () => project.mustRun("deploy", "--typecheck", "disable");
  await push();
  await until("it runs each second", async () => (await notes(tidemark, "second")) >= 4);

  const shown = await until("the one that fails has run", async () => {
    const list = await jobs(tidemark);
    return list.find(({ name }) => name === "fails").lastRun !== null && list;
  });
  assert.deepEqual(
    shown.map(({ name }) => name),
    ["by an expression", "daily", "each second", "fails", "hourly", "monthly", "weekly"],
  );
  const named = Object.fromEntries(shown.map((job) => [job.name, job]));
  assert.equal(named.weekly.cronSpec.udfPath, "notes.js:enter");
  assert.equal(Buffer.from(named.weekly.cronSpec.udfArgs.$bytes, "base64").toString(), '[{"by":"week"}]');
  assert.equal(named.weekly.lastRun, null);
  const next = new Date(integer(named.weekly.nextRun.nextTs) / 1e6);
  assert.deepEqual([next.getUTCDay(), next.getUTCHours(), next.getUTCMinutes()], [day, 3, 4]);
  assert.ok(next > Date.now());
  const { status } = named.fails.lastRun;
  assert.equal(status.type, "err");
  assert.match(status.error, /^Uncaught Error: as it must\n\s+at handler \(\.\.\/convex\/notes\.ts:\d+:\d+\)/);
  assert.equal(await notes(tidemark, "fail"), 0, "what fails leaves nothing");
  const ofSecond = (await runs(tidemark)).filter(({ name }) => name === "each second");
  assert.ok(ofSecond.length <= 5);
  // A busy machine may leave one out.
  const { logLines } = ofSecond.find(({ status }) => status.type === "success");
  assert.deepEqual(logLines, { logLines: ["[LOG] 'entered by' 'second'"], isTruncated: false });
  const beats = ofSecond.map(({ ts }) => integer(ts) / 1e6);
  assert.equal((beats[0] - beats[1]) % 1000, 0, "it keeps its beat");

  // The same again changes nothing; another set does.
  await push();
  assert.deepEqual((await jobs(tidemark)).map(({ _id }) => _id), shown.map(({ _id }) => _id));
  await project.write(
    "convex/crons.ts",
    crons('crons.interval("each second", { seconds: 1 }, internal.notes.enter, { by: "another" });'),
  );
  await push();
  await until("the job has other arguments", async () => (await notes(tidemark, "another")) >= 2);
  assert.deepEqual((await jobs(tidemark)).map(({ _id }) => _id), [named["each second"]._id]);

  await project.remove("convex/crons.ts");
  await push();
  assert.deepEqual([await jobs(tidemark), await runs(tidemark)], [[], []]);
  const count = await notes(tidemark, "another");
  await sleep(2_500);
  assert.equal(await notes(tidemark, "another"), count, "what is gone does not run");
});

test("cron jobs follow the variables that they are made of", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const files = {
    "convex/notes.ts": NOTES,
    "convex/crons.ts": crons(`
      if (process.env.WHEN !== undefined) {
        crons.cron("digest", process.env.WHEN, internal.notes.enter, { by: process.env.BY ?? "nobody" });
      }`),
  };
  const project = await createProject(context, tidemark, { files });
  await project.mustRun("deploy", "--typecheck", "disable");
  const schedules = async () => (await jobs(tidemark)).map(({ name, cronSpec }) => [name, cronSpec.cronSchedule.cron]);
  assert.deepEqual(await schedules(), []);
  await project.mustRun("env", "set", "WHEN", "5 4 * * *");
  assert.deepEqual(await schedules(), [["digest", "5 4 * * *"]]);
  const refused = await project.convex("env", "set", "WHEN", "61 * * * *");
  assert.notEqual(refused.code, 0);
  assert.match(refused.output, /the cron job `digest`: the cron expression `61 \* \* \* \*` is not valid/);
  assert.deepEqual(await schedules(), [["digest", "5 4 * * *"]], "what is refused changes nothing");
  await project.mustRun("env", "remove", "WHEN");
  assert.deepEqual(await schedules(), []);
});

test("of the runs that a server misses one is made up for, and each that ran has run once", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const files = {
    "convex/notes.ts": NOTES,
    "convex/crons.ts": crons('crons.interval("beat", { seconds: 2 }, internal.notes.enter, { by: "beat" });'),
  };
  const project = await createProject(context, tidemark, { files });
  await project.mustRun("deploy", "--typecheck", "disable");
  const [first] = await until("it runs", async () => {
    const log = await runs(tidemark);
    return log.length > 0 && log.reverse();
  });
  assert.equal(first.status.type, "success");
  await tidemark.kill();
  await sleep(9_000);
  await tidemark.start();
  const canceled = (log) => log.filter(({ status }) => status.type === "canceled");
  await until("the log says what was left out", async () => canceled(await runs(tidemark)).length > 0);
  // The log is short: this is soon enough for it to have everything that was left out.
  await until("nothing runs for a moment", async () => {
    const state = async () => [await notes(tidemark, "beat"), await jobs(tidemark), await runs(tidemark)];
    const [count, [job], log] = await state();
    if (!isDeepStrictEqual(await state(), [count, [job], log])) {
      return false;
    }
    const leftOut = canceled(log).reduce((sum, { status }) => sum + integer(status.num_canceled), 0);
    assert.ok(leftOut >= 3, JSON.stringify(log));
    // Each beat before the next one has run or was left out.
    const beats = (integer(job.nextRun.nextTs) - integer(first.ts)) / 2e9;
    assert.equal(count, beats - leftOut);
    return true;
  });
});

test("cron jobs run actions, and none overlaps with itself", LIMIT, async (context) => {
  // The next one may have begun when the test is over.
  const tidemark = await startTidemark(context, { allowedInLog: [/cancelled actions that were under way/] });
  const files = {
    "convex/notes.ts": NOTES,
    "convex/calls.ts": `
      import { internal } from "./_generated/api";
      import { internalAction } from "./_generated/server";
      export const act = internalAction({
        args: {},
        handler: async (ctx) => {
          await ctx.runMutation(internal.notes.enter, { by: "began" });
          await new Promise((done) => setTimeout(done, 1500));
          await ctx.runMutation(internal.notes.enter, { by: "ended" });
          return "acted";
        },
      });`,
    "convex/crons.ts": crons('crons.interval("acts", { seconds: 1 }, internal.calls.act);'),
  };
  const project = await createProject(context, tidemark, { files });
  await project.mustRun("deploy", "--typecheck", "disable");
  await until("it runs again", async () => {
    // Asked first, so that those that end meanwhile don't count.
    const began = await notes(tidemark, "began");
    const ended = await notes(tidemark, "ended");
    assert.ok(began - ended <= 1, "two were under way");
    return ended >= 2;
  });
  const { status } = (await runs(tidemark)).find(({ status }) => status.type !== "canceled");
  assert.deepEqual(status, { type: "success", result: { type: "value", value: "acted" } });
});
