import { paginationOptsValidator, paginationResultValidator } from "convex/server";
import { ConvexError, v } from "convex/values";
import { mutation, query } from "./_generated/server";

const AUTHOR_LENGTH_MAX = 24;
const BODY_LENGTH_MAX = 2000;
const RECENT_MESSAGES = 100;

const message = v.object({
  _id: v.id("messages"),
  _creationTime: v.number(),
  channel: v.id("channels"),
  author: v.string(),
  body: v.string(),
});

/** A channel's messages, newest first, a page at a time. */
export const list = query({
  args: { channel: v.id("channels"), paginationOpts: paginationOptsValidator },
  returns: paginationResultValidator(message),
  handler: async (ctx, { channel, paginationOpts }) => {
    return await ctx.db
      .query("messages")
      .withIndex("by_channel", (range) => range.eq("channel", channel))
      .order("desc")
      .paginate(paginationOpts);
  },
});

/** Who wrote the channel's latest messages, the latest first, each name once. */
export const authors = query({
  args: { channel: v.id("channels") },
  returns: v.array(v.string()),
  handler: async (ctx, { channel }) => {
    const recent = await ctx.db
      .query("messages")
      .withIndex("by_channel", (range) => range.eq("channel", channel))
      .order("desc")
      .take(RECENT_MESSAGES);
    return [...new Set(recent.map(({ author }) => author))];
  },
});

export const send = mutation({
  args: { channel: v.id("channels"), author: v.string(), body: v.string() },
  returns: v.id("messages"),
  handler: async (ctx, { channel, author, body }) => {
    const name = author.trim();
    const text = body.trim();
    if (name === "" || name.length > AUTHOR_LENGTH_MAX) {
      throw new ConvexError(`A name has 1 to ${AUTHOR_LENGTH_MAX} characters.`);
    }
    if (text === "" || text.length > BODY_LENGTH_MAX) {
      throw new ConvexError(`A message has 1 to ${BODY_LENGTH_MAX} characters.`);
    }
    if ((await ctx.db.get(channel)) === null) {
      throw new ConvexError("This channel is gone.");
    }
    return await ctx.db.insert("messages", { channel, author: name, body: text });
  },
});
