import { ConvexError, v } from "convex/values";
import { internalMutation, internalQuery, mutation, query } from "./_generated/server";

export const list = query(async (ctx) => (await ctx.db.query("notes").collect()).map(({ text }) => text));

export const add = mutation({
  args: { text: v.string() },
  handler: (ctx, { text }) => ctx.db.insert("notes", { text }),
});

export const addSecretly = internalMutation({
  args: { text: v.string() },
  handler: (ctx, { text }) => ctx.db.insert("notes", { text }),
});

export const count = internalQuery(async (ctx) => (await ctx.db.query("notes").collect()).length);

export const refuse = mutation(async (ctx) => {
  await ctx.db.insert("notes", { text: "never" });
  throw new ConvexError({ reason: "full" });
});
