import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  notes: defineTable({
    text: v.string(),
    job: v.optional(v.id("_scheduled_functions")),
    committed: v.commitTs(),
  }).index("by_committed", ["committed"]),
  ticks: defineTable({ count: v.number() }),
});
