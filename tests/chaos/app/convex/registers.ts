// Registers: each write reads what was there before, and says so.
import { v } from "convex/values";
import { type QueryCtx, mutation, query } from "./_generated/server";

const value = v.union(v.string(), v.null());

/** Writes to some of the keys, and answers what all of them had before. */
export const write = mutation({
  args: { keys: v.array(v.number()), written: v.array(value) },
  returns: v.array(value),
  handler: async (ctx, { keys, written }) => {
    const before = [];
    for (const [position, key] of keys.entries()) {
      const register = await find(ctx, key);
      before.push(register?.value ?? null);
      const value = written[position];
      if (value === null || value === undefined) {
        continue;
      }
      if (register === null) {
        await ctx.db.insert("registers", { key, value });
      } else {
        await ctx.db.patch(register._id, { value });
      }
    }
    return before;
  },
});

export const read = query({
  args: { keys: v.array(v.number()) },
  returns: v.array(value),
  handler: async (ctx, { keys }) => {
    const values = [];
    for (const key of keys) {
      values.push((await find(ctx, key))?.value ?? null);
    }
    return values;
  },
});

function find(ctx: QueryCtx, key: number) {
  return ctx.db
    .query("registers")
    .withIndex("by_key", (range) => range.eq("key", key))
    .unique();
}
