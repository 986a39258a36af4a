import { ConvexError, v } from "convex/values";
import { mutation, query } from "./_generated/server";

const NAME_PATTERN = /^[a-z0-9][a-z0-9-]{0,23}$/;
const TOPIC_LENGTH_MAX = 120;

const channel = v.object({
  _id: v.id("channels"),
  _creationTime: v.number(),
  name: v.string(),
  topic: v.string(),
});

/** All channels in the order of their names. */
export const list = query({
  args: {},
  returns: v.array(channel),
  handler: async (ctx) => {
    return await ctx.db.query("channels").withIndex("by_name").take(100);
  },
});

/** Opens a channel. One that has the name already is answered instead, so that asking twice is harmless. */
export const open = mutation({
  args: { name: v.string(), topic: v.optional(v.string()) },
  returns: v.id("channels"),
  handler: async (ctx, { name, topic = "" }) => {
    if (!NAME_PATTERN.test(name)) {
      throw new ConvexError("A channel's name has 1 to 24 lower case letters, digits or hyphens.");
    }
    if (topic.length > TOPIC_LENGTH_MAX) {
      throw new ConvexError(`A channel's topic has at most ${TOPIC_LENGTH_MAX} characters.`);
    }
    const existing = await ctx.db
      .query("channels")
      .withIndex("by_name", (range) => range.eq("name", name))
      .unique();
    return existing?._id ?? (await ctx.db.insert("channels", { name, topic }));
  },
});
