// What runs later.
import { createFunctionHandle, makeFunctionReference } from "convex/server";
import { v } from "convex/values";
import { api, internal } from "./_generated/api";
import { action, internalAction, internalMutation, internalQuery, mutation, query } from "./_generated/server";

const named = { name: v.string() };
const HOUR_MS = 3_600_000;

export const enter = internalMutation({
  args: named,
  handler: async (ctx, { name }) => {
    await ctx.db.insert("entries", { name });
  },
});

export const enterByAction = internalAction({
  args: named,
  handler: async (ctx, { name }) => {
    await ctx.runMutation(internal.schedules.enter, { name });
  },
});

export const fail = internalMutation({
  args: named,
  handler: async (ctx, { name }) => {
    await ctx.db.insert("entries", { name });
    throw new RangeError("too late");
  },
});

export const look = internalQuery({ args: named, handler: () => null });

/** Goes on by itself. */
export const chain = internalMutation({
  args: { name: v.string(), left: v.number() },
  handler: async (ctx, { name, left }) => {
    await ctx.db.insert("entries", { name });
    if (left > 1) {
      await ctx.scheduler.runAfter(0, internal.schedules.chain, { name, left: left - 1 });
    }
  },
});

/** Writes down in which state it sees the job that it is. */
export const seesItself = internalMutation({
  args: named,
  handler: async (ctx, { name }) => {
    const { scheduledFunctionId } = await ctx.meta.getRequestMetadata();
    const job = await ctx.db.system.get(scheduledFunctionId as any);
    await ctx.db.insert("entries", { name: `${name}: ${(job as any).state.kind}` });
  },
});

export const seesItselfByAction = internalAction({
  args: named,
  handler: async (ctx, { name }) => {
    const { scheduledFunctionId } = await ctx.meta.getRequestMetadata();
    const job: any = await ctx.runQuery(api.schedules.job, { id: scheduledFunctionId as any });
    await ctx.runMutation(internal.schedules.enter, { name: `${name}: ${job.state.kind}` });
  },
});

export const cancelsItself = internalMutation({
  args: named,
  handler: async (ctx, { name }) => {
    const { scheduledFunctionId } = await ctx.meta.getRequestMetadata();
    await ctx.scheduler.cancel(scheduledFunctionId as any);
    await ctx.db.insert("entries", { name });
  },
});

/** Schedules any function. */
const scheduling = {
  args: { path: v.string(), ms: v.number(), value: v.any() },
  handler: (ctx: any, { path, ms, value }: { path: string; ms: number; value: any }) =>
    ctx.scheduler.runAfter(ms, makeFunctionReference<"mutation">(path), value),
};
export const byMutation = mutation(scheduling);
export const byAction = action(scheduling);

/** Schedules an entry for a time, which may be a number or a Date. */
export const at = mutation({
  args: { time: v.number(), isDate: v.boolean(), name: v.string() },
  handler: (ctx, { time, isDate, name }) => ctx.scheduler.runAt(isDate ? new Date(time) : time, internal.schedules.enter, { name }),
});

export const byHandle = mutation({
  args: named,
  handler: async (ctx, { name }) => {
    return ctx.scheduler.runAfter(0, await createFunctionHandle(internal.schedules.enter), { name });
  },
});

export const andFails = mutation({
  args: named,
  handler: async (ctx, { name }) => {
    await ctx.scheduler.runAfter(HOUR_MS, internal.schedules.enter, { name });
    throw new RangeError("changed its mind");
  },
});

/** Calls one that schedules and fails, and goes on. */
export const andCatches = mutation({
  args: named,
  handler: async (ctx, { name }) => {
    await ctx.runMutation(api.schedules.andFails, { name }).catch(() => {});
    return ctx.scheduler.runAfter(HOUR_MS, internal.schedules.enter, { name });
  },
});

export const andFailsByAction = action({
  args: named,
  handler: async (ctx, { name }) => {
    await ctx.scheduler.runAfter(0, internal.schedules.enter, { name });
    throw new RangeError("changed its mind");
  },
});

export const many = mutation({
  args: { name: v.string(), count: v.number() },
  handler: async (ctx, { name, count }) => {
    for (let scheduled = 0; scheduled < count; scheduled++) {
      await ctx.scheduler.runAfter(HOUR_MS, internal.schedules.enter, { name });
    }
  },
});

const cancelling = {
  args: { id: v.string() },
  handler: (ctx: any, { id }: { id: string }) => ctx.scheduler.cancel(id),
};
export const cancelByMutation = mutation(cancelling);
export const cancelByAction = action(cancelling);

export const job = query({ args: { id: v.id("_scheduled_functions") }, handler: (ctx, { id }) => ctx.db.system.get(id) });

/** The states of the newest jobs that make an entry of that name. */
export const ofName = query({
  args: named,
  handler: async (ctx, { name }) => {
    const newest = await ctx.db.system.query("_scheduled_functions").order("desc").take(100);
    return newest.filter(({ args }) => args[0].name === name).map(({ state }) => state.kind);
  },
});
