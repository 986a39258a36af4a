import { v } from "convex/values";
import { mutation, query } from "./_generated/server";

// A document of some 250 bytes of JSON.
const thing = (number: number) => ({
  group: number % 7,
  number,
  author: `author ${number % 50}`,
  text: "a text of some length, as a message or the title of an article would have, with a number at its end " + number,
  tags: ["red", "green"],
  isDone: number % 2 === 0,
});

export const fill = mutation({
  args: { from: v.number(), to: v.number() },
  handler: async (ctx, { from, to }) => {
    for (let number = from; number < to; number++) await ctx.db.insert("things", thing(number));
  },
});

export const nothing = query({ args: {}, handler: async () => null });

export const list = query({
  args: { count: v.number() },
  handler: (ctx, { count }) => ctx.db.query("things").withIndex("by_number").take(count),
});

export const insert = mutation({
  args: { count: v.number() },
  handler: async (ctx, { count }) => {
    for (let number = 0; number < count; number++) await ctx.db.insert("added", thing(number));
  },
});
