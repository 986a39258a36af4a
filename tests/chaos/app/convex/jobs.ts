// Scheduled functions that leave a trace each time they run.
import { v } from "convex/values";
import { internal } from "./_generated/api";
import { internalAction, internalMutation, mutation } from "./_generated/server";

/** Schedules a mutation and an action, and notes that it has. */
export const plan = mutation({
  args: { name: v.string(), ms: v.number() },
  returns: v.null(),
  handler: async (ctx, { name, ms }) => {
    const action = await ctx.scheduler.runAfter(ms, internal.jobs.act, { name });
    const mutation = await ctx.scheduler.runAfter(ms, internal.jobs.enter, { name, kind: "mutation" });
    await ctx.db.insert("plans", { name, mutation, action });
    return null;
  },
});

export const enter = internalMutation({
  args: { name: v.string(), kind: v.string() },
  returns: v.null(),
  handler: async (ctx, run) => {
    await ctx.db.insert("runs", run);
    return null;
  },
});

export const act = internalAction({
  args: { name: v.string() },
  returns: v.null(),
  handler: async (ctx, { name }): Promise<null> => ctx.runMutation(internal.jobs.enter, { name, kind: "action" }),
});
