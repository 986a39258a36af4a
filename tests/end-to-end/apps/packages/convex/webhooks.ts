// Webhooks by GitHub's own package for their signatures.
import { verify } from "@octokit/webhooks-methods";
import { v } from "convex/values";
import { mutation } from "./_generated/server";

export const receive = mutation({
  args: { secret: v.string(), payload: v.string(), signature: v.string() },
  handler: async (ctx, { secret, payload, signature }) => {
    if (!(await verify(secret, payload, signature))) {
      return "refused";
    }
    await ctx.db.insert("deliveries", { payload });
    return (await ctx.db.query("deliveries").collect()).length;
  },
});
