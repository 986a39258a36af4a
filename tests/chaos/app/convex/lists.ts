// Lists that transactions read and append to. A value is appended once in a run, so that a list tells who wrote it, and in which order.
import { v } from "convex/values";
import { type MutationCtx, type QueryCtx, mutation, query } from "./_generated/server";
import { once } from "./once";

const step = v.union(
  v.object({ kind: v.literal("read"), key: v.number() }),
  v.object({ kind: v.literal("range"), from: v.number(), to: v.number() }),
  v.object({ kind: v.literal("append"), key: v.number(), value: v.string() }),
);
const found = v.array(v.object({ key: v.number(), values: v.array(v.string()) }));
type Step = typeof step.type;
type Found = typeof found.type;

/** Runs the steps as one transaction, and answers which lists each of them saw: an append, its list as it was before. */
export const transact = mutation({
  args: { steps: v.array(step), fail: v.boolean(), name: v.optional(v.string()) },
  returns: v.array(found),
  handler: (ctx, { steps, fail, name }) =>
    once(ctx, name, async () => {
      const answers: Found[] = [];
      for (const one of steps) {
        answers.push(await look(ctx, one));
        if (one.kind === "append") {
          await append(ctx, one.key, one.value);
        }
      }
      if (fail) {
        throw new Error("asked to fail");
      }
      return answers;
    }),
});

export const observe = query({
  args: { steps: v.array(step) },
  returns: v.array(found),
  handler: async (ctx, { steps }) => {
    const answers: Found[] = [];
    for (const one of steps) {
      answers.push(await look(ctx, one));
    }
    return answers;
  },
});

async function append(ctx: MutationCtx, key: number, value: string) {
  const list = await ctx.db
    .query("lists")
    .withIndex("by_key", (range) => range.eq("key", key))
    .first();
  if (list === null) {
    await ctx.db.insert("lists", { key, values: [value] });
  } else {
    await ctx.db.patch(list._id, { values: [...list.values, value] });
  }
}

async function look(ctx: QueryCtx, one: Step): Promise<Found> {
  const [from, to] = one.kind === "range" ? [one.from, one.to] : [one.key, one.key];
  const lists = await ctx.db
    .query("lists")
    .withIndex("by_key", (range) => range.gte("key", from).lte("key", to))
    .collect();
  return lists.map(({ key, values }) => ({ key, values }));
}
