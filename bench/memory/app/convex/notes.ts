import { v } from "convex/values";
import { mutation, query } from "./_generated/server";
import { parts } from "./ballast";

/** How many notes a topic keeps. */
const KEPT = 100;

/** Adds a note, and deletes the oldest one of a topic that is full, so that the store does not grow. */
export const add = mutation({
  args: { topic: v.number(), text: v.string() },
  handler: async (ctx, { topic, text }) => {
    const ofTopic = () => ctx.db.query("notes").withIndex("by_topic", (q) => q.eq("topic", topic));
    const id = await ctx.db.insert("notes", { topic, text, votes: 0 });
    const some = await ofTopic().take(KEPT + 1);
    if (some.length > KEPT) await ctx.db.delete(some[0]._id);
    return id;
  },
});

/** Votes for the topic's newest note. */
export const vote = mutation({
  args: { topic: v.number() },
  handler: async (ctx, { topic }) => {
    const newest = await ctx.db
      .query("notes")
      .withIndex("by_topic", (q) => q.eq("topic", topic))
      .order("desc")
      .first();
    if (newest !== null) await ctx.db.patch(newest._id, { votes: newest.votes + 1 });
    return newest?._id ?? null;
  },
});

export const list = query({
  args: { topic: v.number(), count: v.number() },
  handler: (ctx, { topic, count }) =>
    ctx.db
      .query("notes")
      .withIndex("by_topic", (q) => q.eq("topic", topic))
      .order("desc")
      .take(count),
});

/** Looks at the code that makes the app large. */
export const part = query({
  args: { number: v.number() },
  handler: async (_, { number }) => parts[number % parts.length](number),
});
