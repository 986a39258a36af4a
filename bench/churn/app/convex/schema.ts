import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  jobs: defineTable({ due: v.number() }).index("by_due", ["due"]),
  /** As many jobs, of which none is ever taken. */
  untouched: defineTable({ due: v.number() }).index("by_due", ["due"]),
  /** Some of them are changed again and again. */
  documents: defineTable({ k: v.number(), v: v.string() }).index("by_k", ["k"]),
  others: defineTable({ text: v.string() }),
});
