// What functions return and throw.
import { ConvexError, v } from "convex/values";
import { mutation, query } from "./_generated/server";

class Own {
  name = "own";
}

class Refusal extends ConvexError<{ reason: string }> {
  constructor(reason: string) {
    super({ reason });
    this.name = "Refusal";
  }
}

class Named extends Error {
  name = "Named";
}

const RESULTS: Record<string, (db: any) => unknown> = {
  undefined: () => undefined,
  "fields that are undefined": () => ({ a: 1, b: undefined, c: { d: undefined } }),
  "an array with undefined": () => [1, undefined],
  "a Date": () => new Date(0),
  "a Map": () => new Map(),
  "a Set": () => new Set([1]),
  "a typed array": () => new Uint8Array(2),
  "an instance of a class": () => new Own(),
  "a function": () => () => 1,
  "a symbol": () => Symbol("s"),
  "a large bigint": () => 2n ** 63n,
  "an object without a prototype": () => Object.assign(Object.create(null), { a: 1 }),
  "a promise in an array": () => [Promise.resolve(1)],
  "a name with a dollar": () => ({ $a: 1 }),
  "half a character": () => "\ud83d",
  "a long array": () => Array.from({ length: 8_193 }, () => 0),
  "what is deep": () => Array.from({ length: 65 }).reduce((value) => [value], 0 as unknown),
  "a subclass of ConvexError": () => {
    throw new Refusal("full");
  },
  "an error with a name": () => {
    throw new Named("by its name");
  },
  "null thrown": () => {
    throw null;
  },
  "undefined thrown": () => {
    throw undefined;
  },
  "an object thrown": () => {
    throw { is: "thrown" };
  },
  "thrown later": async (db) => {
    await db.query("people").first();
    throw new TypeError("after a wait");
  },
  "thrown by JavaScript": () => (undefined as any).field,
  "thrown by the database": (db) => db.get("no id"),
  "a stack without an end": () => {
    const again = (): number => 1 + again();
    return again();
  },
  "a ConvexError of nothing": () => {
    throw new ConvexError(null);
  },
};

const how = { args: { how: v.string() }, handler: (ctx: any, { how }: { how: string }) => RESULTS[how](ctx.db) as any };
export const ofQuery = query(how);
export const ofMutation = mutation(how);
