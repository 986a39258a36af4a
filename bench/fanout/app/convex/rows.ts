import { v } from "convex/values";
import { mutation, query } from "./_generated/server";
import type { QueryCtx } from "./_generated/server";

export const open = mutation({
  args: { from: v.number(), to: v.number() },
  handler: async (ctx, { from, to }) => {
    for (let number = from; number < to; number++) {
      await ctx.db.insert("rows", { number, version: 0 });
    }
  },
});

async function row(ctx: QueryCtx, number: number) {
  const found = await ctx.db
    .query("rows")
    .withIndex("by_number", (q) => q.eq("number", number))
    .unique();
  if (found === null) throw new Error(`no row ${number}`);
  return found;
}

/** Answers the row's new version. */
export const touch = mutation({
  args: { number: v.number() },
  handler: async (ctx, { number }) => {
    const { _id, version } = await row(ctx, number);
    await ctx.db.patch(_id, { version: version + 1 });
    return version + 1;
  },
});

export const version = query({
  args: { number: v.number() },
  handler: async (ctx, { number }) => (await row(ctx, number)).version,
});

/** The same, and its result is one user's own, because it has looked at who asks. */
export const versionForMe = query({
  args: { number: v.number() },
  handler: async (ctx, { number }) => {
    if ((await ctx.auth.getUserIdentity()) === null) throw new Error("nobody is signed in");
    return (await row(ctx, number)).version;
  },
});
