// What clients count, and two documents that always change together.
import { v } from "convex/values";
import { type MutationCtx, type QueryCtx, mutation, query } from "./_generated/server";
import { once } from "./once";

const SIDES = ["left", "right"];

/** Answers how often this owner has counted, this time included. */
export const count = mutation({
  args: { owner: v.string(), name: v.optional(v.string()) },
  returns: v.number(),
  handler: (ctx, { owner, name }) =>
    once(ctx, name, async () => {
      const counter = await find(ctx, owner);
      if (counter === null) {
        await ctx.db.insert("counters", { owner, count: 1 });
        return 1;
      }
      await ctx.db.patch(counter._id, { count: counter.count + 1 });
      return counter.count + 1;
    }),
});

export const counted = query({
  args: { owner: v.string() },
  returns: v.number(),
  handler: async (ctx, { owner }) => (await find(ctx, owner))?.count ?? 0,
});

/** Moves both sides on, and answers to which version. */
export const step = mutation({
  args: {},
  returns: v.number(),
  handler: async (ctx) => {
    let version = 1;
    for (const side of SIDES) {
      const twin = await twinOf(ctx, side);
      version = (twin?.version ?? 0) + 1;
      await change(ctx, twin, side, version);
    }
    return version;
  },
});

export const version = query({
  args: { side: v.string() },
  returns: v.number(),
  handler: async (ctx, { side }) => (await twinOf(ctx, side))?.version ?? 0,
});

function find(ctx: QueryCtx, owner: string) {
  return ctx.db
    .query("counters")
    .withIndex("by_owner", (range) => range.eq("owner", owner))
    .unique();
}

function twinOf(ctx: QueryCtx, side: string) {
  return ctx.db
    .query("twins")
    .withIndex("by_side", (range) => range.eq("side", side))
    .unique();
}

async function change(ctx: MutationCtx, twin: Awaited<ReturnType<typeof twinOf>>, side: string, version: number) {
  if (twin === null) {
    await ctx.db.insert("twins", { side, version });
  } else {
    await ctx.db.patch(twin._id, { version });
  }
}
