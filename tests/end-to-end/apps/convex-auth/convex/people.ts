import { getAuthSessionId, getAuthUserId } from "@convex-dev/auth/server";
import { v } from "convex/values";
import { action, mutation, query } from "./_generated/server";

/** Who asks, as the app's tables know them. */
export const me = query({
  args: {},
  handler: async (ctx) => {
    const id = await getAuthUserId(ctx);
    const user = id === null ? null : await ctx.db.get(id);
    return user && { id: user._id, email: user.email, name: user.name ?? null };
  },
});

/** What the app's tables hold of whoever asks. */
export const mine = query({
  args: {},
  handler: async (ctx) => {
    const userId = await getAuthUserId(ctx);
    if (userId === null) return null;
    const accounts = await ctx.db
      .query("authAccounts")
      .withIndex("userIdAndProvider", (q) => q.eq("userId", userId))
      .collect();
    const sessions = await ctx.db
      .query("authSessions")
      .withIndex("userId", (q) => q.eq("userId", userId))
      .collect();
    const current = await getAuthSessionId(ctx);
    return {
      providers: accounts.map(({ provider }) => provider),
      sessions: sessions.length,
      isOpen: sessions.some(({ _id }) => _id === current),
    };
  },
});

export const rename = mutation({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    const id = await getAuthUserId(ctx);
    if (id === null) throw new Error("Nobody is signed in");
    await ctx.db.patch(id, { name });
  },
});

/** Takes as long as another server does. */
export const wait = action({
  args: { url: v.string() },
  handler: async (_, { url }) => await (await fetch(url)).text(),
});
