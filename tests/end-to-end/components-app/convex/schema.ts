import { authTables } from "@convex-dev/auth/server";
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  ...authTables,
  notes: defineTable({ text: v.string() }),
  scores: defineTable({ name: v.string(), score: v.number() }),
  results: defineTable({ what: v.string(), value: v.any() }).index("by_what", ["what"]),
  events: defineTable({ value: v.number(), insertedAt: v.commitTs() }).index("insertedAt", ["insertedAt"]),
  sums: defineTable({ sum: v.number(), batches: v.number() }),
  people: defineTable({ name: v.string(), nickname: v.optional(v.string()) }),
});
