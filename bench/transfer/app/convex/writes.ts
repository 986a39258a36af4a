import { v } from "convex/values";
import { mutation } from "./_generated/server";

/** Adds one row: the smallest write, for the benchmark beside etcd and for that of lost leaders. */
export const add = mutation({
  args: { text: v.string() },
  handler: async (ctx, { text }) => {
    await ctx.db.insert("writes", { text });
  },
});
