import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  notes: defineTable({ body: v.string(), author: v.optional(v.string()), tag: v.optional(v.any()), vector: v.optional(v.array(v.float64())) })
    .searchIndex("by_body", { searchField: "body", filterFields: ["author", "tag"] })
    .vectorIndex("by_vector", { vectorField: "vector", dimensions: 3, filterFields: ["author"] }),
});
