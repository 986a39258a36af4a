import { v } from "convex/values";
import { api, internal } from "./_generated/api";
import { action, internalAction, internalMutation, internalQuery, query } from "./_generated/server";

export const list = query(async (ctx) => (await ctx.db.query("notes").collect()).map(({ text }) => text));

export const add = internalMutation({
  args: { text: v.string() },
  handler: (ctx, { text }) => ctx.db.insert("notes", { text }),
});

export const count = internalQuery(async (ctx) => (await ctx.db.query("notes").collect()).length);

export const double = internalAction({ args: { number: v.number() }, handler: async (_, { number }) => number * 2 });

/** From an isolate into Node.js. */
export const fingerprint = action({
  args: { text: v.string() },
  handler: async (ctx, { text }): Promise<string> => `sha256:${await ctx.runAction(api.machine.digest, { text })}`,
});

export const catches = action({
  args: {},
  handler: async (ctx): Promise<string[]> => {
    const caught: string[] = [];
    for (const failing of [internal.machine.fails, internal.machine.exits]) {
      await ctx.runAction(failing, {}).catch((error: Error) => caught.push(error.message.split("\n")[0]));
    }
    return caught;
  },
});
