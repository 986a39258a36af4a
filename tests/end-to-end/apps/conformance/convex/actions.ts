// What actions do: what they call, what they wait for, how they fail.
import { makeFunctionReference } from "convex/server";
import { ConvexError, v } from "convex/values";
import { api, internal } from "./_generated/api";
import { action, internalAction, internalMutation, query } from "./_generated/server";

const any = { value: v.any() };
const named = { name: v.string() };

export const echo = action({ args: any, handler: async (_ctx, { value }) => value });

export const nothing = action({ args: {}, handler: async () => {} });

export const typed = action({ args: { text: v.string() }, returns: v.string(), handler: async () => 7 as unknown as string });

export const hidden = internalAction({ args: {}, handler: async () => "seen" });

export const double = internalAction({ args: { number: v.number() }, handler: async (_ctx, { number }) => 2 * number });

export const refuse = internalMutation({
  args: named,
  handler: async (ctx, { name }) => {
    await ctx.db.insert("entries", { name });
    throw new ConvexError({ reason: "full", at: 7n });
  },
});

/** How many entries have that name. */
export const count = query({
  args: named,
  handler: async (ctx, { name }) => {
    const entries = ctx.db.query("entries").withIndex("by_name", (q) => q.eq("name", name));
    return (await entries.collect()).length;
  },
});

/** Whether time passes while it waits. */
export const clock = action({
  args: {},
  handler: async () => {
    const before = Date.now();
    await new Promise((done) => setTimeout(done, 50));
    return Date.now() > before;
  },
});

export const random = action({ args: {}, handler: async () => [Math.random(), crypto.randomUUID()] });

export const calls = action({
  args: named,
  handler: async (ctx, { name }): Promise<[number, number]> => {
    await ctx.runMutation(internal.schedules.enter, { name });
    const entered: number = await ctx.runQuery(api.actions.count, { name });
    return [entered, await ctx.runAction(internal.actions.double, { number: entered })];
  },
});

export const callsAtOnce = action({
  args: named,
  handler: async (ctx, { name }) => {
    await Promise.all(Array.from({ length: 20 }, () => ctx.runMutation(internal.schedules.enter, { name })));
  },
});

export const callsAndLeaves = action({
  args: named,
  handler: async (ctx, { name }) => {
    void ctx.runMutation(internal.schedules.enter, { name });
  },
});

export const entersAndFails = action({
  args: named,
  handler: async (ctx, { name }) => {
    await ctx.runMutation(internal.schedules.enter, { name });
    throw new RangeError("too far");
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

export const refused = action({ args: named, handler: (ctx, { name }) => ctx.runMutation(internal.actions.refuse, { name }) });

/** Calls any function as one of a kind. */
export const callsAs = action({
  args: { kind: v.string(), path: v.string(), value: v.any() },
  handler: (ctx, { kind, path, value }) => {
    switch (kind) {
      case "query":
        return ctx.runQuery(makeFunctionReference<"query">(path), value);
      case "mutation":
        return ctx.runMutation(makeFunctionReference<"mutation">(path), value);
      default:
        return ctx.runAction(makeFunctionReference<"action">(path), value);
    }
  },
});

/** Longer than a test. */
export const waits = action({ args: {}, handler: () => new Promise<null>((resolve) => setTimeout(() => resolve(null), 300_000)) });

export const never = action({ args: {}, handler: () => new Promise<null>(() => {}) });

export const unhandled = action({
  args: {},
  handler: async () => {
    void Promise.reject(new RangeError("nobody handles this"));
  },
});

/** Asks another server. */
export const asks = action({
  args: { url: v.string(), method: v.string(), body: v.optional(v.string()) },
  handler: async (_ctx, { url, method, body }) => {
    const response = await fetch(url, { method, body, headers: { "X-From": "an action" } });
    return { status: response.status, type: response.headers.get("content-type"), body: await response.json() };
  },
});

export const givesUp = action({
  args: { url: v.string() },
  handler: (_ctx, { url }) =>
    fetch(url, { signal: AbortSignal.timeout(50) }).then(
      () => "answered",
      (error) => error.name,
    ),
});

/** Makes a key, signs with it and verifies that: each time another signature. */
export const signs = action({
  args: {},
  handler: async () => {
    const ecdsa = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
    const { privateKey, publicKey } = await crypto.subtle.generateKey(ecdsa, false, ["sign", "verify"]);
    const data = new TextEncoder().encode("the tide");
    const signature = await crypto.subtle.sign(ecdsa, privateKey, data);
    return crypto.subtle.verify(ecdsa, publicKey, signature, data);
  },
});
