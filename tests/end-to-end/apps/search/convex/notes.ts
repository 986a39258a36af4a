import { paginationOptsValidator } from "convex/server";
import { v } from "convex/values";
import { action, internalQuery, mutation, query } from "./_generated/server";
import { internal } from "./_generated/api";

const note = { body: v.string(), author: v.optional(v.string()), tag: v.optional(v.any()), vector: v.optional(v.array(v.float64())) };

export const add = mutation({ args: note, handler: (ctx, args) => ctx.db.insert("notes", args) });

export const addMany = mutation({
  args: { notes: v.array(v.object(note)) },
  handler: async (ctx, { notes }) => {
    for (const note of notes) {
      await ctx.db.insert("notes", note);
    }
  },
});

export const change = mutation({
  args: { id: v.id("notes"), body: v.string() },
  handler: (ctx, { id, body }) => ctx.db.patch(id, { body }),
});

export const remove = mutation({ args: { id: v.id("notes") }, handler: (ctx, { id }) => ctx.db.delete(id) });

/** How often it ran shows in its log lines. */
export const find = query({
  args: { text: v.string(), author: v.optional(v.string()), count: v.optional(v.number()) },
  handler: async (ctx, { text, author, count }) => {
    console.log("runs");
    const found = ctx.db
      .query("notes")
      .withSearchIndex("by_body", (q) => (author === undefined ? q.search("body", text) : q.search("body", text).eq("author", author)));
    const notes = count === undefined ? await found.collect() : await found.take(count);
    return notes.map((note) => note.body);
  },
});

export const untagged = query({
  args: { text: v.string() },
  handler: async (ctx, { text }) =>
    (
      await ctx.db
        .query("notes")
        .withSearchIndex("by_body", (q) => q.search("body", text).eq("tag", undefined))
        .filter((q) => q.neq(q.field("author"), "nobody"))
        .collect()
    ).map((note) => note.body),
});

export const page = query({
  args: { text: v.string(), paginationOpts: paginationOptsValidator },
  handler: (ctx, { text, paginationOpts }) =>
    ctx.db
      .query("notes")
      .withSearchIndex("by_body", (q) => q.search("body", text))
      .paginate(paginationOpts),
});

/** What a mutation finds of its own writes; it leaves nothing. */
export const findOwn = mutation({
  args: { text: v.string() },
  handler: async (ctx, { text }) => {
    const count = async () => (await ctx.db.query("notes").withSearchIndex("by_body", (q) => q.search("body", text)).collect()).length;
    const before = await count();
    const id = await ctx.db.insert("notes", { body: text });
    const inserted = await count();
    await ctx.db.patch(id, { body: "something else" });
    const changed = await count();
    await ctx.db.delete(id);
    return [before, inserted, changed, await count()];
  },
});

/** Takes a text if nobody has it yet. */
export const take = mutation({
  args: { text: v.string() },
  handler: async (ctx, { text }) => {
    const taken = await ctx.db.query("notes").withSearchIndex("by_body", (q) => q.search("body", text)).first();
    if (taken === null) {
      await ctx.db.insert("notes", { body: text });
    }
    return taken === null;
  },
});

export const nearest = action({
  args: { vector: v.array(v.float64()), limit: v.optional(v.number()), authors: v.optional(v.array(v.string())) },
  handler: async (ctx, { vector, limit, authors }) => {
    const found = await ctx.vectorSearch("notes", "by_vector", {
      vector,
      limit,
      filter: authors && ((q) => (authors.length === 1 ? q.eq("author", authors[0]) : q.or(...authors.map((author) => q.eq("author", author))))),
    });
    const bodies: string[] = await ctx.runQuery(internal.notes.bodies, { ids: found.map(({ _id }) => _id) });
    return found.map(({ _score }, index) => ({ body: bodies[index], score: _score }));
  },
});

export const bodies = internalQuery({
  args: { ids: v.array(v.id("notes")) },
  handler: async (ctx, { ids }) => Promise.all(ids.map(async (id) => (await ctx.db.get(id))?.body ?? "gone")),
});
