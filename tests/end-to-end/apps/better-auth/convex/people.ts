import { v } from "convex/values";
import type { Id } from "./_generated/dataModel";
import { internalMutation, internalQuery, query } from "./_generated/server";

/** Who asks: what the token says, and what the app's tables hold. */
export const me = query({
  args: {},
  handler: async (ctx) => {
    const identity = await ctx.auth.getUserIdentity();
    if (identity === null) return null;
    const user = await ctx.db.get(identity.subject as Id<"user">);
    const sessions = await ctx.db
      .query("session")
      .withIndex("userId", (q) => q.eq("userId", identity.subject as Id<"user">))
      .collect();
    const { tokenIdentifier, subject, name, email, session } = identity;
    return {
      token: { tokenIdentifier, subject, name, email },
      name: user?.name ?? null,
      sessions: sessions.length,
      isOpen: sessions.some(({ _id }) => _id === session),
    };
  },
});

export const sendMail = internalMutation({
  args: { to: v.string(), token: v.string() },
  handler: async (ctx, mail) => {
    await ctx.db.insert("mails", mail);
  },
});

/** The newest mail to an address. */
export const newestMail = internalQuery({
  args: { to: v.string() },
  handler: async (ctx, { to }) => {
    const mails = await ctx.db.query("mails").order("desc").collect();
    return mails.find((mail) => mail.to === to) ?? null;
  },
});
