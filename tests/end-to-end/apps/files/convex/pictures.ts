// Pictures that users upload: what an app does with files.
import { v } from "convex/values";
import { api } from "./_generated/api";
import { action, mutation, query } from "./_generated/server";

export const uploadUrl = mutation({
  args: {},
  returns: v.string(),
  handler: (ctx) => ctx.storage.generateUploadUrl(),
});

export const add = mutation({
  args: { title: v.string(), file: v.id("_storage") },
  handler: (ctx, picture) => ctx.db.insert("pictures", picture),
});

/** Every picture with its file, which may be gone. */
export const list = query({
  args: {},
  handler: async (ctx) => {
    const pictures = await ctx.db.query("pictures").collect();
    return Promise.all(
      pictures.map(async ({ title, file }) => ({
        title,
        url: await ctx.storage.getUrl(file),
        metadata: await ctx.storage.getMetadata(file),
        document: await ctx.db.system.get(file),
      })),
    );
  },
});

export const url = query({
  args: { file: v.string() },
  handler: (ctx, { file }) => ctx.storage.getUrl(file),
});

/** The files of the app, the newest first. */
export const files = query({
  args: { largerThan: v.optional(v.number()) },
  handler: (ctx, { largerThan = -1 }) =>
    ctx.db.system
      .query("_storage")
      .order("desc")
      .filter((q) => q.gt(q.field("size"), largerThan))
      .collect(),
});

export const normalize = query({
  args: { id: v.string() },
  handler: (ctx, { id }) => ctx.db.system.normalizeId("_storage", id),
});

export const remove = mutation({
  args: { file: v.id("_storage"), fail: v.optional(v.boolean()) },
  handler: async (ctx, { file, fail }) => {
    await ctx.storage.delete(file);
    if (fail) {
      throw new Error("changed my mind");
    }
  },
});

/** Fetches a picture from somewhere, and keeps it. */
export const keep = action({
  args: { title: v.string(), from: v.string(), sha256: v.optional(v.string()) },
  returns: v.id("_storage"),
  handler: async (ctx, { title, from, sha256 }) => {
    const response = await fetch(from);
    const file = await ctx.storage.store(await response.blob(), sha256 === undefined ? undefined : { sha256 });
    await ctx.runMutation(api.pictures.add, { title, file });
    return file;
  },
});

/** A copy of a picture, turned upside down by its bytes. */
export const reversed = action({
  args: { file: v.id("_storage") },
  handler: async (ctx, { file }) => {
    const blob = await ctx.storage.get(file);
    if (blob === null) {
      return null;
    }
    const bytes = new Uint8Array(await blob.arrayBuffer()).reverse();
    const copy = await ctx.storage.store(new Blob([bytes], { type: blob.type }));
    return { copy, url: await ctx.storage.getUrl(copy), metadata: await ctx.storage.getMetadata(copy) };
  },
});

export const store = action({
  args: { bytes: v.bytes() },
  handler: (ctx, { bytes }) => ctx.storage.store(new Blob([bytes])),
});

export const uploadUrlInAction = action({ args: {}, handler: (ctx) => ctx.storage.generateUploadUrl() });

export const removeInAction = action({
  args: { file: v.id("_storage") },
  handler: (ctx, { file }) => ctx.storage.delete(file),
});
