import { authTables } from "@convex-dev/auth/server";
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  ...authTables,

  users: defineTable({
    email: v.string(),
    /** How this person reads dates, and where they live. */
    locale: v.string(),
    timeZone: v.string(),
  }).index("email", ["email"]),

  pictures: defineTable({
    owner: v.id("users"),
    title: v.string(),
    original: v.id("_storage"),
    state: v.union(v.literal("waiting"), v.literal("ready"), v.literal("failed")),
    /** Why it has failed. */
    problem: v.optional(v.string()),
    /** What the darkroom has found out and made. */
    width: v.optional(v.number()),
    height: v.optional(v.number()),
    color: v.optional(v.string()),
    thumbnail: v.optional(v.object({ file: v.id("_storage"), width: v.number(), height: v.number() })),
    /** The letter that has told of it. */
    letter: v.optional(v.id("outbox")),
  })
    .index("by_owner", ["owner"])
    .index("by_original", ["original"])
    .index("by_state_and_letter", ["state", "letter", "owner"]),

  /** Beside the pictures, so that each word of a caption runs one small query again and not the whole wall. */
  captions: defineTable({
    picture: v.id("pictures"),
    state: v.union(v.literal("writing"), v.literal("done"), v.literal("failed")),
    text: v.string(),
  }).index("by_picture", ["picture"]),

  prints: defineTable({
    picture: v.id("pictures"),
    state: v.union(v.literal("ordered"), v.literal("started"), v.literal("ready"), v.literal("failed")),
    changed: v.number(),
  }).index("by_picture", ["picture"]),

  /** Events of webhooks that have been taken: a service that got no answer sends its event again. */
  events: defineTable({ event: v.string() }).index("by_event", ["event"]),

  outbox: defineTable({
    owner: v.id("users"),
    occasion: v.union(v.literal("morning"), v.literal("news"), v.literal("asked")),
    subject: v.string(),
    body: v.string(),
    state: v.union(v.literal("waiting"), v.literal("sent"), v.literal("failed")),
  }).index("by_owner", ["owner"]),
});
