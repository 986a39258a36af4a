// What actions may do besides running, and what runs later.
import { v } from "convex/values";
import { api, internal } from "./_generated/api";
import { action, internalAction, internalMutation, mutation, query } from "./_generated/server";

export const enter = internalMutation({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    await ctx.db.insert("entries", { name });
  },
});

export const enterByAction = internalAction({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    await ctx.runMutation(internal.later.enter, { name });
  },
});

const targets = { enter: internal.later.enter, enterByAction: internal.later.enterByAction };

const scheduling = {
  args: { target: v.union(v.literal("enter"), v.literal("enterByAction")), ms: v.number(), name: v.string() },
  handler: (ctx: any, { target, ms, name }: { target: keyof typeof targets; ms: number; name: string }) =>
    ctx.scheduler.runAfter(ms, targets[target], { name }),
};

export const scheduleByMutation = mutation(scheduling);
export const scheduleByAction = action(scheduling);

export const cancelByMutation = mutation({
  args: { id: v.id("_scheduled_functions") },
  handler: (ctx, { id }) => ctx.scheduler.cancel(id),
});

export const cancelByAction = action({
  args: { id: v.id("_scheduled_functions") },
  handler: (ctx, { id }) => ctx.scheduler.cancel(id),
});

export const isThere = query({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    const entry = await ctx.db
      .query("entries")
      .withIndex("by_name", (q) => q.eq("name", name))
      .first();
    return entry !== null;
  },
});

export const kind = query({
  args: { id: v.id("_scheduled_functions") },
  handler: async (ctx, { id }) => (await ctx.db.system.get(id))?.state.kind ?? null,
});

export const keep = action({
  args: { bytes: v.bytes() },
  handler: (ctx, { bytes }) => ctx.storage.store(new Blob([bytes], { type: "application/x-tide" })),
});

export const read = action({
  args: { file: v.id("_storage") },
  handler: async (ctx, { file }) => {
    const blob = await ctx.storage.get(file);
    return blob === null ? null : { type: blob.type, bytes: await blob.arrayBuffer() };
  },
});

export const remove = action({
  args: { file: v.id("_storage") },
  handler: (ctx, { file }) => ctx.storage.delete(file),
});

export const calls = action({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    await ctx.runMutation(internal.later.enter, { name });
    return await ctx.runQuery(api.later.isThere, { name });
  },
});
