import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  deliveries: defineTable({ payload: v.string() }),
  tokens: defineTable({ token: v.string() }),
});
