import { ConvexError, v } from "convex/values";
import { api } from "./_generated/api";
import { action, mutation, query, type MutationCtx } from "./_generated/server";

async function add(ctx: MutationCtx, name: string) {
  const row = await ctx.db.query("rows").withIndex("by_name", (q) => q.eq("name", name)).unique();
  if (row === null) {
    await ctx.db.insert("rows", { name, count: 1 });
  } else {
    await ctx.db.patch(row._id, { count: row.count + 1 });
  }
}

export const list = query(async (ctx) => (await ctx.db.query("rows").collect()).map(({ name, count }) => ({ name, count })));

export const bump = mutation({ args: { name: v.string() }, handler: (ctx, { name }) => add(ctx, name) });

export const bumpLater = mutation({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    await ctx.scheduler.runAfter(0, api.rows.bump, { name });
  },
});

export const refuse = mutation(async () => {
  throw new ConvexError("no");
});

export const spin = query(async () => {
  for (;;);
});

export const uploadUrl = mutation((ctx) => ctx.storage.generateUploadUrl());

/** What another server has heard of the trace. */
export const ask = action({
  args: { url: v.string() },
  handler: async (ctx, { url }): Promise<string> => {
    await ctx.runMutation(api.rows.bump, { name: "asked" });
    return (await fetch(url)).text();
  },
});
