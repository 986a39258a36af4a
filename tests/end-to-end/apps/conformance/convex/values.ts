import { v } from "convex/values";
import { mutation, query } from "./_generated/server";

const any = { value: v.any() };

export const echo = query({ args: any, handler: (_ctx, { value }) => value });

export const echoFromMutation = mutation({ args: any, handler: (_ctx, { value }) => value });

/** Values for which JSON has no form, and others. */
export const some = query({
  args: {},
  handler: () => ({ number: 1.5, int64: 7n, bytes: new Uint8Array([1, 2]).buffer, nan: NaN, none: null }),
});

/** What a value is within a function. */
export const kind = query({
  args: any,
  handler: (_ctx, { value }) => {
    if (value === null) return "null";
    if (Array.isArray(value)) return `array of ${value.length}`;
    if (value instanceof ArrayBuffer) return `ArrayBuffer of ${value.byteLength}`;
    if (Object.is(value, -0)) return "-0";
    return typeof value === "object" ? `object of ${Object.keys(value)}` : `${typeof value} ${value}`;
  },
});

export const keep = mutation({
  args: { set: v.string(), values: v.array(v.any()) },
  handler: async (ctx, { set, values }) => {
    for (const value of values) {
      await ctx.db.insert("kept", { set, value });
    }
  },
});

/** The values of a set in the order of the index. */
export const kept = query({
  args: { set: v.string(), order: v.optional(v.union(v.literal("asc"), v.literal("desc"))) },
  handler: async (ctx, { set, order }) => {
    const all = ctx.db.query("kept").withIndex("by_set_and_value", (range) => range.eq("set", set));
    return (await all.order(order ?? "asc").collect()).map(({ value }) => value);
  },
});

/** The values of a set between two others. */
export const between = query({
  args: { set: v.string(), from: v.any(), to: v.any() },
  handler: async (ctx, { set, from, to }) => {
    const some = ctx.db
      .query("kept")
      .withIndex("by_set_and_value", (range) => range.eq("set", set).gte("value", from).lt("value", to));
    return (await some.collect()).map(({ value }) => value);
  },
});
