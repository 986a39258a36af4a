import { v } from "convex/values";
import { mutation, query } from "./_generated/server";

/** Appends an entry and answers its number; numbers begin at 1 and have no gaps. */
export const append = mutation({
  args: { text: v.string() },
  returns: v.number(),
  handler: async (ctx, { text }) => {
    const last = await ctx.db.query("entries").withIndex("by_number").order("desc").first();
    const number = (last?.number ?? 0) + 1;
    await ctx.db.insert("entries", { number, text });
    return number;
  },
});

export const list = query({
  args: {},
  returns: v.array(v.string()),
  handler: async (ctx) => {
    const entries = await ctx.db.query("entries").withIndex("by_number").collect();
    return entries.map(({ text }) => text);
  },
});

/** How many entries there are, found in another way than `list`: by the last number. */
export const count = query({
  args: {},
  returns: v.number(),
  handler: async (ctx) => {
    const last = await ctx.db.query("entries").withIndex("by_number").order("desc").first();
    return last?.number ?? 0;
  },
});

/** Stores any value as a document's field. */
export const store = mutation({
  args: { content: v.any() },
  returns: v.id("blobs"),
  handler: (ctx, { content }) => ctx.db.insert("blobs", { content }),
});

/** Builds and stores a document of about so many bytes. */
export const storeLarge = mutation({
  args: { bytes: v.number() },
  returns: v.id("blobs"),
  handler: (ctx, { bytes }) => ctx.db.insert("blobs", { content: "x".repeat(bytes) }),
});

/** Builds and stores a document nested so many levels deep, the document itself being the first. */
export const storeNested = mutation({
  args: { levels: v.number() },
  returns: v.id("blobs"),
  handler: (ctx, { levels }) => {
    let content: unknown = null;
    for (let level = 1; level < levels; level++) {
      content = [content];
    }
    return ctx.db.insert("blobs", { content });
  },
});

export const blobCount = query({
  args: {},
  returns: v.number(),
  handler: async (ctx) => (await ctx.db.query("blobs").collect()).length,
});
