import { paginationOptsValidator } from "convex/server";
import { ConvexError, v } from "convex/values";
import { api, internal } from "./_generated/api";
import { internalMutation, internalQuery, mutation, query } from "./_generated/server";

const book = { title: v.string(), author: v.string(), year: v.number(), shelf: v.optional(v.string()) };

export const add = mutation({
  args: { ...book, pages: v.optional(v.number()) },
  returns: v.id("books"),
  handler: (ctx, { pages, ...fields }) =>
    ctx.db.insert("books", pages === undefined ? fields : { ...fields, details: { pages } }),
});

export const get = query({ args: { id: v.id("books") }, handler: (ctx, { id }) => ctx.db.get(id) });

export const move = mutation({
  args: { id: v.id("books"), shelf: v.optional(v.string()) },
  handler: (ctx, { id, shelf }) => ctx.db.patch(id, { shelf }),
});

export const replace = mutation({
  args: { id: v.id("books"), ...book },
  handler: (ctx, { id, ...fields }) => ctx.db.replace(id, fields),
});

export const remove = mutation({ args: { id: v.id("books") }, handler: (ctx, { id }) => ctx.db.delete(id) });

export const byAuthor = query({
  args: { author: v.string(), from: v.number(), before: v.number(), order: v.union(v.literal("asc"), v.literal("desc")) },
  handler: async (ctx, { author, from, before, order }) => {
    const books = await ctx.db
      .query("books")
      .withIndex("by_author_and_year", (range) => range.eq("author", author).gte("year", from).lt("year", before))
      .order(order)
      .collect();
    return books.map(({ title }) => title);
  },
});

export const withoutPages = query({
  args: {},
  handler: async (ctx) => {
    const books = await ctx.db
      .query("books")
      .withIndex("by_pages", (range) => range.eq("details.pages", undefined))
      .collect();
    return books.map(({ title }) => title);
  },
});

export const filtered = query({
  args: { author: v.string(), after: v.number() },
  handler: async (ctx, { author, after }) => {
    const books = await ctx.db
      .query("books")
      .filter((q) => q.and(q.eq(q.field("author"), author), q.gt(q.field("year"), after)))
      .collect();
    return books.map(({ title }) => title);
  },
});

export const onlyOne = query({
  args: { author: v.string() },
  handler: (ctx, { author }) =>
    ctx.db
      .query("books")
      .withIndex("by_author_and_year", (range) => range.eq("author", author))
      .unique(),
});

export const pages = query({
  args: { paginationOpts: paginationOptsValidator },
  handler: (ctx, { paginationOpts }) =>
    ctx.db.query("books").withIndex("by_author_and_year").paginate(paginationOpts),
});

export const normalize = query({
  args: { id: v.string() },
  handler: (ctx, { id }) => [ctx.db.normalizeId("books", id), ctx.db.normalizeId("loans", id)],
});

/** Lends a book out by a nested mutation, which fails where the book is lent already; the reader then waits. */
export const lend = mutation({
  args: { book: v.id("books"), reader: v.string() },
  handler: async (ctx, { book, reader }) => {
    try {
      await ctx.runMutation(internal.books.takeOut, { book, reader });
      return "lent";
    } catch (error) {
      await ctx.db.insert("values", { value: `${reader} waits` });
      return error instanceof ConvexError ? error.data : `${error}`;
    }
  },
});

export const takeOut = internalMutation({
  args: { book: v.id("books"), reader: v.string() },
  handler: async (ctx, { book, reader }) => {
    await ctx.db.insert("loans", { book, reader });
    if ((await ctx.runQuery(internal.books.loansOf, { book })).length > 1) {
      throw new ConvexError({ reason: "lent already", book });
    }
  },
});

export const loansOf = internalQuery({
  args: { book: v.id("books") },
  returns: v.array(v.string()),
  handler: async (ctx, { book }) => {
    const loans = await ctx.db
      .query("loans")
      .withIndex("by_book", (range) => range.eq("book", book))
      .collect();
    return loans.map(({ reader }) => reader);
  },
});

export const loansThroughTheFront = query({
  args: { book: v.id("books") },
  handler: (ctx, { book }): Promise<string[]> => ctx.runQuery(internal.books.loansOf, { book }),
});

export const addThenFail = mutation({
  args: { title: v.string() },
  handler: async (ctx, { title }) => {
    await ctx.db.insert("books", { title, author: "nobody", year: 0 });
    console.log("about to fail", { title });
    console.warn("really");
    throw new ConvexError({ title, copies: 3n });
  },
});

export const addTwice = mutation({
  args: { title: v.string() },
  handler: async (ctx, { title }): Promise<void> => {
    await ctx.runMutation(api.books.add, { title, author: "twice", year: 1 });
    await ctx.runMutation(api.books.add, { title, author: "twice", year: 2 });
  },
});
