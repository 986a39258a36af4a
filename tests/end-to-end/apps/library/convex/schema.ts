import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  books: defineTable({
    title: v.string(),
    author: v.string(),
    year: v.number(),
    shelf: v.optional(v.string()),
    details: v.optional(v.object({ pages: v.number() })),
  })
    .index("by_author_and_year", ["author", "year"])
    .index("by_pages", ["details.pages"]),
  loans: defineTable({ book: v.id("books"), reader: v.string() }).index("by_book", ["book"]),
  values: defineTable({ value: v.any() }),
});
