// Files that clients upload and keep under a name.
import { v } from "convex/values";
import { mutation, query } from "./_generated/server";

export const uploadUrl = mutation({ args: {}, returns: v.string(), handler: (ctx) => ctx.storage.generateUploadUrl() });

export const keep = mutation({
  args: { name: v.string(), file: v.id("_storage") },
  returns: v.null(),
  handler: async (ctx, kept) => {
    await ctx.db.insert("kept", kept);
    return null;
  },
});

export const url = query({
  args: { name: v.string() },
  returns: v.union(v.string(), v.null()),
  handler: async (ctx, { name }) => {
    const kept = await ctx.db
      .query("kept")
      .withIndex("by_name", (range) => range.eq("name", name))
      .unique();
    return kept === null ? null : ctx.storage.getUrl(kept.file);
  },
});
