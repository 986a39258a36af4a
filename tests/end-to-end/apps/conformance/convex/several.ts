import { v } from "convex/values";
import { api } from "./_generated/api";
import { action } from "./_generated/server";

/** Adds so many to a set, a mutation each, and answers who asked for it and how many there are. */
export const add = action({
  args: { set: v.string(), times: v.number() },
  handler: async (ctx, { set, times }): Promise<{ by: string | null; count: number }> => {
    for (let added = 0; added < times; added++) await ctx.runMutation(api.live.add, { set });
    return { by: await ctx.runQuery(api.live.whoAmI, {}), count: await ctx.runQuery(api.live.count, { set }) };
  },
});
