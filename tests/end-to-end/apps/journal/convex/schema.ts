import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  entries: defineTable({ number: v.number(), text: v.string() }).index("by_number", ["number"]),
  blobs: defineTable({ content: v.any() }),
});
