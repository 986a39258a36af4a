// Functions that a server must survive. Each is called as a query.
import { v } from "convex/values";
import { mutation, query } from "./_generated/server";

export const loopForever = query({
  args: {},
  handler: () => {
    for (;;) {
      // Nothing ends this but the host.
    }
  },
});

/** The loop is in promise jobs, between which control returns to the event loop. */
export const loopInPromises = query({
  args: {},
  handler: async () => {
    for (;;) {
      await Promise.resolve();
    }
  },
});

export const allocateWithoutEnd = query({
  args: {},
  handler: () => {
    const kept: number[][] = [];
    for (;;) {
      kept.push(new Array(10_000).fill(kept.length));
    }
  },
});

export const growString = query({
  args: {},
  handler: () => {
    let text = "tide";
    for (;;) {
      text += text;
    }
  },
});

export const neverResolve = query({
  args: {},
  handler: () => new Promise(() => {}),
});

export const recurseWithoutEnd = query({
  args: {},
  handler: () => {
    const down = (depth: number): number => 1 + down(depth + 1);
    return down(0);
  },
});

export const backtrack = query({
  args: {},
  handler: () => /^(a+)+$/.test("a".repeat(60) + "!"),
});

export const multiplyBigInts = query({
  args: {},
  handler: () => {
    let number = 3n;
    for (;;) {
      number *= number;
    }
  },
});

export const throwDeepObject = query({
  args: {},
  handler: () => {
    let nested: unknown = "bottom";
    for (let level = 0; level < 10_000; level++) {
      nested = [nested];
    }
    throw nested;
  },
});

/** Leaves a mark on everything a script can reach and is shared if the host shares it. */
export const poison = mutation({
  args: {},
  handler: () => {
    const reachable = globalThis as Record<string, unknown>;
    reachable.poisoned = true;
    (Array.prototype as unknown as Record<string, unknown>).map = () => ["poisoned"];
    (Object.prototype as unknown as Record<string, unknown>).poisoned = true;
    JSON.stringify = () => '"poisoned"';
    return null;
  },
});

export const lookForPoison = query({
  args: {},
  returns: v.array(v.string()),
  handler: () => {
    const found = [];
    if ((globalThis as Record<string, unknown>).poisoned !== undefined) {
      found.push("a global");
    }
    if (({} as Record<string, unknown>).poisoned !== undefined) {
      found.push("a prototype");
    }
    if ([1].map((one) => one)[0] !== 1) {
      found.push("a built-in function");
    }
    return found;
  },
});

/** A well-behaved function, to see that the server still works. */
export const hello = query({
  args: { name: v.string() },
  returns: v.string(),
  handler: (_ctx, { name }) => `hello ${name}`,
});
