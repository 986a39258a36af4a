import { v } from "convex/values";
import { internalMutation, query } from "./_generated/server";

export const list = query(async (ctx) => (await ctx.db.query("notes").collect()).map(({ text }) => text));

export const who = query(async (ctx) => (await ctx.auth.getUserIdentity())?.subject ?? "nobody");

export const add = internalMutation({
  args: { text: v.string() },
  handler: (ctx, { text }) => ctx.db.insert("notes", { text }),
});
