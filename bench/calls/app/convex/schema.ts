import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

const thing = { group: v.number(), number: v.number(), author: v.string(), text: v.string(), tags: v.array(v.string()), isDone: v.boolean() };

export default defineSchema({
  things: defineTable(thing).index("by_number", ["number"]),
  added: defineTable(thing),
});
