import { ConvexError, v } from "convex/values";
import { api, internal } from "./_generated/api";
import { action, internalAction } from "./_generated/server";

/** Asks another server, and keeps what it says. */
export const keep = action({
  args: { url: v.string() },
  returns: v.object({ text: v.string(), count: v.number(), doubled: v.number() }),
  handler: async (ctx, { url }): Promise<{ text: string; count: number; doubled: number }> => {
    const response = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-From": "an action" },
      body: JSON.stringify({ ask: "the tide" }),
    });
    const { text } = await response.json();
    await ctx.runMutation(internal.notes.addSecretly, { text });
    const count: number = await ctx.runQuery(internal.notes.count);
    const doubled: number = await ctx.runAction(internal.outside.double, { number: count });
    console.log("kept", text);
    return { text, count, doubled };
  },
});

export const double = internalAction({ args: { number: v.number() }, handler: async (_, { number }) => number * 2 });

/** Writes what another server says down while it is said. */
export const follow = action({
  args: { url: v.string() },
  handler: async (ctx, { url }) => {
    const { body } = await fetch(url);
    let line = "";
    for await (const text of body!.pipeThrough(new TextDecoderStream())) {
      line += text;
      while (line.includes("\n")) {
        await ctx.runMutation(api.notes.add, { text: line.slice(0, line.indexOf("\n")) });
        line = line.slice(line.indexOf("\n") + 1);
      }
    }
    return line;
  },
});

export const impatient = action({
  args: { url: v.string(), ms: v.number() },
  handler: async (_, { url, ms }) => {
    try {
      await fetch(url, { signal: AbortSignal.timeout(ms) });
      return "answered";
    } catch (error) {
      return (error as Error).name;
    }
  },
});

export const sleep = action({
  args: { ms: v.number() },
  handler: async (_, { ms }) => {
    const before = Date.now();
    await new Promise((done) => setTimeout(done, ms));
    return Date.now() - before >= ms - 1;
  },
});

export const fails = action({
  args: {},
  handler: async (ctx) => {
    try {
      await ctx.runMutation(api.notes.refuse);
    } catch (error) {
      throw new ConvexError({ caught: (error as ConvexError<{ reason: string }>).data });
    }
  },
});

export const who = action(async (ctx) => {
  const user = await ctx.auth.getUserIdentity();
  return user === null ? null : user.subject;
});
