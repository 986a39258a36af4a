import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  people: defineTable({
    name: v.string(),
    score: v.number(),
    big: v.int64(),
    bytes: v.optional(v.bytes()),
    tags: v.array(v.string()),
  }).index("by_name", ["name"]),
  notes: defineTable({ text: v.string(), writer: v.union(v.id("people"), v.null()) }),
});
