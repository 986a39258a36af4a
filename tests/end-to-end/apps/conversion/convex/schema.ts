import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({ things: defineTable(v.any()), rows: defineTable(v.any()).index("by_number", ["number"]) });
