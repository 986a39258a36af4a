import { paginationOptsValidator } from "convex/server";
import { ConvexError, v } from "convex/values";
import { api } from "./_generated/api";
import { action, mutation, query } from "./_generated/server";

export const add = mutation({
  args: { text: v.string() },
  handler: async (ctx, { text }) => {
    const identity = await ctx.auth.getUserIdentity();
    await ctx.db.insert("notes", { text, author: identity?.subject ?? null });
  },
});

export const count = query({ args: {}, handler: async (ctx) => (await ctx.db.query("notes").collect()).length });

export const texts = query({
  args: {},
  handler: async (ctx) => (await ctx.db.query("notes").collect()).map(({ text }) => text),
});

export const pages = query({
  args: { paginationOpts: paginationOptsValidator },
  handler: (ctx, { paginationOpts }) => ctx.db.query("notes").withIndex("by_text").paginate(paginationOpts),
});

/** Adds each of these notes that is not there, and removes each that is. */
export const toggle = mutation({
  args: { texts: v.array(v.string()) },
  handler: async (ctx, { texts }) => {
    for (const text of texts) {
      const note = await ctx.db.query("notes").withIndex("by_text", (range) => range.eq("text", text)).unique();
      await (note === null ? ctx.db.insert("notes", { text, author: null }) : ctx.db.delete(note._id));
    }
  },
});

export const mine = query({
  args: {},
  handler: async (ctx) => {
    const identity = await ctx.auth.getUserIdentity();
    if (identity === null) return null;
    const notes = await ctx.db.query("notes").collect();
    const { subject: user, sid: session = null, org_id, o } = identity;
    const organization = org_id ?? (o as { id: string } | undefined)?.id ?? null;
    return { user, session, organization, notes: notes.filter(({ author }) => author === user).length };
  },
});

/** Trims what it adds, and refuses what does not fit. */
export const addShort = mutation({
  args: { text: v.string() },
  handler: async (ctx, { text }) => {
    if (text.length > 10) throw new Error("too long");
    await ctx.db.insert("notes", { text: text.trim(), author: null });
  },
});

/** Adds the notes in the caller's name, a mutation each, and answers whose they are. */
export const addAll = action({
  args: { texts: v.array(v.string()) },
  handler: async (ctx, { texts }): Promise<{ by: string | null; notes: number }> => {
    if (texts.length === 0) throw new ConvexError({ missing: "texts" });
    for (const text of texts) await ctx.runMutation(api.notes.add, { text });
    const identity = await ctx.auth.getUserIdentity();
    return { by: identity?.subject ?? null, notes: await ctx.runQuery(api.notes.count, {}) };
  },
});

/** Adds a note, and stays longer than any test. */
export const linger = action({
  args: {},
  handler: async (ctx) => {
    await ctx.runMutation(api.notes.add, { text: "lingering" });
    await new Promise((resolve) => setTimeout(resolve, 500_000));
  },
});
