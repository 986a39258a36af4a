import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  done: defineTable({ scheduled: v.number(), begun: v.number() }).index("by_begun", ["begun"]),
});
