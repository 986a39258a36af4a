// The official Rust client sends a mutation again under the name of another session when its connection was lost, so that a server
// can't know it. An app that minds names its mutations itself.
import type { MutationCtx } from "./_generated/server";

/** Runs `mutation`, unless one of this name has taken effect: then its answer is given again. Without a name it always runs. */
export async function once<T>(ctx: MutationCtx, name: string | undefined, mutation: () => Promise<T>): Promise<T> {
  if (name === undefined) {
    return mutation();
  }
  const answered = await ctx.db
    .query("answers")
    .withIndex("by_once", (range) => range.eq("once", name))
    .unique();
  if (answered !== null) {
    return answered.answer;
  }
  const answer = await mutation();
  await ctx.db.insert("answers", { once: name, answer });
  return answer;
}
