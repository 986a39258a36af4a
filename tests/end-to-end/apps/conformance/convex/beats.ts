// What cron jobs run.
import { v } from "convex/values";
import { api, internal } from "./_generated/api";
import { internalAction, internalMutation, internalQuery } from "./_generated/server";

const named = { name: v.string() };

export const beat = internalMutation({
  args: named,
  handler: async (ctx, { name }): Promise<number> => {
    await ctx.db.insert("entries", { name });
    console.log("beat", name);
    return ctx.runQuery(api.actions.count, { name });
  },
});

export const fail = internalMutation({
  args: named,
  handler: async (ctx, { name }) => {
    await ctx.db.insert("entries", { name });
    throw new RangeError("off the beat");
  },
});

export const act = internalAction({
  args: named,
  handler: async (ctx, { name }): Promise<number> => ctx.runMutation(internal.beats.beat, { name }),
});

export const look = internalQuery({ args: {}, handler: () => null });
