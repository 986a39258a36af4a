import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  pictures: defineTable({ title: v.string(), file: v.id("_storage") }).index("by_title", ["title"]),
});
