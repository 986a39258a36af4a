"use node";

import { v } from "convex/values";
import sharp from "sharp";
import { internal } from "./_generated/api";
import { internalAction } from "./_generated/server";

const THUMBNAIL_EDGE_MAX = 480;

/** Makes a small picture of a large one, and finds out its size and the colour that most of it has. */
export const develop = internalAction({
  args: { picture: v.id("pictures"), original: v.id("_storage") },
  returns: v.null(),
  handler: async (ctx, { picture, original }) => {
    const file = await ctx.storage.get(original);
    if (file === null) {
      return null; // removed meanwhile
    }
    const print = await developed(await file.arrayBuffer()).catch((error: unknown) => {
      console.warn(`picture ${picture} can't be developed`, error);
      return null;
    });
    if (print === null) {
      await ctx.runMutation(internal.pictures.failed, { picture, problem: "This is no picture that can be read." });
      return null;
    }
    const { bytes, thumbnail, ...found } = print;
    const stored = await ctx.storage.store(new Blob([bytes], { type: "image/webp" }));
    await ctx.runMutation(internal.pictures.developed, { picture, ...found, thumbnail: { file: stored, ...thumbnail } });
    return null;
  },
});

async function developed(original: ArrayBuffer) {
  // The pixels as they were meant to be seen, whichever way the camera was held.
  const upright = sharp(original).autoOrient();
  const { autoOrient } = await upright.metadata();
  const { dominant } = await upright.stats();
  const { data, info } = await upright
    .resize({ width: THUMBNAIL_EDGE_MAX, height: THUMBNAIL_EDGE_MAX, fit: "inside", withoutEnlargement: true })
    .webp({ quality: 82 })
    .toBuffer({ resolveWithObject: true });
  return {
    width: autoOrient.width,
    height: autoOrient.height,
    color: `rgb(${dominant.r} ${dominant.g} ${dominant.b})`,
    bytes: new Uint8Array(data),
    thumbnail: { width: info.width, height: info.height },
  };
}
