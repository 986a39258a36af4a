import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  boats: defineTable({
    name: v.string(),
    kind: v.union(v.literal("sail"), v.literal("motor")),
    lengthMeters: v.number(),
    flag: v.optional(v.string()),
  }).index("by_name", ["name"]),

  bookings: defineTable({
    boat: v.id("boats"),
    berth: v.number(),
    nights: v.number(),
    cents: v.int64(),
    paid: v.boolean(),
    note: v.optional(v.string()),
  })
    .index("by_boat", ["boat"])
    .index("by_berth_and_nights", ["berth", "nights"]),

  readings: defineTable(v.any()),
});
