import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

// The order of the tables' numbers is not that of their names in every deployment.
export default defineSchema({
  zebras: defineTable({ name: v.string() }).index("by_name", ["name"]),
  anything: defineTable({ value: v.any() }),
  links: defineTable({ to: v.id("zebras"), file: v.optional(v.id("_storage")) }).index("by_to", ["to"]),
  nothing: defineTable({}),
});
