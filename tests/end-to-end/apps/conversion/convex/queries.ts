// What functions see of `collect`, `take`, `first` and `unique`, told as text.
import { mutationGeneric as mutation, queryGeneric as query } from "convex/server";
import { v } from "convex/values";

declare const Convex: any;

const values = [
  (n: number) => ({ number: n, text: "row " + n, tags: ["a", { b: [n] }] }),
  (n: number) => ({ number: n, bigint: BigInt(n), list: [-0, NaN, 1n] }),
  (n: number) => ({ number: n, bytes: new Uint8Array([n % 256]).buffer, none: null }),
  (n: number) => ({ number: n }),
];

export const fill = mutation({
  args: { count: v.number() },
  handler: async (ctx, { count }) => {
    for (let n = 0; n < count; n++) await ctx.db.insert("rows", values[n % 3 === 0 ? 0 : n % values.length]!(n));
  },
});

function tell(value: any): string {
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "number") return Object.is(value, -0) ? "-0" : String(value);
  if (value instanceof ArrayBuffer) return `bytes ${[...new Uint8Array(value)]}`;
  if (typeof value !== "object" || value === null) return String(value);
  const members = Object.keys(value).map((key) => (key.startsWith("_") ? `${key}: ${typeof value[key]}` : `${key}: ${tell(value[key])}`));
  return `${Object.getPrototypeOf(value)?.constructor?.name}{${members.join(", ")}}`;
}

const rows = (ctx: any) => ctx.db.query("rows").withIndex("by_number");

async function attempt(act: () => any): Promise<string> {
  try {
    return tell(await act());
  } catch (error: any) {
    return `${error?.name}: ${error?.message}`;
  }
}

// What has been read so far, as the transaction counts it.
const metrics = async () => Object.entries(JSON.parse(await Convex.asyncSyscall("1.0/getTransactionMetrics", "{}")))
  .filter(([name]) => /read|quer/i.test(name)).map(([name, { used }]: any) => `${name} ${used}`).join(", ");

type Way = (ctx: any) => any;
const ways: Record<string, Way> = {
  "all": (ctx) => rows(ctx).collect(),
  "none": (ctx) => rows(ctx).take(0),
  "some": (ctx) => rows(ctx).take(7),
  "more than there are": (ctx) => rows(ctx).take(5000),
  "first": (ctx) => rows(ctx).first(),
  "first of nothing": (ctx) => ctx.db.query("rows").withIndex("by_number", (q: any) => q.gt("number", 1e9)).first(),
  "unique": (ctx) => ctx.db.query("rows").withIndex("by_number", (q: any) => q.eq("number", 3)).unique(),
  "not unique": (ctx) => rows(ctx).unique().catch((error: any) => error.message.replace(/\[.*/s, "")),
  "descending": (ctx) => rows(ctx).order("desc").take(20),
  "filtered": (ctx) => rows(ctx).filter((q: any) => q.gt(q.field("number"), 30)).take(9),
  "a part": async (ctx) => { const seen = []; for await (const row of rows(ctx)) { seen.push(row); if (seen.length === 4) break; } return seen; },
  "a wrong number": (ctx) => rows(ctx).take(-1),
  "twice": async (ctx) => { const q = rows(ctx); return [await attempt(() => q.collect()), await attempt(() => q.collect())]; },
  "after iteration": async (ctx) => { const q = rows(ctx).order("asc"); await q.next(); return attempt(() => q.collect()); },
  "chained before": async (ctx) => { const q = rows(ctx); q.order("asc"); return attempt(() => q.collect()); },
  "two at once": (ctx) => Promise.all([rows(ctx).take(6), rows(ctx).order("desc").take(5)]),
  "who is first": (ctx) => Promise.race([rows(ctx).take(30), rows(ctx).take(2)]),
  "no such index": (ctx) => ctx.db.query("rows").withIndex("by_nothing").collect(),
  "a value that can't be compared": (ctx) => ctx.db.query("rows").withIndex("by_number", (q: any) => q.eq("number", new Set())).collect(),
};

export const listWays = query({ args: {}, handler: async () => Object.keys(ways) });

export const read = query({
  args: { way: v.string() },
  handler: async (ctx, { way }) => [await attempt(() => ways[way]!(ctx)), await metrics()],
});

const parts = (ctx: any) => {
  const query = rows(ctx).order("asc");
  return { query, prototype: Object.getPrototypeOf(query) };
};
const patches: Record<string, (ctx: any) => any> = {
  nothing: () => {},
  next: (ctx) => { const { prototype } = parts(ctx); const { next } = prototype; prototype.next = async function () { const step = await next.call(this); return step.value ? { ...step, value: { patched: step.value.number } } : step; }; },
  "asyncIterator": (ctx) => { const { prototype } = parts(ctx); prototype[Symbol.asyncIterator] = async function* () { yield { patched: 1 }; }; },
  collect: (ctx) => { const { prototype } = parts(ctx); prototype.collect = async () => ["patched"]; },
  startQuery: (ctx) => { const { prototype } = parts(ctx); const { startQuery } = prototype; prototype.startQuery = function () { this.tableNameForErrorMessages = "patched"; return startQuery.call(this); }; },
  closeQuery: (ctx) => { const { prototype } = parts(ctx); prototype.closeQuery = function () { throw new Error("close is patched"); }; },
  "next of the query itself": (ctx) => { const { query } = parts(ctx); let n = 0; query.next = async () => ({ value: { patched: n }, done: n++ > 2 }); return query; },
  "a query's prototype": (ctx) => { const { query, prototype } = parts(ctx); return Object.setPrototypeOf(query, { __proto__: prototype, next: async () => ({ done: true }) }); },
  "asyncSyscall": () => { const { asyncSyscall } = Convex; let n = 0; Convex.asyncSyscall = (name: string, args: string) => (name.endsWith("Next") && n++ > 4 ? Promise.resolve('{"value":null,"done":true}') : asyncSyscall(name, args)); },
  "the global Convex": () => { const old = Convex; (globalThis as any).Convex = { ...old, syscall: old.syscall, asyncSyscall: () => Promise.reject(new Error("patched")) }; },
  "JSON.parse": () => { const { parse } = JSON; JSON.parse = (text: string) => { const value = parse(text); if (value?.value?.number) value.value.number += 1000; return value; }; },
  "JSON.stringify": () => { const { stringify } = JSON; (JSON as any).stringify = (value: any, ...more: any[]) => (value?.queryId !== undefined ? "{}" : stringify(value, ...more)); },
  push: () => { const { push } = Array.prototype; Array.prototype.push = function (...items: any[]) { return push.call(this, ...items, "pushed"); }; },
  "then on Object.prototype": () => { Object.defineProperty(Object.prototype, "then", { get() { if (this?.done === false) throw new Error("then is read"); return undefined; }, configurable: true }); },
  "map": () => { const { map } = Array.prototype; Array.prototype.map = function (this: any, f: any) { return map.call(this, f).concat(["mapped"]); } as any; },
};

export const listPatches = query({ args: {}, handler: async () => Object.keys(patches) });

export const patched = query({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    const query = patches[name]!(ctx) ?? parts(ctx).query;
    const told = await attempt(() => (name === "nothing" ? query.collect() : query.collect()));
    throw new Error(told);
  },
});

// A collection beside writes that nobody waits for.
export const beside = mutation({
  args: { count: v.number() },
  handler: async (ctx, { count }) => {
    const last = 1e6;
    const [before, , after] = await Promise.all([
      rows(ctx).collect(),
      (async () => { for (let n = 0; n < count; n++) await ctx.db.insert("rows", { number: last + n }); })(),
      ctx.db.query("rows").withIndex("by_number", (q: any) => q.gte("number", last)).collect(),
    ]);
    const seen = [before.length, after.length];
    for (const row of await ctx.db.query("rows").withIndex("by_number", (q: any) => q.gte("number", last)).collect()) await ctx.db.delete(row._id);
    return [...seen, await metrics()];
  },
});
