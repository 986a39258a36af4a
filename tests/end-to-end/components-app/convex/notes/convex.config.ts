import { defineComponent } from "convex/server";
import { v } from "convex/values";

export default defineComponent("notes", {
  env: { GREETING: v.optional(v.string()), LEVEL: v.optional(v.union(v.literal("loud"), v.literal("quiet"))) },
});
