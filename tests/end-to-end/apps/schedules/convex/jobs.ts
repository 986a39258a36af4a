import { v } from "convex/values";
import { internal } from "./_generated/api";
import { internalMutation, mutation, query } from "./_generated/server";

/** What is scheduled: it leaves a trace. */
export const enter = internalMutation({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    await ctx.db.insert("entries", { name });
  },
});

export const fail = internalMutation({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    await ctx.db.insert("entries", { name });
    throw new Error(`${name} fails`);
  },
});

/** Goes on by itself, as the loops of published components do. */
export const count = internalMutation({
  args: { name: v.string(), left: v.number() },
  handler: async (ctx, { name, left }) => {
    await ctx.db.insert("entries", { name: `${name} ${left}` });
    if (left > 1) {
      await ctx.scheduler.runAfter(0, internal.jobs.count, { name, left: left - 1 });
    }
  },
});

export const after = mutation({
  args: { ms: v.number(), name: v.string() },
  returns: v.id("_scheduled_functions"),
  handler: (ctx, { ms, name }) => ctx.scheduler.runAfter(ms, internal.jobs.enter, { name }),
});

export const at = mutation({
  args: { time: v.number(), name: v.string() },
  returns: v.id("_scheduled_functions"),
  handler: (ctx, { time, name }) => ctx.scheduler.runAt(new Date(time), internal.jobs.enter, { name }),
});

export const failing = mutation({
  args: { name: v.string() },
  handler: (ctx, { name }) => ctx.scheduler.runAfter(0, internal.jobs.fail, { name }),
});

export const counting = mutation({
  args: { name: v.string(), count: v.number() },
  handler: (ctx, { name, count }) => ctx.scheduler.runAfter(0, internal.jobs.count, { name, left: count }),
});

export const cancel = mutation({
  args: { id: v.id("_scheduled_functions") },
  handler: (ctx, { id }) => ctx.scheduler.cancel(id),
});

/** Schedules several over the next so many milliseconds, and notes that it has. */
export const batch = mutation({
  args: { name: v.string(), count: v.number(), ms: v.number() },
  handler: async (ctx, { name, count, ms }) => {
    let last;
    for (let number = 0; number < count; number++) {
      last = await ctx.scheduler.runAfter((ms * number) / count, internal.jobs.enter, { name: `${name} ${number}` });
    }
    await ctx.db.insert("batches", { name, count, last: last! });
  },
});

export const batches = query({ args: {}, handler: (ctx) => ctx.db.query("batches").collect() });

export const job = query({
  args: { id: v.id("_scheduled_functions") },
  handler: (ctx, { id }) => ctx.db.system.get(id),
});

export const newest = query({
  args: {},
  handler: (ctx) => ctx.db.system.query("_scheduled_functions").order("desc").take(5),
});

/** The first of the jobs that still wait; it is enough to look at those of the batches' ends. */
export const waiting = query({
  args: {},
  handler: async (ctx) => {
    for (const { last } of await ctx.db.query("batches").collect()) {
      const job = await ctx.db.system.get(last);
      if (job?.state.kind === "pending") {
        return job._id;
      }
    }
    return null;
  },
});

export const names = query({
  args: { from: v.string(), to: v.string() },
  handler: async (ctx, { from, to }) => {
    const entries = await ctx.db
      .query("entries")
      .withIndex("by_name", (q) => q.gte("name", from).lt("name", to))
      .collect();
    return entries.map(({ name }) => name);
  },
});

export const pendingPage = query({
  args: { cursor: v.union(v.string(), v.null()) },
  handler: async (ctx, { cursor }) => {
    const page = await ctx.db.system.query("_scheduled_functions").paginate({ cursor, numItems: 1000 });
    return { ...page, page: page.page.map(({ state }) => state.kind) };
  },
});

export const statesPage = query({
  args: { cursor: v.union(v.string(), v.null()) },
  handler: async (ctx, { cursor }) => {
    const page = await ctx.db.system.query("_scheduled_functions").paginate({ cursor, numItems: 1000 });
    return { ...page, page: page.page.map(({ args, state }) => ({ name: args[0].name, state })) };
  },
});
