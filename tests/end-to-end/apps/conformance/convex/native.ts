"use node";
// What actions in Node.js do.
import { createHash } from "node:crypto";
import { gunzipSync, gzipSync } from "node:zlib";
import type { RequestMetadata } from "convex/server";
import { ConvexError, v } from "convex/values";
import { api, internal } from "./_generated/api";
import { action, internalAction } from "./_generated/server";

const named = { name: v.string() };

export const echo = action({ args: { value: v.any() }, handler: async (_ctx, { value }) => value });

export const nothing = action({ args: {}, handler: async () => {} });

export const typed = action({ args: { text: v.string() }, returns: v.string(), handler: async () => 7 as unknown as string });

export const hidden = internalAction({ args: {}, handler: async () => "seen" });

export const host = action({
  args: {},
  handler: async () => ({ name: process.release.name, major: Number(process.versions.node.split(".")[0]), buffer: typeof Buffer }),
});

export const computes = action({
  args: { text: v.string() },
  handler: async (_ctx, { text }) => [createHash("sha256").update(text).digest("hex"), gunzipSync(gzipSync(text)).toString()],
});

export const enter = internalAction({
  args: named,
  handler: async (ctx, { name }) => {
    await ctx.runMutation(internal.schedules.enter, { name });
  },
});

export const calls = action({
  args: named,
  handler: async (ctx, { name }): Promise<[number, number]> => {
    await ctx.runMutation(internal.schedules.enter, { name });
    const entered: number = await ctx.runQuery(api.actions.count, { name });
    return [entered, await ctx.runAction(internal.actions.double, { number: entered })];
  },
});

export const schedules = action({
  args: named,
  handler: (ctx, { name }) => ctx.scheduler.runAfter(0, internal.native.enter, { name }),
});

export const entersAndFails = action({
  args: named,
  handler: async (ctx, { name }) => {
    await ctx.runMutation(internal.schedules.enter, { name });
    throw new RangeError("too far");
  },
});

export const refuses = action({
  args: {},
  handler: async () => {
    throw new ConvexError({ reason: "full", at: 7n });
  },
});

export const catches = action({
  args: named,
  handler: async (ctx, { name }) => {
    try {
      await ctx.runMutation(internal.actions.refuse, { name });
    } catch (error) {
      return error instanceof ConvexError ? error.data : `${error}`;
    }
  },
});

/** Keeps bytes as a file, reads it, and deletes it. */
export const keeps = action({
  args: { bytes: v.bytes() },
  handler: async (ctx, { bytes }) => {
    const file = await ctx.storage.store(new Blob([bytes], { type: "application/x-tide" }));
    const kept = await ctx.storage.get(file);
    await ctx.storage.delete(file);
    return [await kept!.arrayBuffer(), kept!.type, await ctx.storage.get(file)];
  },
});

export const exits = action({ args: {}, handler: async () => process.exit(3) });

export const asks = action({ args: { url: v.string() }, handler: async (_ctx, { url }) => (await fetch(url)).json() });

export const variables = action({
  args: { names: v.array(v.string()) },
  handler: async (_ctx, { names }) => names.map((name) => process.env[name] ?? null),
});

export const am = action({ args: {}, handler: async (ctx) => (await ctx.auth.getUserIdentity())?.subject ?? null });

export const request = action({ args: {}, handler: (ctx): Promise<RequestMetadata> => ctx.meta.getRequestMetadata() });
