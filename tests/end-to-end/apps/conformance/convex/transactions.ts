// What belongs to one transaction: documents by their table and id, limits, moments, calls within calls.
import { v } from "convex/values";
import { api, internal } from "./_generated/api";
import { action, internalMutation, internalQuery, mutation, query } from "./_generated/server";

const named = { name: v.string() };

/** A person, got, changed, replaced and deleted by table and id: what there was after each step. */
export const byTable = mutation({
  args: named,
  handler: async (ctx, { name }) => {
    const id = await ctx.db.insert("people", { name, age: 1 });
    const seen: unknown[] = [];
    const see = async () => {
      const person = await ctx.db.get("people", id);
      seen.push(person && [person.name, person.age ?? null]);
    };
    await see();
    await ctx.db.patch("people", id, { age: 2 });
    await see();
    await ctx.db.replace("people", id, { name });
    await see();
    await ctx.db.delete("people", id);
    await see();
    return seen;
  },
});

const WRONG: Record<string, (db: any, id: any) => unknown> = {
  "get by another table": (db, id) => db.get("friends", id),
  "patch by another table": (db, id) => db.patch("friends", id, { tags: [] }),
  "replace by another table": (db, id) => db.replace("friends", id, {}),
  "delete by another table": (db, id) => db.delete("friends", id),
  "another id": (db, id) => db.replace(id, { name: "a", _id: "b" }),
  "another time of creation": (db, id) => db.patch(id, { _creationTime: 1 }),
  "undefined in an array": (db) => db.insert("points", { set: "never", name: "a", at: [undefined] }),
  "a Date": (db) => db.insert("points", { set: "never", name: "a", at: new Date(0) }),
  "a Map": (db) => db.insert("points", { set: "never", name: "a", at: new Map() }),
  "an instance of a class": (db) => db.insert("points", { set: "never", name: "a", at: new (class Own {})() }),
  "a function": (db) => db.insert("points", { set: "never", name: "a", at: () => 1 }),
  "a large bigint": (db) => db.insert("points", { set: "never", name: "a", at: 2n ** 63n }),
  "a name with a dollar": (db) => db.insert("points", { set: "never", name: "a", at: { $a: 1 } }),
  "a name beyond ASCII": (db) => db.insert("points", { set: "never", name: "a", at: { é: 1 } }),
  "a long array": (db) => db.insert("points", { set: "never", name: "a", at: Array(8193).fill(0) }),
  "many fields": (db) => db.insert("points", { set: "never", name: "a", at: Object.fromEntries(Array.from({ length: 1025 }, (_, index) => [`f${index}`, 0])) }),
  "a deep value": (db) => db.insert("points", { set: "never", name: "a", at: Array.from({ length: 17 }).reduce((value) => [value], 0 as any) }),
  "a large document": (db) => db.insert("points", { set: "never", name: "a", at: "x".repeat(2 ** 20) }),
  "a table of the system": (db) => db.insert("_storage", {}),
  "a bad name for a table": (db) => db.insert("no-name", {}),
};

/** Does what can't be done to a person. */
export const wrongly = mutation({
  args: { how: v.string() },
  handler: async (ctx, { how }) => {
    const id = await ctx.db.insert("people", { name: "never" });
    await WRONG[how](ctx.db, id);
  },
});

/** Undefined fields are left out; unchanged ids and times may be said again. */
export const sameAgain = mutation({
  args: named,
  handler: async (ctx, { name }) => {
    const id = await ctx.db.insert("people", { name, age: undefined });
    const person = (await ctx.db.get(id))!;
    await ctx.db.replace(id, { ...person, age: 3 });
    await ctx.db.patch(id, { _id: person._id, _creationTime: person._creationTime, age: 4 } as any);
    const after = (await ctx.db.get(id))!;
    return [Object.keys(person).sort(), after.age ?? null, after._creationTime === person._creationTime];
  },
});

export const metadata = query({ args: {}, handler: (ctx) => ctx.meta.getFunctionMetadata() });
export const metadataOfMutation = mutation({ args: {}, handler: (ctx) => ctx.meta.getFunctionMetadata() });
export const metadataOfAction = action({
  args: {},
  handler: async (ctx): Promise<unknown[]> => [await ctx.meta.getFunctionMetadata(), await ctx.runQuery(internal.transactions.metadataOfInternal, {})],
});
export const metadataOfInternal = internalQuery({ args: {}, handler: (ctx) => ctx.meta.getFunctionMetadata() });

/** What is used of the limits before, after one document was written and read again, and within a call. */
export const used = mutation({
  args: named,
  handler: async (ctx, { name }): Promise<unknown> => {
    const of = async () => {
      const { documentsRead, documentsWritten, databaseQueries, functionsScheduled } = await ctx.meta.getTransactionMetrics();
      return [documentsRead, documentsWritten, databaseQueries, functionsScheduled].map(({ used }) => used);
    };
    const before = await of();
    const { remaining } = (await ctx.meta.getTransactionMetrics()).documentsWritten;
    const id = await ctx.db.insert("entries", { name });
    await ctx.db.get(id);
    await ctx.runMutation(internal.schedules.enter, { name });
    const after = await of();
    return [before, after, remaining];
  },
});

export const writes = internalMutation({
  args: { name: v.string(), count: v.number() },
  handler: async (ctx, { name, count }) => {
    for (let written = 0; written < count; written++) await ctx.db.insert("entries", { name });
  },
});

/** Calls one that writes so many, and may write two. */
export const limited = mutation({
  args: { name: v.string(), count: v.number() },
  handler: async (ctx, args): Promise<string> => {
    const limits = { transactionLimits: { documentsWritten: 2 } };
    return ctx.runMutation(internal.transactions.writes, args, limits).then(() => "done", (error) => error.message);
  },
});

/** What a query within a mutation sees of its writes: as it is, and of the moment before. */
export const stale = mutation({
  args: named,
  handler: async (ctx, { name }): Promise<number[]> => {
    await ctx.db.insert("entries", { name });
    return [await ctx.runQuery(api.actions.count, { name }), await ctx.runQuery(api.actions.count, { name }, { useStaleSnapshot: true })];
  },
});

/** The moment that is seen, by a query whose result depends on a set. */
export const moment = query({
  args: { set: v.string() },
  handler: async (ctx, { set }) => {
    await ctx.db.query("points").withIndex("by_set", (range) => range.eq("set", set)).collect();
    return ctx.meta.getSnapshotTs();
  },
});

/** Writes to a table that the schema does not have, and reads it. */
export const undeclared = mutation({
  args: named,
  handler: async (ctx, { name }) => {
    const db: any = ctx.db;
    const { _id, _creationTime, ...document } = await db.get(await db.insert("undeclared", { name, more: [null] }));
    return document;
  },
});

/** Calls itself so many times, each within the one before. */
export const deep: any = mutation({
  args: { name: v.string(), depth: v.number() },
  handler: async (ctx, { name, depth }): Promise<number> => {
    await ctx.db.insert("entries", { name });
    return depth === 0 ? 0 : 1 + (await ctx.runMutation(api.transactions.deep, { name, depth: depth - 1 }));
  },
});

/** Calls what is not there, or not as it is. */
export const callsWrongly = mutation({
  args: { how: v.string() },
  handler: async (ctx, { how }): Promise<unknown> => {
    switch (how) {
      case "an action":
        return ctx.runMutation(api.actions.nothing as any, {});
      case "a mutation as a query":
        return ctx.runQuery(internal.schedules.enter as any, { name: "never" });
      case "other arguments":
        return ctx.runMutation(internal.schedules.enter, { name: 1 as any });
      default:
        return ctx.runQuery((api as any).nothing.there, {});
    }
  },
});

/** Several at once, each of which adds one to the same number. */
export const count = mutation({
  args: { set: v.string() },
  handler: async (ctx, { set }) => {
    const point = await ctx.db.query("points").withIndex("by_set", (range) => range.eq("set", set)).unique();
    if (point === null) {
      await ctx.db.insert("points", { set, name: "counter", at: 1 });
      return 1;
    }
    await ctx.db.patch(point._id, { at: point.at + 1 });
    return point.at + 1;
  },
});

export const logs = mutation({
  args: named,
  handler: (_ctx, { name }) => {
    console.log(name, { a: [1, null] });
    console.warn(1, true);
    console.debug(undefined, null);
  },
});
