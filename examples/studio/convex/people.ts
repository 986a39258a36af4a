import { v } from "convex/values";
import { mutation, query } from "./_generated/server";
import { signedIn } from "./auth";
import { checkedLocale } from "./dates";

export const me = query({
  args: {},
  returns: v.object({ email: v.string(), locale: v.string(), timeZone: v.string() }),
  handler: async (ctx) => {
    const { email, locale, timeZone } = (await ctx.db.get(await signedIn(ctx)))!;
    return { email, locale, timeZone };
  },
});

/** Every date on the page, and in the letters from now on, is in this language. */
export const setLocale = mutation({
  args: { locale: v.string() },
  returns: v.null(),
  handler: async (ctx, { locale }) => {
    await ctx.db.patch(await signedIn(ctx), { locale: checkedLocale(locale) });
    return null;
  },
});
