import { v } from "convex/values";
import { mutation, query } from "./_generated/server";

export const count = query({
  args: { set: v.string() },
  handler: async (ctx, { set }) => (await ctx.db.query("kept").withIndex("by_set_and_value", (range) => range.eq("set", set)).collect()).length,
});

/** Adds one, and answers how many there are. */
export const add = mutation({
  args: { set: v.string() },
  handler: async (ctx, { set }) => {
    const all = await ctx.db.query("kept").withIndex("by_set_and_value", (range) => range.eq("set", set)).collect();
    await ctx.db.insert("kept", { set, value: all.length });
    return all.length + 1;
  },
});

export const clear = mutation({
  args: { set: v.string() },
  handler: async (ctx, { set }) => {
    const all = await ctx.db.query("kept").withIndex("by_set_and_value", (range) => range.eq("set", set)).collect();
    for (const { _id } of all) await ctx.db.delete(_id);
  },
});

/** Fails as soon as there are more than a few. */
export const few = query({
  args: { set: v.string(), most: v.number() },
  handler: async (ctx, { set, most }) => {
    const all = await ctx.db.query("kept").withIndex("by_set_and_value", (range) => range.eq("set", set)).collect();
    if (all.length > most) throw new Error(`more than ${most}`);
    return all.length;
  },
});

export const whoAmI = query({
  args: {},
  handler: async (ctx) => (await ctx.auth.getUserIdentity())?.subject ?? null,
});
