import { v } from "convex/values";
import { internalMutation, mutation, query } from "./_generated/server";

export const list = query({
  args: { kind: v.optional(v.union(v.literal("sail"), v.literal("motor"))) },
  handler: async (ctx, { kind }) => {
    const boats = await ctx.db.query("boats").withIndex("by_name").collect();
    console.log(`${boats.length} boats are known`);
    return boats.filter((boat) => kind === undefined || boat.kind === kind).map(({ name, lengthMeters }) => ({ name, lengthMeters }));
  },
});

export const register = mutation({
  args: {
    name: v.string(),
    kind: v.union(v.literal("sail"), v.literal("motor")),
    lengthMeters: v.number(),
    flag: v.optional(v.string()),
  },
  returns: v.id("boats"),
  handler: async (ctx, boat) => {
    console.info("registering", boat.name);
    return await ctx.db.insert("boats", boat);
  },
});

/** For the harbour's own jobs. */
export const count = internalMutation({
  args: {},
  handler: async (ctx) => {
    const boats = await ctx.db.query("boats").collect();
    console.log("counted", boats.length);
    return boats.length;
  },
});
