// Well-behaved functions, which are called beside the others.
import { v } from "convex/values";
import { mutation, query } from "./_generated/server";

export const add = mutation({
  args: { text: v.string() },
  handler: async (ctx, { text }) => {
    await ctx.db.insert("messages", { text });
  },
});

export const latest = query({
  args: {},
  handler: async (ctx) => (await ctx.db.query("messages").order("desc").take(10)).map(({ text }) => text as string),
});

export const count = query({ args: {}, handler: async (ctx) => (await ctx.db.query("messages").collect()).length });
