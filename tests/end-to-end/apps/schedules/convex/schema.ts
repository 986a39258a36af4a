import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  entries: defineTable({ name: v.string(), job: v.optional(v.id("_scheduled_functions")) }).index("by_name", ["name"]),
  batches: defineTable({ name: v.string(), count: v.number(), last: v.id("_scheduled_functions") }),
});
