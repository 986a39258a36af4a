import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  lists: defineTable({ key: v.number(), values: v.array(v.string()) }).index("by_key", ["key"]),
  registers: defineTable({ key: v.number(), value: v.string() }).index("by_key", ["key"]),
  /** Two documents that every change makes equal. */
  twins: defineTable({ side: v.string(), version: v.number() }).index("by_side", ["side"]),
  /** How often each owner has counted. */
  counters: defineTable({ owner: v.string(), count: v.number() }).index("by_owner", ["owner"]),
  /** What a mutation answered that may come again as if it were another one. */
  answers: defineTable({ once: v.string(), answer: v.any() }).index("by_once", ["once"]),
  plans: defineTable({ name: v.string(), mutation: v.id("_scheduled_functions"), action: v.id("_scheduled_functions") }),
  runs: defineTable({ name: v.string(), kind: v.string() }),
  kept: defineTable({ name: v.string(), file: v.id("_storage") }).index("by_name", ["name"]),
});
