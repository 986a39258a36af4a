// How documents are asked for.
import { paginationOptsValidator } from "convex/server";
import { v } from "convex/values";
import { mutation, query } from "./_generated/server";

/** What `at` is may be of any type, or missing: in the index by it these come as d, f, g, a, b, c, h, e. */
const POINTS = [
  { name: "a", at: 1, size: 1 },
  { name: "b", at: 2, size: 1 },
  { name: "c", at: 2, size: 3 },
  { name: "d", size: 2 },
  { name: "e", at: "2", size: 5 },
  { name: "f", at: null },
  { name: "g", at: 3n, size: -1 },
  { name: "h", at: 2.5 },
];

class Points {
  constructor(private db: any, private set: string) {}

  /** All, in the order of their creation. */
  get all() {
    return this.db.query("points").withIndex("by_set", (range: any) => range.eq("set", this.set));
  }

  /** Those within a range of what is at `at`. */
  by(within: (range: any) => any) {
    return this.db.query("points").withIndex("by_at", (range: any) => within(range.eq("set", this.set)));
  }

  where(holds: (q: any) => any) {
    return this.all.filter(holds);
  }

  /** Those at 2, whose sizes are numbers. */
  atTwo(holds: (q: any, at: any, size: any) => any) {
    return this.by((range) => range.eq("at", 2)).filter((q: any) => holds(q, q.field("at"), q.field("size")));
  }
}

const WAYS: Record<string, (points: Points) => any> = {
  "all by creation": (points) => points.all,
  "all backwards": (points) => points.all.order("desc"),
  "all by at": (points) => points.by((range) => range),
  "all by at backwards": (points) => points.by((range) => range).order("desc"),
  "eq undefined": (points) => points.by((range) => range.eq("at", undefined)),
  "eq null": (points) => points.by((range) => range.eq("at", null)),
  "eq int64": (points) => points.by((range) => range.eq("at", 3n)),
  "gt 2": (points) => points.by((range) => range.gt("at", 2)),
  "gte 2": (points) => points.by((range) => range.gte("at", 2)),
  "lt 2": (points) => points.by((range) => range.lt("at", 2)),
  "lte null": (points) => points.by((range) => range.lte("at", null)),
  "gt undefined": (points) => points.by((range) => range.gt("at", undefined)),
  "gte 1, lt 2.5": (points) => points.by((range) => range.gte("at", 1).lt("at", 2.5)),
  "gt 2, lt 1": (points) => points.by((range) => range.gt("at", 2).lt("at", 1)),
  "eq 2, gt 1": (points) => points.by((range) => range.eq("at", 2).gt("size", 1)),
  "eq 2 backwards": (points) => points.by((range) => range.eq("at", 2)).order("desc"),
  "eq 2, eq 3": (points) => points.by((range) => range.eq("at", 2).eq("size", 3)),
  "filter eq": (points) => points.where((q) => q.eq(q.field("at"), 2)),
  "filter eq undefined": (points) => points.where((q) => q.eq(q.field("at"), undefined)),
  "filter neq": (points) => points.where((q) => q.neq(q.field("at"), 2)),
  "filter lt": (points) => points.where((q) => q.lt(q.field("at"), 2)),
  "filter lte": (points) => points.where((q) => q.lte(q.field("at"), 2)),
  "filter gt": (points) => points.where((q) => q.gt(q.field("at"), 2)),
  "filter gte": (points) => points.where((q) => q.gte(q.field("at"), 2)),
  "filter two fields": (points) => points.where((q) => q.gt(q.field("at"), q.field("size"))),
  "filter and": (points) => points.where((q) => q.and(q.eq(q.field("at"), 2), q.gt(q.field("size"), 1))),
  "filter or": (points) => points.where((q) => q.or(q.eq(q.field("at"), 1), q.eq(q.field("size"), 5))),
  "filter not": (points) => points.where((q) => q.not(q.eq(q.field("at"), 2))),
  "filter and of none": (points) => points.where((q) => q.and()),
  "filter or of none": (points) => points.where((q) => q.or()),
  "filter true": (points) => points.where(() => true),
  "filter nested": (points) => points.where((q) => q.eq(q.field("at.deep"), undefined)),
  "filter twice": (points) => points.where((q) => q.eq(q.field("at"), 2)).filter((q: any) => q.gt(q.field("size"), 1)),
  "filter add": (points) => points.atTwo((q, at, size) => q.eq(q.add(at, size), 5)),
  "filter sub": (points) => points.atTwo((q, at, size) => q.eq(q.sub(at, size), 1)),
  "filter mul": (points) => points.atTwo((q, at, size) => q.eq(q.mul(at, size), 6)),
  "filter div": (points) => points.atTwo((q, at, size) => q.eq(q.div(size, at), 1.5)),
  "filter mod": (points) => points.atTwo((q, at, size) => q.eq(q.mod(size, at), 1)),
  "filter neg": (points) => points.atTwo((q, _at, size) => q.eq(q.neg(size), -3)),
  "filter add of types": (points) => points.where((q) => q.eq(q.add(q.field("at"), 1n), 5n)),
  "filter no boolean": (points) => points.where((q) => q.field("name")),
  "filter and of no booleans": (points) => points.where((q) => q.and(q.field("name"), true)),
  "take 0": (points) => points.all.take(0),
  "take 3": (points) => points.all.take(3),
  "take 100": (points) => points.all.take(100),
  "take of filtered": (points) => points.where((q) => q.eq(q.field("at"), 2)).take(1),
  "take -1": (points) => points.all.take(-1),
  first: async (points) => [await points.all.first()],
  "first of filtered": async (points) => [await points.where((q) => q.eq(q.field("at"), 2)).first()],
  "first of none": async (points) => [await points.by((range) => range.eq("at", "none")).first()],
  "unique of one": async (points) => [await points.by((range) => range.eq("at", 1)).unique()],
  "unique of two": async (points) => [await points.by((range) => range.eq("at", 2)).unique()],
  "loop left early": async (points) => {
    const found = [];
    for await (const point of points.all) {
      found.push(point);
      if (found.length === 2) break;
    }
    return found;
  },
  "two loops at once": async (points) => {
    const [one, other] = [points.all[Symbol.asyncIterator](), points.all.order("desc")[Symbol.asyncIterator]()];
    const found = [];
    for (let step = 0; step < 2; step++) found.push((await one.next()).value, (await other.next()).value);
    return found;
  },
  "bounds of two fields": (points) => points.by((range) => range.gt("at", 1).lt("size", 2)),
  "a field left out": (points) => points.by((range) => range.eq("size", 1)),
  "two lower bounds": (points) => points.by((range) => range.gt("at", 1).gte("at", 1)),
  "eq after a bound": (points) => points.by((range) => range.gt("at", 1).eq("size", 1)),
  "a field of no index": (points) => points.by((range) => range.eq("name", "a")),
};

const asked = { set: v.string(), way: v.string() };

async function ask(db: any, { set, way }: { set: string; way: string }) {
  const found = await WAYS[way](new Points(db, set));
  return (Array.isArray(found) ? found : await found.collect()).map((point: any) => point?.name ?? null);
}

async function put(db: any, set: string) {
  for (const point of POINTS) await db.insert("points", { set, ...point });
}

export const prepare = mutation({ args: { set: v.string() }, handler: (ctx, { set }) => put(ctx.db, set) });

export const find = query({ args: asked, handler: (ctx, args) => ask(ctx.db, args) });

/** The same of what is written in the same transaction: half of it in another set, which is moved, and some that goes again. */
export const putAndFind = mutation({
  args: asked,
  handler: async (ctx, { set, way }) => {
    const gone = [];
    for (const [index, point] of POINTS.entries()) {
      gone.push(await ctx.db.insert("points", { set, name: "gone", at: point.at }));
      const id = await ctx.db.insert("points", { set: index % 2 ? `${set}, other` : set, ...point });
      if (index % 2) await ctx.db.patch(id, { set });
    }
    for (const id of gone) await ctx.db.delete(id);
    return ask(ctx.db, { set, way });
  },
});

export const noIndex = query({ args: {}, handler: (ctx) => ctx.db.query("points").withIndex("by_nothing" as any).collect() });

export const noTable = query({ args: {}, handler: (ctx) => ctx.db.query("nothing" as any).collect() });

export const systemTable = query({ args: {}, handler: (ctx) => ctx.db.query("_storage" as any).collect() });

export const ownTableAsSystem = query({ args: {}, handler: (ctx) => (ctx.db.system as any).query("points").collect() });

/** A page of a set by `at`; there may be a condition. */
export const page = query({
  args: { set: v.string(), paginationOpts: paginationOptsValidator, most: v.optional(v.number()) },
  handler: async (ctx, { set, paginationOpts, most }) => {
    const points = ctx.db.query("points").withIndex("by_at", (range) => range.eq("set", set));
    const some = most === undefined ? points : points.filter((q) => q.lte(q.field("size"), most));
    const { page, ...rest } = await some.paginate(paginationOpts);
    return { ...rest, page: page.map(({ name }) => name) };
  },
});

export const twoPages = query({
  args: { set: v.string() },
  handler: async (ctx, { set }) => {
    const points = () => ctx.db.query("points").withIndex("by_at", (range) => range.eq("set", set));
    await points().paginate({ numItems: 1, cursor: null });
    await points().paginate({ numItems: 1, cursor: null });
  },
});

export const add = mutation({
  args: { set: v.string(), name: v.string(), at: v.any() },
  handler: (ctx, point) => ctx.db.insert("points", point),
});

export const neverRun = query({ args: {}, handler: (ctx) => ctx.db.query("points") as any });

export const count = query({
  args: { set: v.string() },
  handler: async (ctx, { set }) => (await ctx.db.query("points").withIndex("by_set", (range) => range.eq("set", set)).collect()).length,
});
