import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  notes: defineTable({ topic: v.number(), text: v.string(), votes: v.number() }).index("by_topic", ["topic"]),
});
