import { v } from "convex/values";
import { internal } from "./_generated/api";
import { internalMutation, mutation } from "./_generated/server";

const DAY_MS = 86_400_000;

export const look = internalMutation({ args: {}, handler: async () => null });

export const plan = mutation({
  args: { times: v.number() },
  handler: async (ctx, { times }) => {
    for (let time = 0; time < times; time++) {
      await ctx.scheduler.runAfter(DAY_MS, internal.later.look, {});
    }
  },
});
