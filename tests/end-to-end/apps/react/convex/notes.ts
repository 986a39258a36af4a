import { paginationOptsValidator } from "convex/server";
import { v } from "convex/values";
import { mutation, query } from "./_generated/server";

export const add = mutation({
  args: { text: v.string() },
  handler: async (ctx, { text }) => {
    const identity = await ctx.auth.getUserIdentity();
    await ctx.db.insert("notes", { text, author: identity?.subject ?? null });
  },
});

export const count = query({ args: {}, handler: async (ctx) => (await ctx.db.query("notes").collect()).length });

export const pages = query({
  args: { paginationOpts: paginationOptsValidator },
  handler: (ctx, { paginationOpts }) => ctx.db.query("notes").order("desc").paginate(paginationOpts),
});

export const mine = query({
  args: {},
  handler: async (ctx) => {
    const identity = await ctx.auth.getUserIdentity();
    if (identity === null) return null;
    const notes = await ctx.db.query("notes").collect();
    return { user: identity.subject, session: identity.sid ?? null, notes: notes.filter(({ author }) => author === identity.subject).length };
  },
});

/** Refuses what it does not like. */
export const addShort = mutation({
  args: { text: v.string() },
  handler: async (ctx, { text }) => {
    if (text.length > 10) throw new Error("too long");
    await ctx.db.insert("notes", { text, author: null });
  },
});
