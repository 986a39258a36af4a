import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  kept: defineTable({ set: v.string(), value: v.any() }).index("by_set_and_value", ["set", "value"]),
  people: defineTable({ name: v.string(), age: v.optional(v.number()), home: v.optional(v.object({ city: v.string() })) })
    .index("by_name", ["name"])
    .index("by_city", ["home.city"]),
  entries: defineTable({ name: v.string() }).index("by_name", ["name"]),
  points: defineTable({ set: v.string(), name: v.string(), at: v.optional(v.any()), size: v.optional(v.number()) })
    .index("by_at", ["set", "at", "size"])
    .index("by_set", ["set"]),
  friends: defineTable({ of: v.id("people"), tags: v.array(v.string()) }),
});
