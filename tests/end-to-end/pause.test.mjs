// A deployment that is paused runs no functions: calls fail, live queries too, scheduled functions wait, and cron jobs are left out.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ConvexClient } from "convex/browser";
import { anyApi } from "convex/server";
import { askAsAdmin, valueOf } from "./harness/anywhere.mjs";
import { whenOver } from "./harness/cleanup.mjs";
import { callFunction } from "./harness/functions.mjs";
import { createProject } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const LIMIT = { timeout: 300_000 };
const UNTIL_MS_MAX = 60_000;
/** So long a deployment stays paused: several times what the cron job waits. */
const PAUSED_MS = 4_000;

const MODULES = {
  "convex/runs.ts": `
    import { internalMutation, mutation, query } from "./_generated/server";
    import { internal } from "./_generated/api";
    import { v } from "convex/values";
    export const note = internalMutation({ args: { by: v.string() }, handler: async (ctx, { by }) => { await ctx.db.insert("runs", { by, at: Date.now() }); } });
    export const later = mutation({ args: { ms: v.number() }, handler: async (ctx, { ms }) => { await ctx.scheduler.runAfter(ms, internal.runs.note, { by: "job" }); } });
    export const list = query({ args: {}, handler: (ctx) => ctx.db.query("runs").collect() });`,
  "convex/crons.ts": `
    import { cronJobs } from "convex/server";
    import { internal } from "./_generated/api";
    const crons = cronJobs();
    crons.interval("often", { seconds: 1 }, internal.runs.note, { by: "cron" });
    export default crons;`,
  "convex/http.ts": `
    import { httpRouter } from "convex/server";
    import { httpAction } from "./_generated/server";
    const http = httpRouter();
    http.route({ path: "/hello", method: "GET", handler: httpAction(async () => new Response("hello")) });
    export default http;`,
};

async function until(check, what) {
  const deadline = Date.now() + UNTIL_MS_MAX;
  for (;;) {
    const found = await check();
    if (found) return found;
    assert.ok(Date.now() < deadline, `${what} did not happen in ${UNTIL_MS_MAX} ms`);
    await sleep(50);
  }
}

test("a paused deployment runs nothing, and goes on where it was", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await createProject(context, tidemark, { files: MODULES });
  await project.mustRun("deploy", "--typecheck", "disable");
  const site = JSON.parse(await askAsAdmin(tidemark, "/api/v1/get_canonical_urls")).convexSiteUrl;
  const change = (path) => askAsAdmin(tidemark, path, { method: "POST" });
  const runsOf = async (by) => (await valueOf(tidemark, "query", "runs:list")).filter((run) => run.by === by);
  const state = async () => (await valueOf(tidemark, "query", "_system/frontend/deploymentState:default")).state;

  const client = new ConvexClient(tidemark.url);
  whenOver(context, () => client.close());
  const live = { values: 0, error: null };
  client.onUpdate(anyApi.runs.list, {}, () => Object.assign(live, { values: live.values + 1, error: null }), (error) => (live.error = error));
  await until(() => live.values > 0, "a value");
  await until(async () => (await runsOf("cron")).length > 0, "a run of the cron job");
  await callFunction(tidemark, "mutation", "runs:later", { ms: 1_000 });

  assert.equal(await state(), "running");
  await change("/api/v1/pause_deployment");
  const pausedAt = Date.now();
  assert.equal(await state(), "paused");
  for (const [kind, path, args] of [["query", "runs:list", {}], ["mutation", "runs:later", { ms: 0 }]]) {
    const { status, body } = await callFunction(tidemark, kind, path, args);
    assert.equal(`${status} ${body.code}`, "400 BackendIsNotRunning", JSON.stringify(body));
  }
  const answer = await fetch(`${site}/hello`);
  assert.equal(`${answer.status} ${(await answer.json()).code}`, "400 BackendIsNotRunning");
  await until(() => live.error, "the end of a live query");
  assert.match(live.error.message, /BackendIsNotRunning/);
  await assert.rejects(client.mutation(anyApi.runs.later, { ms: 0 }), /BackendIsNotRunning/);
  // Who looks after the deployment still can.
  await project.mustRun("deploy", "--typecheck", "disable");
  assert.match((await project.mustRun("data", "runs")).stdout, /cron/);
  await sleep(PAUSED_MS);
  const resumedAt = Date.now();
  await change("/api/v1/unpause_deployment");

  await until(async () => (await runsOf("job")).length > 0, "the run of the job");
  await until(async () => (await runsOf("cron")).some(({ at }) => at > resumedAt), "a run of the cron job");
  await until(() => live.error === null, "a value once more");
  const runs = await valueOf(tidemark, "query", "runs:list");
  const between = runs.filter(({ at }) => at > pausedAt + 500 && at < resumedAt);
  assert.deepEqual(between, [], "nothing ran meanwhile");
  assert.equal(runs.filter(({ by }) => by === "job").length, 1, "the job ran once");
  const caughtUp = runs.filter(({ by, at }) => by === "cron" && at >= resumedAt && at < resumedAt + 400);
  assert.ok(caughtUp.length <= 1, "cron jobs do not make up for what was left out");
});
