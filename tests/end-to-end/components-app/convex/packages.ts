// The smaller packages, each as its documentation says.
import { ActionCache } from "@convex-dev/action-cache";
import { ActionRetrier, onCompleteValidator, type RunId } from "@convex-dev/action-retrier";
import { TableAggregate } from "@convex-dev/aggregate";
import { defineBatchWorkerValidators, ping } from "@convex-dev/batch-worker";
import { Crons } from "@convex-dev/crons";
import { Migrations } from "@convex-dev/migrations";
import { Presence } from "@convex-dev/presence";
import { HOUR, MINUTE, RateLimiter } from "@convex-dev/rate-limiter";
import { ShardedCounter } from "@convex-dev/sharded-counter";
import { v } from "convex/values";
import { components, internal } from "./_generated/api.js";
import type { DataModel } from "./_generated/dataModel.js";
import { action, internalAction, internalMutation, internalQuery, mutation, query, type MutationCtx } from "./_generated/server.js";

/** What something has come to, for whoever waits for it. */
export const result = query({
  args: { what: v.string() },
  handler: async (ctx, { what }) => {
    const results = await ctx.db.query("results").withIndex("by_what", (q) => q.eq("what", what)).collect();
    return results.map((result) => result.value);
  },
});

export const note = internalMutation({
  args: { what: v.string(), value: v.any() },
  handler: async (ctx, { what, value }): Promise<null> => {
    await ctx.db.insert("results", { what, value });
    return null;
  },
});

// sharded-counter
const counter = new ShardedCounter(components.shardedCounter, { shards: { hits: 4 } });
export const count = mutation({
  args: { by: v.number() },
  handler: async (ctx, { by }) => counter.add(ctx, "hits", by),
});
export const counted = query({ args: {}, handler: async (ctx) => counter.count(ctx, "hits") });

// rate-limiter
const limiter = new RateLimiter(components.rateLimiter, {
  messages: { kind: "token bucket", rate: 1, period: HOUR, capacity: 3 },
  window: { kind: "fixed window", rate: 2, period: HOUR, start: 0 },
  sharded: { kind: "fixed window", rate: 1_000, period: MINUTE, shards: 4 },
  eventual: { kind: "token bucket", rate: 5, period: HOUR, applyUpdates: "asynchronously" },
});
const limits = v.union(v.literal("messages"), v.literal("window"), v.literal("sharded"), v.literal("eventual"));
export const limit = mutation({
  args: { name: limits, key: v.string(), throws: v.optional(v.boolean()) },
  handler: async (ctx, { name, key, throws }) => limiter.limit(ctx, name, { key, throws }),
});
export const checkLimit = query({ args: { name: limits, key: v.string() }, handler: async (ctx, { name, key }) => limiter.check(ctx, name, { key }) });
export const resetLimit = mutation({ args: { name: limits, key: v.string() }, handler: async (ctx, { name, key }) => limiter.reset(ctx, name, { key }) });

// aggregate
const byScore = new TableAggregate<{ Key: number; DataModel: DataModel; TableName: "scores" }>(components.byScore, {
  sortKey: (doc) => doc.score,
  sumValue: (doc) => doc.score,
});
export const addScores = mutation({
  args: { scores: v.array(v.object({ name: v.string(), score: v.number() })) },
  handler: async (ctx, { scores }) => {
    for (const score of scores) {
      const id = await ctx.db.insert("scores", score);
      await byScore.insert(ctx, (await ctx.db.get(id))!);
    }
  },
});
export const removeScore = mutation({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    const score = await ctx.db.query("scores").filter((q) => q.eq(q.field("name"), name)).first();
    await ctx.db.delete(score!._id);
    await byScore.delete(ctx, score!);
  },
});
export const scores = query({
  args: {},
  handler: async (ctx) => {
    const count = await byScore.count(ctx);
    const at = async (rank: number) => (await byScore.at(ctx, rank)).key;
    return {
      count,
      sum: await byScore.sum(ctx),
      max: await byScore.max(ctx).then((item) => item?.key ?? null),
      median: count > 0 ? await at(Math.floor(count / 2)) : null,
      above: await byScore.count(ctx, { bounds: { lower: { key: 50, inclusive: true } } }),
    };
  },
});

// action-retrier
const retrier = new ActionRetrier(components.actionRetrier, { initialBackoffMs: 50, base: 2, maxFailures: 5 });
export const flaky = internalAction({
  args: { what: v.string(), failures: v.number() },
  handler: async (ctx, { what, failures }): Promise<string> => {
    const attempts = await ctx.runQuery(internal.packages.attempts, { what });
    await ctx.runMutation(internal.packages.note, { what: `attempts of ${what}`, value: attempts });
    if (attempts < failures) {
      throw new Error("not yet");
    }
    return `done after ${attempts} failures`;
  },
});
export const attempts = internalQuery({
  args: { what: v.string() },
  handler: async (ctx, { what }): Promise<number> => {
    const all = await ctx.db.query("results").withIndex("by_what", (q) => q.eq("what", `attempts of ${what}`)).collect();
    return all.length;
  },
});
export const retried = internalMutation({
  args: onCompleteValidator,
  handler: async (ctx, { runId, result }) => {
    await ctx.db.insert("results", { what: `run ${runId}`, value: result });
  },
});
export const retry = mutation({
  args: { what: v.string(), failures: v.number() },
  handler: async (ctx, args): Promise<string> =>
    retrier.run(ctx, internal.packages.flaky, args, { onComplete: internal.packages.retried }),
});
export const retryStatus = query({ args: { runId: v.string() }, handler: async (ctx, { runId }) => retrier.status(ctx, runId as RunId) });

// crons
const crons = new Crons(components.crons);
export const startCron = mutation({
  args: { name: v.string() },
  handler: async (ctx, { name }): Promise<string> =>
    crons.register(ctx, { kind: "interval", ms: 1_000 }, internal.packages.note, { what: `cron ${name}`, value: 1 }, name),
});
export const startDaily = mutation({
  args: { name: v.string() },
  handler: async (ctx, { name }): Promise<string> =>
    crons.register(ctx, { kind: "cron", cronspec: "0 4 * * *", tz: "Europe/Berlin" }, internal.packages.note, { what: name, value: 1 }, name),
});
export const listCrons = query({ args: {}, handler: async (ctx) => crons.list(ctx) });
export const stopCron = mutation({ args: { name: v.string() }, handler: async (ctx, { name }) => crons.delete(ctx, { name }) });

// migrations
export const migrations = new Migrations<DataModel>(components.migrations);
export const addNicknames = migrations.define({
  table: "people",
  batchSize: 10,
  migrateOne: async (_ctx, person) => (person.nickname === undefined ? { nickname: person.name.slice(0, 3) } : undefined),
});
export const runMigration = migrations.runner(internal.packages.addNicknames);
export const addPeople = mutation({
  args: { count: v.number() },
  handler: async (ctx, { count }) => {
    for (let number = 0; number < count; number++) {
      await ctx.db.insert("people", { name: `person ${number}` });
    }
  },
});
export const people = query({
  args: {},
  handler: async (ctx) => {
    const people = await ctx.db.query("people").collect();
    return { all: people.length, named: people.filter((person) => person.nickname !== undefined).length };
  },
});
export const migrationStatus = query({
  args: {},
  handler: async (ctx): Promise<unknown> => migrations.getStatus(ctx, { migrations: [internal.packages.addNicknames] }),
});

// action-cache
const cache = new ActionCache(components.actionCache, { action: internal.packages.slow });
export const slow = internalAction({
  args: { of: v.number() },
  handler: async (ctx, { of }): Promise<number> => {
    await ctx.runMutation(internal.packages.note, { what: `slow ${of}`, value: 1 });
    return of * of;
  },
});
export const cached = action({ args: { of: v.number() }, handler: async (ctx, { of }): Promise<number> => cache.fetch(ctx, { of }) });
export const uncache = mutation({ args: { of: v.number() }, handler: async (ctx, { of }): Promise<unknown> => cache.remove(ctx, { of }) });

// presence
const presence = new Presence(components.presence);
export const heartbeat = mutation({
  args: { roomId: v.string(), userId: v.string(), sessionId: v.string(), interval: v.number() },
  handler: async (ctx, { roomId, userId, sessionId, interval }) => presence.heartbeat(ctx, roomId, userId, sessionId, interval),
});
export const present = query({ args: { roomToken: v.string() }, handler: async (ctx, { roomToken }) => presence.list(ctx, roomToken) });
export const disconnect = mutation({ args: { sessionToken: v.string() }, handler: async (ctx, { sessionToken }) => presence.disconnect(ctx, sessionToken) });

// batch-worker
const { vQueryArgs, vQueryReturns, vMutationArgs } = defineBatchWorkerValidators({
  batch: { events: v.array(v.object({ id: v.id("events"), value: v.number() })) },
});
export const addEvent = mutation({
  args: { value: v.number() },
  handler: async (ctx, { value }) => {
    await ctx.db.insert("events", { value, insertedAt: ctx.db.vars.commitTs });
    await ping(ctx, components.batchWorker, {
      name: "events",
      workQuery: internal.packages.getBatch,
      workerMutation: internal.packages.processBatch,
    });
  },
});
/** The same without the package: a scheduled mutation for each. */
export const addScheduledEvent = mutation({
  args: { value: v.number() },
  handler: async (ctx, { value }) => {
    const id = await ctx.db.insert("events", { value, insertedAt: ctx.db.vars.commitTs });
    await ctx.scheduler.runAfter(0, internal.packages.processEvent, { id, value });
  },
});
export const processEvent = internalMutation({
  args: { id: v.id("events"), value: v.number() },
  handler: async (ctx, { id, value }) => {
    await ctx.db.delete(id);
    await addUp(ctx, value);
  },
});
export const getBatch = internalQuery({
  args: vQueryArgs,
  returns: vQueryReturns,
  handler: async (ctx, { cursor }) => {
    const events = await ctx.db.query("events").withIndex("insertedAt", (q) => q.gte("insertedAt", cursor ?? 0n)).take(10);
    if (events.length === 0) {
      return { kind: "idle" as const };
    }
    return {
      kind: "work" as const,
      batch: { events: events.map(({ _id, value }) => ({ id: _id, value })) },
      cursor: events.at(-1)!.insertedAt as bigint,
    };
  },
});
export const processBatch = internalMutation({
  args: vMutationArgs,
  handler: async (ctx, { events }) => {
    let sum = 0;
    for (const { id, value } of events) {
      sum += value;
      await ctx.db.delete(id);
    }
    await addUp(ctx, sum);
  },
});
async function addUp(ctx: MutationCtx, sum: number) {
  const before = await ctx.db.query("sums").first();
  await (before
    ? ctx.db.patch(before._id, { sum: before.sum + sum, batches: before.batches + 1 })
    : ctx.db.insert("sums", { sum, batches: 1 }));
}
export const summed = query({
  args: {},
  handler: async (ctx) => {
    const sums = await ctx.db.query("sums").first();
    return { sum: sums?.sum ?? 0, batches: sums?.batches ?? 0, left: (await ctx.db.query("events").collect()).length };
  },
});
