// Better Auth's tables, by its own names; dates are texts (ISO 8601).
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

const maybe = v.optional(v.union(v.null(), v.string()));

// An index is named as its field: that is how `rows.ts` finds it.
export default defineSchema({
  user: defineTable({
    name: v.string(),
    email: v.string(),
    emailVerified: v.boolean(),
    image: maybe,
    createdAt: v.string(),
    updatedAt: v.string(),
  }).index("email", ["email"]),
  session: defineTable({
    userId: v.id("user"),
    token: v.string(),
    expiresAt: v.string(),
    ipAddress: maybe,
    userAgent: maybe,
    createdAt: v.string(),
    updatedAt: v.string(),
  })
    .index("token", ["token"])
    .index("userId", ["userId"]),
  account: defineTable({
    userId: v.id("user"),
    accountId: v.string(),
    providerId: v.string(),
    accessToken: maybe,
    refreshToken: maybe,
    idToken: maybe,
    accessTokenExpiresAt: maybe,
    refreshTokenExpiresAt: maybe,
    scope: maybe,
    password: maybe,
    createdAt: v.string(),
    updatedAt: v.string(),
  }).index("userId", ["userId"]),
  verification: defineTable({
    identifier: v.string(),
    value: v.string(),
    expiresAt: v.string(),
    createdAt: v.string(),
    updatedAt: v.string(),
  }).index("identifier", ["identifier"]),
  jwks: defineTable({
    publicKey: v.string(),
    privateKey: v.string(),
    createdAt: v.string(),
    expiresAt: maybe,
    alg: maybe,
    crv: maybe,
  }),
  rateLimit: defineTable({ key: v.string(), count: v.number(), lastRequest: v.number() }).index("key", ["key"]),
  mails: defineTable({ to: v.string(), token: v.string() }),
});
