// Functions that go on until a limit ends them.
import { mutation, query } from "./_generated/server";

export const loop = query({
  args: {},
  handler: () => {
    for (;;);
  },
});

export const loopInMutation = mutation({
  args: {},
  handler: async () => {
    for (;;) await null;
  },
});

export const backtrack = query({ args: {}, handler: () => /^(a+)+$/.test("a".repeat(60) + "!") });

export const fill = query({
  args: {},
  handler: () => {
    const kept: number[][] = [];
    for (;;) kept.push(new Array(10_000).fill(kept.length));
  },
});

export const recurse = query({
  args: {},
  handler: () => {
    const down = (depth: number): number => 1 + down(depth + 1);
    return down(0);
  },
});

export const write = mutation({
  args: {},
  handler: async (ctx) => {
    for (;;) await ctx.db.insert("written", { text: "x".repeat(100) });
  },
});

export const print = query({
  args: {},
  handler: () => {
    for (;;) console.log("line");
  },
});

export const answer = query({ args: {}, handler: () => "x".repeat(17 << 20) });
