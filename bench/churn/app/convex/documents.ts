import { v } from "convex/values";
import { mutation } from "./_generated/server";

const some = { from: v.number(), to: v.number(), round: v.number() };

export const put = mutation({
  args: some,
  handler: async (ctx, { from, to, round }) => {
    for (let k = from; k < to; k++) await ctx.db.insert("documents", { k, v: `${k} in round ${round}` });
    return to - from;
  },
});

/** Changes documents, though not where they stand in their index. */
export const change = mutation({
  args: some,
  handler: async (ctx, { from, to, round }) => {
    const documents = await ctx.db
      .query("documents")
      .withIndex("by_k", (q) => q.gte("k", from).lt("k", to))
      .collect();
    for (const { _id, k } of documents) await ctx.db.patch(_id, { v: `${k} in round ${round}` });
    return documents.length;
  },
});
