import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  moorings: defineTable({
    at: v.commitTs(),
    kind: v.literal(5n),
    call: v.function({ fnType: "mutation", returns: v.null() }),
    note: v.string(),
    chart: v.optional(v.array(v.float64())),
  })
    .index("by_note", ["note"])
    .searchIndex("words", { searchField: "note" })
    .vectorIndex("near", { vectorField: "chart", dimensions: 2 }),
});
