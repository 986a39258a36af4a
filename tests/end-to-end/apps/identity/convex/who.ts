import { v } from "convex/values";
import { mutation, query } from "./_generated/server";

/** Who asks. */
export const am = query({
  args: {},
  handler: async (ctx) => await ctx.auth.getUserIdentity(),
});

/** Writes down who asks. */
export const sign = mutation({
  args: {},
  returns: v.null(),
  handler: async (ctx) => {
    const identity = await ctx.auth.getUserIdentity();
    await ctx.db.insert("signatures", { by: identity?.subject ?? "nobody" });
    return null;
  },
});

/** Who asks, and who has signed: another result with each signature. */
export const board = query({
  args: {},
  handler: async (ctx) => {
    const identity = await ctx.auth.getUserIdentity();
    const signatures = await ctx.db.query("signatures").collect();
    return { me: identity?.subject ?? "nobody", turn: identity?.turn ?? null, signatures: signatures.map(({ by }) => by) };
  },
});
