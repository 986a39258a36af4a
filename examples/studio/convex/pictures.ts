import { ConvexError, v } from "convex/values";
import { internal } from "./_generated/api";
import type { Doc, Id } from "./_generated/dataModel";
import { internalMutation, type MutationCtx, mutation, type QueryCtx, query } from "./_generated/server";
import { signedIn } from "./auth";
import { written } from "./dates";

const TITLE_LENGTH_MAX = 80;
const ORIGINAL_BYTES_MAX = 20 << 20;
const SHOWN_MAX = 60;

const shownPicture = v.object({
  id: v.id("pictures"),
  title: v.string(),
  state: v.union(v.literal("waiting"), v.literal("ready"), v.literal("failed")),
  problem: v.union(v.string(), v.null()),
  size: v.union(v.object({ width: v.number(), height: v.number() }), v.null()),
  color: v.union(v.string(), v.null()),
  original: v.union(v.string(), v.null()),
  thumbnail: v.union(v.object({ url: v.string(), width: v.number(), height: v.number() }), v.null()),
  added: v.number(),
  addedWritten: v.string(),
});

/** The user's pictures, the newest first. */
export const list = query({
  args: {},
  returns: v.array(shownPicture),
  handler: async (ctx) => {
    const owner = await signedIn(ctx);
    const reader = (await ctx.db.get(owner))!;
    const pictures = await ctx.db
      .query("pictures")
      .withIndex("by_owner", (range) => range.eq("owner", owner))
      .order("desc")
      .take(SHOWN_MAX);
    return await Promise.all(
      pictures.map(async (picture) => ({
        id: picture._id,
        title: picture.title,
        state: picture.state,
        problem: picture.problem ?? null,
        size: picture.width && picture.height ? { width: picture.width, height: picture.height } : null,
        color: picture.color ?? null,
        original: await ctx.storage.getUrl(picture.original),
        thumbnail: await shownThumbnail(ctx, picture),
        added: picture._creationTime,
        addedWritten: written(picture._creationTime, reader),
      })),
    );
  },
});

async function shownThumbnail(ctx: QueryCtx, { thumbnail }: Doc<"pictures">) {
  const url = thumbnail && (await ctx.storage.getUrl(thumbnail.file));
  return url ? { url, width: thumbnail.width, height: thumbnail.height } : null;
}

/** An address that takes one file by POST, and answers what `add` wants to know. */
export const uploadAddress = mutation({
  args: {},
  returns: v.string(),
  handler: async (ctx) => {
    await signedIn(ctx);
    return await ctx.storage.generateUploadUrl();
  },
});

/** Takes a file that was uploaded, and gives it to the darkroom. */
export const add = mutation({
  args: { title: v.string(), file: v.id("_storage") },
  returns: v.id("pictures"),
  handler: async (ctx, { title, file }) => {
    const owner = await signedIn(ctx);
    const metadata = await ctx.db.system.get(file);
    const taken = await ctx.db
      .query("pictures")
      .withIndex("by_original", (range) => range.eq("original", file))
      .first();
    if (metadata === null || taken !== null) {
      throw new ConvexError("This file is not there, or is somebody's picture already.");
    }
    const name = title.trim().slice(0, TITLE_LENGTH_MAX) || "Untitled";
    if (metadata.size > ORIGINAL_BYTES_MAX) {
      const problem = `It has more than the ${ORIGINAL_BYTES_MAX >> 20} MiB that a picture may have.`;
      return await ctx.db.insert("pictures", { owner, title: name, original: file, state: "failed", problem });
    }
    const picture = await ctx.db.insert("pictures", { owner, title: name, original: file, state: "waiting" });
    await ctx.scheduler.runAfter(0, internal.darkroom.develop, { picture, original: file });
    return picture;
  },
});

/** What the darkroom has made of it. A picture that was removed meanwhile takes nothing. */
export const developed = internalMutation({
  args: {
    picture: v.id("pictures"),
    width: v.number(),
    height: v.number(),
    color: v.string(),
    thumbnail: v.object({ file: v.id("_storage"), width: v.number(), height: v.number() }),
  },
  returns: v.null(),
  handler: async (ctx, { picture, thumbnail, ...found }) => {
    if ((await ctx.db.get(picture)) === null) {
      await ctx.storage.delete(thumbnail.file);
      return null;
    }
    await ctx.db.patch(picture, { ...found, thumbnail, state: "ready" });
    const caption = await ctx.db.insert("captions", { picture, state: "writing", text: "" });
    await ctx.scheduler.runAfter(0, internal.captions.write, { caption });
    return null;
  },
});

export const failed = internalMutation({
  args: { picture: v.id("pictures"), problem: v.string() },
  returns: v.null(),
  handler: async (ctx, { picture, problem }) => {
    if ((await ctx.db.get(picture)) !== null) {
      await ctx.db.patch(picture, { state: "failed", problem });
    }
    return null;
  },
});

export const remove = mutation({
  args: { picture: v.id("pictures") },
  returns: v.null(),
  handler: async (ctx, { picture }) => {
    const { original, thumbnail } = await ownPicture(ctx, picture);
    await ctx.storage.delete(original);
    if (thumbnail) {
      await ctx.storage.delete(thumbnail.file);
    }
    for (const table of ["captions", "prints"] as const) {
      const rows = await ctx.db.query(table).withIndex("by_picture", (range) => range.eq("picture", picture)).collect();
      for (const { _id } of rows) {
        await ctx.db.delete(_id);
      }
    }
    await ctx.db.delete(picture);
    return null;
  },
});

/** The picture, if it belongs to the user who asks. */
export async function ownPicture(ctx: QueryCtx | MutationCtx, picture: Id<"pictures">) {
  const owner = await signedIn(ctx);
  const found = await ctx.db.get(picture);
  if (found?.owner !== owner) {
    throw new ConvexError("There is no such picture of yours.");
  }
  return found;
}
