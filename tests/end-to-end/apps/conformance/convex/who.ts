// Who asks.
import type { RequestMetadata } from "convex/server";
import { v } from "convex/values";
import { api, internal } from "./_generated/api";
import { action, internalMutation, mutation, query } from "./_generated/server";

const subject = async (ctx: any) => (await ctx.auth.getUserIdentity())?.subject ?? null;

export const am = query({ args: {}, handler: subject });
export const amInMutation = mutation({ args: {}, handler: subject });
export const amInAction = action({ args: {}, handler: subject });

/** All that is known. */
export const identity = query({ args: {}, handler: (ctx) => ctx.auth.getUserIdentity() });

/** Who asks, as functions see it that an action calls. */
export const amWithin = action({
  args: {},
  handler: async (ctx): Promise<(string | null)[]> => [
    await ctx.runQuery(api.who.am),
    await ctx.runMutation(api.who.amInMutation),
    await ctx.runAction(api.who.amInAction),
    await ctx.runAction(api.native.am),
  ],
});

/** Who asks, as a function sees it that is called in the same transaction. */
export const amNested = query({ args: {}, handler: async (ctx): Promise<string | null> => ctx.runQuery(api.who.am) });

/** Where the request comes from, as a mutation sees it; an action; and what an action calls. */
export const request = mutation({ args: {}, handler: (ctx): Promise<RequestMetadata> => ctx.meta.getRequestMetadata() });
export const requestOfAction = action({ args: {}, handler: (ctx): Promise<RequestMetadata> => ctx.meta.getRequestMetadata() });
export const requestWithin = action({
  args: {},
  handler: async (ctx): Promise<RequestMetadata[]> => [
    await ctx.meta.getRequestMetadata(),
    await ctx.runMutation(api.who.request),
    await ctx.runAction(api.who.requestOfAction),
    await ctx.runAction(api.native.request),
  ],
});

export const sign = internalMutation({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    await ctx.db.insert("entries", { name: `${name}: ${(await subject(ctx)) ?? "nobody"}` });
  },
});

export const schedules = mutation({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    await ctx.scheduler.runAfter(0, internal.who.sign, { name });
    return subject(ctx);
  },
});
