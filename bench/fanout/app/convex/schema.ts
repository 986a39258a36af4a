import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  rows: defineTable({ number: v.number(), version: v.number() }).index("by_number", ["number"]),
});
