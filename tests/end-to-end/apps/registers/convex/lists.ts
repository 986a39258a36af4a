import { v } from "convex/values";
import { type MutationCtx, type QueryCtx, mutation, query } from "./_generated/server";

const step = v.union(
  v.object({ kind: v.literal("read"), key: v.number() }),
  v.object({ kind: v.literal("range"), from: v.number(), to: v.number() }),
  v.object({ kind: v.literal("append"), key: v.number(), value: v.string() }),
);
type Step = typeof step.type;

const found = v.array(v.object({ key: v.number(), values: v.array(v.string()) }));
type Found = typeof found.type;

/** Runs the steps as one transaction and answers which lists each of them saw; absent keys are left out. */
export const transact = mutation({
  args: { steps: v.array(step), fail: v.boolean() },
  returns: v.array(found),
  handler: async (ctx, { steps, fail }) => {
    const answers: Found[] = [];
    for (const one of steps) {
      answers.push(one.kind === "append" ? await append(ctx, one.key, one.value) : await look(ctx, one));
    }
    if (fail) {
      throw new Error("asked to fail");
    }
    return answers;
  },
});

/** The same for steps that only read. */
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

/** Answers the list as it was before. */
async function append(ctx: MutationCtx, key: number, value: string): Promise<Found> {
  const existing = await ctx.db
    .query("lists")
    .withIndex("by_key", (range) => range.eq("key", key))
    .first();
  if (existing === null) {
    await ctx.db.insert("lists", { key, values: [value] });
    return [];
  }
  await ctx.db.patch(existing._id, { values: [...existing.values, value] });
  return [{ key, values: existing.values }];
}

async function look(ctx: QueryCtx, one: Step): Promise<Found> {
  const [from, to] = one.kind === "range" ? [one.from, one.to] : [one.key, one.key];
  const documents = await ctx.db
    .query("lists")
    .withIndex("by_key", (range) => range.gte("key", from).lte("key", to))
    .collect();
  return documents.map(({ key, values }) => ({ key, values }));
}
