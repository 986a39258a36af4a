import { v } from "convex/values";
import { action, mutation } from "./_generated/server";

export const nothing = action({ args: {}, handler: async () => null });

/** It neither reads nor writes, so that it commits nothing. */
export const nothingInTransaction = mutation({ args: {}, handler: async () => null });

/** Waits for a server that takes its time. */
export const wait = action({
  args: { url: v.string() },
  handler: async (_ctx, { url }) => (await fetch(url)).text(),
});

export const write = mutation({
  args: {},
  handler: async (ctx) => {
    await ctx.db.insert("written", {});
  },
});
