import { makeFunctionReference } from "convex/server";
import { ConvexError, v } from "convex/values";
import { internalMutation, internalQuery, mutation, query } from "./_generated/server";

export const failing = query({
  args: { how: v.string(), data: v.optional(v.any()) },
  handler: (_ctx, { how, data }) => {
    switch (how) {
      case "error":
        throw new RangeError("out of range");
      case "convex error":
        throw new ConvexError(data);
      case "no error":
        throw "a text";
    }
  },
});

export const failingMutation = mutation({
  args: { data: v.any() },
  handler: async (ctx, { data }) => {
    await ctx.db.insert("kept", { set: "never", value: data });
    throw new ConvexError(data);
  },
});

export const typed = query({
  args: { text: v.string(), number: v.optional(v.number()), either: v.optional(v.union(v.literal("a"), v.literal("b"))) },
  returns: v.string(),
  handler: (_ctx, { text }) => text,
});

export const wrongReturn = query({ args: {}, returns: v.string(), handler: () => 7 as unknown as string });

export const nothing = query({ args: {}, handler: () => {} });

export const hidden = internalQuery({ args: {}, handler: () => "seen" });

export const hiddenMutation = internalMutation({
  args: { value: v.any(), fails: v.optional(v.boolean()) },
  handler: async (ctx, { value, fails }) => {
    await ctx.db.insert("kept", { set: "nested", value });
    if (fails) throw new Error("the inner one fails");
  },
});

const inner = makeFunctionReference<"mutation">("calls:hiddenMutation");
const kept = makeFunctionReference<"query">("values:kept");

/** Calls two mutations of which the second fails; what the first wrote stays. */
export const nested = mutation({
  args: {},
  handler: async (ctx) => {
    const before: unknown[] = await ctx.runQuery(kept, { set: "nested" });
    await ctx.runMutation(inner, { value: "kept" });
    const failure = await ctx.runMutation(inner, { value: "lost", fails: true }).catch((error: Error) => error.message);
    const after: unknown[] = await ctx.runQuery(kept, { set: "nested" });
    return { added: after.slice(before.length), failure };
  },
});

export const clock = query({
  args: {},
  handler: async (ctx) => {
    const before = Date.now();
    await ctx.db.query("kept").first();
    return Date.now() - before;
  },
});
