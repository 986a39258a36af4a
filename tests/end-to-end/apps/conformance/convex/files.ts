// What functions do with files.
import { v } from "convex/values";
import { action, mutation, query } from "./_generated/server";

const one = { file: v.id("_storage") };

const uploadUrl = { args: {}, handler: (ctx: any) => ctx.storage.generateUploadUrl() };
export const uploadUrlOfMutation = mutation(uploadUrl);
export const uploadUrlOfAction = action(uploadUrl);

export const store = action({
  args: { bytes: v.bytes(), type: v.optional(v.string()), sha256: v.optional(v.string()) },
  handler: (ctx, { bytes, type, sha256 }) => ctx.storage.store(new Blob([bytes], { type }), sha256 === undefined ? undefined : { sha256 }),
});

export const storeText = action({ args: {}, handler: (ctx) => ctx.storage.store("a text" as unknown as Blob) });

export const read = action({
  args: one,
  handler: async (ctx, { file }) => {
    const blob = await ctx.storage.get(file);
    return blob === null ? null : { type: blob.type, bytes: await blob.arrayBuffer() };
  },
});

const url = { args: one, handler: (ctx: any, { file }: { file: string }) => ctx.storage.getUrl(file) };
export const urlOfQuery = query(url);
export const urlOfMutation = mutation(url);
export const urlOfAction = action(url);

export const metadata = query({ args: one, handler: (ctx, { file }) => ctx.storage.getMetadata(file) });

export const document = query({ args: one, handler: (ctx, { file }) => ctx.db.system.get(file) });

/** A file is no document of the app's own. */
export const asOwnDocument = query({ args: one, handler: (ctx, { file }) => ctx.db.get(file as any) });

/** The newest files of that size. */
export const ofSize = query({
  args: { size: v.number() },
  handler: async (ctx, { size }) => {
    const files = ctx.db.system.query("_storage").order("desc");
    return (await files.filter((q) => q.eq(q.field("size"), size)).take(2)).map(({ _id }) => _id);
  },
});

export const normalized = query({ args: { id: v.string() }, handler: (ctx, { id }) => ctx.db.system.normalizeId("_storage", id) });

const removing = { args: one, handler: (ctx: any, { file }: { file: string }) => ctx.storage.delete(file) };
export const removeByMutation = mutation(removing);
export const removeByAction = action(removing);

export const removeAndFail = mutation({
  args: one,
  handler: async (ctx, { file }) => {
    await ctx.storage.delete(file);
    throw new RangeError("changed its mind");
  },
});
