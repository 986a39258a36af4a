import { v } from "convex/values";
import { internal } from "./_generated/api";
import { env, internalAction, internalMutation, internalQuery, mutation, query } from "./_generated/server";
import { ownPicture } from "./pictures";

const WRITING_MS_MAX = 60_000;

const state = v.union(v.literal("writing"), v.literal("done"), v.literal("failed"));

/** A picture's caption as far as it is written. */
export const of = query({
  args: { picture: v.id("pictures") },
  returns: v.union(v.null(), v.object({ state, text: v.string() })),
  handler: async (ctx, { picture }) => {
    await ownPicture(ctx, picture);
    const caption = await ctx.db.query("captions").withIndex("by_picture", (range) => range.eq("picture", picture)).unique();
    return caption && { state: caption.state, text: caption.text };
  },
});

/** Has a new caption written in place of the one that is there. */
export const ask = mutation({
  args: { picture: v.id("pictures") },
  returns: v.null(),
  handler: async (ctx, { picture }) => {
    await ownPicture(ctx, picture);
    const old = await ctx.db.query("captions").withIndex("by_picture", (range) => range.eq("picture", picture)).unique();
    if (old === null) {
      return null;
    }
    // The new one is a document of its own: whoever still writes the old one finds it gone, and stops.
    await ctx.db.delete(old._id);
    const caption = await ctx.db.insert("captions", { picture, state: "writing", text: "" });
    await ctx.scheduler.runAfter(0, internal.captions.write, { caption });
    return null;
  },
});

/** Asks the service and appends each piece of its answer as it arrives; whoever looks at the picture sees it grow. */
export const write = internalAction({
  args: { caption: v.id("captions") },
  returns: v.null(),
  handler: async (ctx, { caption }): Promise<null> => {
    const facts = await ctx.runQuery(internal.captions.facts, { caption });
    if (facts === null) {
      return null;
    }
    try {
      const response = await fetch(`${env.STUDIO_SERVICES_URL}/captions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(facts),
        signal: AbortSignal.timeout(WRITING_MS_MAX),
      });
      if (!response.ok || response.body === null) {
        throw new Error(`the service answered ${response.status}`);
      }
      for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
        const isWanted = await ctx.runMutation(internal.captions.append, { caption, text });
        if (!isWanted) {
          return null; // which also tells the service to stop
        }
      }
      await ctx.runMutation(internal.captions.end, { caption, state: "done" });
    } catch (error) {
      console.warn(`caption ${caption} is not written to its end`, error);
      await ctx.runMutation(internal.captions.end, { caption, state: "failed" });
    }
    return null;
  },
});

/** What there is to write about. */
export const facts = internalQuery({
  args: { caption: v.id("captions") },
  returns: v.union(v.null(), v.object({ title: v.string(), width: v.number(), height: v.number(), color: v.string() })),
  handler: async (ctx, { caption }) => {
    const found = await ctx.db.get(caption);
    const picture = found && (await ctx.db.get(found.picture));
    if (picture?.state !== "ready") {
      return null;
    }
    const { title, width, height, color } = picture;
    return { title, width: width!, height: height!, color: color! };
  },
});

/** Returns whether the caption is still wanted. */
export const append = internalMutation({
  args: { caption: v.id("captions"), text: v.string() },
  returns: v.boolean(),
  handler: async (ctx, { caption, text }) => {
    const found = await ctx.db.get(caption);
    if (found === null) {
      return false;
    }
    await ctx.db.patch(caption, { text: found.text + text });
    return true;
  },
});

export const end = internalMutation({
  args: { caption: v.id("captions"), state },
  returns: v.null(),
  handler: async (ctx, { caption, state }) => {
    if ((await ctx.db.get(caption)) !== null) {
      await ctx.db.patch(caption, { state });
    }
    return null;
  },
});
