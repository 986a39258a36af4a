import { v } from "convex/values";
import { internalQuery, mutation, query } from "./_generated/server";

const change = v.union(
  v.object({ kind: v.literal("insert"), name: v.string(), score: v.number() }),
  v.object({ kind: v.literal("patch"), name: v.string(), score: v.number() }),
  v.object({ kind: v.literal("remove"), name: v.string() }),
  v.object({ kind: v.literal("note"), text: v.string() }),
  v.object({ kind: v.literal("forget") }),
);

/** Makes all of the changes in one transaction; names are used once. */
export const apply = mutation({
  args: { changes: v.array(change) },
  returns: v.null(),
  handler: async (ctx, { changes }) => {
    for (const change of changes) {
      if (change.kind === "note") {
        const writer = await ctx.db.query("people").first();
        await ctx.db.insert("notes", { text: change.text, writer: writer?._id ?? null });
        continue;
      }
      if (change.kind === "forget") {
        const note = await ctx.db.query("notes").first();
        if (note) await ctx.db.delete(note._id);
        continue;
      }
      const person = await ctx.db.query("people").withIndex("by_name", (q) => q.eq("name", change.name)).first();
      if (change.kind === "insert" && !person) {
        await ctx.db.insert("people", {
          name: change.name,
          score: change.score,
          big: 9007199254740993n,
          bytes: new Uint8Array([1, 2, 3]).buffer,
          tags: ["new"],
        });
      } else if (change.kind === "patch" && person) {
        await ctx.db.patch(person._id, { score: change.score, tags: [...person.tags, "patched"].slice(-3) });
      } else if (change.kind === "remove" && person) {
        await ctx.db.delete(person._id);
      }
    }
    return null;
  },
});

/** Everything that there is. */
export const all = query({
  args: {},
  handler: async (ctx) => ({
    people: await ctx.db.query("people").collect(),
    notes: await ctx.db.query("notes").collect(),
  }),
});

export const fail = mutation({
  args: { text: v.string() },
  handler: (_, { text }) => {
    console.warn("about to fail", text);
    throw new TypeError(`it failed: ${text}`);
  },
});

export const hidden = internalQuery({ args: {}, handler: () => null });
