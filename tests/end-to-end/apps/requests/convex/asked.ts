import type { RequestMetadata } from "convex/server";
import { v } from "convex/values";
import { internal } from "./_generated/api";
import type { Id } from "./_generated/dataModel";
import { action, internalAction, internalMutation, mutation, query } from "./_generated/server";

/** What functions see of the request: one after the other, each called by the one before. */
type Seen = RequestMetadata[];

export const within = internalMutation({
  args: {},
  handler: async (ctx): Promise<Seen> => [await ctx.meta.getRequestMetadata()],
});

export const inMutation = mutation({
  args: {},
  handler: async (ctx): Promise<Seen> => [await ctx.meta.getRequestMetadata(), ...(await ctx.runMutation(internal.asked.within, {}))],
});

export const inAction = action({
  args: {},
  handler: async (ctx): Promise<Seen> => [await ctx.meta.getRequestMetadata(), ...(await ctx.runMutation(internal.asked.within, {}))],
});

export const throughAction = internalAction({
  args: {},
  handler: async (ctx): Promise<void> => {
    await ctx.runMutation(internal.asked.note, {});
  },
});

export const note = internalMutation({
  args: {},
  handler: async (ctx): Promise<void> => {
    await ctx.db.insert("notes", { seen: await ctx.meta.getRequestMetadata() });
  },
});

/** Schedules a mutation, and an action that calls the same. */
export const later = mutation({
  args: {},
  returns: v.array(v.id("_scheduled_functions")),
  handler: async (ctx): Promise<Id<"_scheduled_functions">[]> => [
    await ctx.scheduler.runAfter(0, internal.asked.note, {}),
    await ctx.scheduler.runAfter(0, internal.asked.throughAction, {}),
  ],
});

export const notes = query({
  args: {},
  handler: async (ctx): Promise<Seen> => (await ctx.db.query("notes").collect()).map(({ seen }) => seen),
});
