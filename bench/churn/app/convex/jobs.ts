import { v } from "convex/values";
import { mutation, query } from "./_generated/server";

/** What else is in the store. */
export const fill = mutation({
  args: { documents: v.number(), bytes: v.number() },
  handler: async (ctx, { documents, bytes }) => {
    for (let i = 0; i < documents; i++) {
      // Different texts: equal ones would be compressed to nothing.
      let text = "";
      while (text.length < bytes) text += Math.random().toString(36).slice(2);
      await ctx.db.insert("others", { text: text.slice(0, bytes) });
    }
  },
});

export const add = mutation({
  args: { from: v.number(), jobs: v.number() },
  handler: async (ctx, { from, jobs }) => {
    for (let i = 0; i < jobs; i++) {
      await ctx.db.insert("jobs", { due: from + i });
      await ctx.db.insert("untouched", { due: from + i });
    }
  },
});

/** Takes the first jobs and adds as many at the end. */
export const turn = mutation({
  args: { from: v.number(), jobs: v.number() },
  handler: async (ctx, { from, jobs }) => {
    const taken = await ctx.db.query("jobs").withIndex("by_due").take(jobs);
    for (const job of taken) await ctx.db.delete(job._id);
    for (let i = 0; i < taken.length; i++) await ctx.db.insert("jobs", { due: from + i });
    return taken.length;
  },
});

/** The first job; the argument makes each call another one, so that no cache answers. */
export const first = query({
  args: { call: v.number() },
  handler: async (ctx) => (await ctx.db.query("jobs").withIndex("by_due").first())?.due ?? null,
});

/** The same of the queue that nobody takes from. */
export const firstUntouched = query({
  args: { call: v.number() },
  handler: async (ctx) => (await ctx.db.query("untouched").withIndex("by_due").first())?.due ?? null,
});
