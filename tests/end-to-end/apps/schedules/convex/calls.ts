import { v } from "convex/values";
import { internal } from "./_generated/api";
import { action, internalAction, internalQuery, mutation } from "./_generated/server";

/** What is scheduled: it leaves a trace when it begins and, so many milliseconds later, when it ends. */
export const act = internalAction({
  args: { name: v.string(), ms: v.number() },
  handler: async (ctx, { name, ms }) => {
    await ctx.runMutation(internal.jobs.enter, { name: `${name} began` });
    await new Promise((done) => setTimeout(done, ms));
    await ctx.runMutation(internal.jobs.enter, { name: `${name} ended` });
  },
});

/** Leaves the same traces; in between it waits for the answer of a server. */
export const ask = internalAction({
  args: { name: v.string(), url: v.string() },
  handler: async (ctx, { name, url }) => {
    await ctx.runMutation(internal.jobs.enter, { name: `${name} began` });
    await fetch(url);
    await ctx.runMutation(internal.jobs.enter, { name: `${name} ended` });
  },
});

export const fail = internalAction({
  args: { name: v.string() },
  handler: async (_, { name }) => {
    throw new Error(`${name} fails`);
  },
});

export const isThere = internalQuery({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    const entry = await ctx.db
      .query("entries")
      .withIndex("by_name", (q) => q.eq("name", name))
      .first();
    return entry !== null;
  },
});

/** Waits until somebody lets it go on, then schedules what it can. */
export const schedulesLate = internalAction({
  args: { name: v.string(), until: v.string() },
  handler: async (ctx, { name, until }) => {
    await ctx.runMutation(internal.jobs.enter, { name: `${name} began` });
    while (!(await ctx.runQuery(internal.calls.isThere, { name: until }))) {
      await new Promise((done) => setTimeout(done, 10));
    }
    await ctx.scheduler.runAfter(0, internal.jobs.enter, { name: `${name} child` });
    await ctx.runMutation(internal.jobs.count, { name: `${name} child of its mutation`, left: 2 });
    await ctx.runMutation(internal.jobs.enter, { name: `${name} ended` });
  },
});

export const after = mutation({
  args: { ms: v.number(), name: v.string(), lasts: v.number() },
  handler: (ctx, { ms, name, lasts }) => ctx.scheduler.runAfter(ms, internal.calls.act, { name, ms: lasts }),
});

export const asking = mutation({
  args: { name: v.string(), url: v.string() },
  handler: (ctx, args) => ctx.scheduler.runAfter(0, internal.calls.ask, args),
});

export const failing = mutation({
  args: { name: v.string() },
  handler: (ctx, { name }) => ctx.scheduler.runAfter(0, internal.calls.fail, { name }),
});

export const late = mutation({
  args: { name: v.string(), until: v.string() },
  handler: (ctx, args) => ctx.scheduler.runAfter(0, internal.calls.schedulesLate, args),
});

/** Schedules several actions over the next so many milliseconds, and notes that it has. */
export const batch = mutation({
  args: { name: v.string(), count: v.number(), ms: v.number(), lasts: v.number() },
  handler: async (ctx, { name, count, ms, lasts }) => {
    let last;
    for (let number = 0; number < count; number++) {
      const args = { name: `${name} ${number}`, ms: lasts };
      last = await ctx.scheduler.runAfter((ms * number) / count, internal.calls.act, args);
    }
    await ctx.db.insert("batches", { name, count, last: last! });
  },
});

export const afterInAction = action({
  args: { ms: v.number(), name: v.string() },
  returns: v.id("_scheduled_functions"),
  handler: (ctx, { ms, name }) => ctx.scheduler.runAfter(ms, internal.jobs.enter, { name }),
});

export const atInAction = action({
  args: { time: v.number(), name: v.string() },
  handler: (ctx, { time, name }) => ctx.scheduler.runAt(time, internal.calls.act, { name, ms: 0 }),
});

export const cancelInAction = action({
  args: { id: v.id("_scheduled_functions") },
  handler: (ctx, { id }) => ctx.scheduler.cancel(id),
});

export const failsAfterwards = action({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    await ctx.scheduler.runAfter(0, internal.jobs.enter, { name });
    throw new Error("after it has scheduled");
  },
});
