import { v } from "convex/values";
import { internal } from "./_generated/api";
import { internalAction, internalMutation, mutation, query } from "./_generated/server";

export const work = internalMutation({
  args: { scheduled: v.number() },
  handler: async (ctx, { scheduled }) => {
    await ctx.db.insert("done", { scheduled, begun: Date.now() });
  },
});

export const act = internalAction({ args: { scheduled: v.number() }, handler: async () => {} });

/** Schedules so many functions for a moment. */
export const schedule = mutation({
  args: { what: v.union(v.literal("work"), v.literal("act")), count: v.number(), time: v.number() },
  handler: async (ctx, { what, count, time }) => {
    for (let i = 0; i < count; i++) await ctx.scheduler.runAt(time, internal.jobs[what], { scheduled: time });
  },
});

/** Schedules one for now. */
export const now = mutation({
  args: {},
  handler: async (ctx) => {
    await ctx.scheduler.runAfter(0, internal.jobs.work, { scheduled: Date.now() });
    return Date.now();
  },
});

/** How many milliseconds after the beginning of the function that scheduled it the last one has begun; null if it has not. */
export const delay = query({
  args: { scheduled: v.number() },
  handler: async (ctx, { scheduled }) => {
    const last = await ctx.db.query("done").withIndex("by_begun").order("desc").first();
    return last !== null && last.scheduled >= scheduled ? last.begun - last.scheduled : null;
  },
});

/** When the functions ended that are on a page, and how many there still wait that are due. */
export const page = query({
  args: { cursor: v.union(v.string(), v.null()), due: v.number() },
  handler: async (ctx, { cursor, due }) => {
    const { page, isDone, continueCursor } = await ctx.db.system
      .query("_scheduled_functions")
      .order("desc")
      .paginate({ cursor, numItems: 2000 });
    const concerned = page.filter(({ scheduledTime }) => scheduledTime === due);
    const ends = concerned.flatMap(({ completedTime }) => (completedTime === undefined ? [] : [completedTime]));
    return {
      waiting: concerned.length - ends.length,
      ended: ends.length,
      last: ends.reduce((one, other) => Math.max(one, other), 0),
      isDone: isDone || concerned.length < page.length,
      continueCursor,
    };
  },
});
