// What Better Auth asks of a database, on the app's tables.
import { v } from "convex/values";
import type { TableNames } from "./_generated/dataModel";
import { internalMutation, internalQuery, type QueryCtx } from "./_generated/server";
import schema from "./schema";

type Row = Record<string, any> & { _id: any };
type Clause = { field: string; operator: string; value: any; connector: string; mode: string };

const clause = v.object({ field: v.string(), operator: v.string(), value: v.any(), connector: v.string(), mode: v.string() });
const which = { model: v.string(), where: v.array(clause), limit: v.optional(v.number()) };

const operators: Record<string, (held: any, value: any) => boolean> = {
  eq: (held, value) => held === value,
  ne: (held, value) => held !== value,
  lt: (held, value) => held !== null && held < value,
  lte: (held, value) => held !== null && held <= value,
  gt: (held, value) => held !== null && held > value,
  gte: (held, value) => held !== null && held >= value,
  in: (held, values) => values.includes(held),
  not_in: (held, values) => !values.includes(held),
  contains: (held, value) => typeof held === "string" && held.includes(value),
  starts_with: (held, value) => typeof held === "string" && held.startsWith(value),
  ends_with: (held, value) => typeof held === "string" && held.endsWith(value),
};

const lower = (value: any): any => {
  if (Array.isArray(value)) return value.map(lower);
  return typeof value === "string" ? value.toLowerCase() : value;
};

function holds(row: Row, { field, operator, value, mode }: Clause): boolean {
  const held = row[field] ?? null;
  const check = operators[operator];
  return mode === "insensitive" ? check(lower(held), lower(value)) : check(held, value);
}

/** The rows for which all clauses hold that are joined by AND, and at least one of those that are joined by OR. */
async function select(ctx: QueryCtx, model: string, where: Clause[]): Promise<Row[]> {
  const [all, any] = ["AND", "OR"].map((connector) => where.filter((clause) => clause.connector === connector));
  const rows = await candidates(ctx, model as TableNames, all);
  return rows.filter((row) => all.every((clause) => holds(row, clause)) && (any.length === 0 || any.some((clause) => holds(row, clause))));
}

/** Rows among which are all that these clauses want, by an id or an index if one of them has one. */
async function candidates(ctx: QueryCtx, table: TableNames, all: Clause[]): Promise<Row[]> {
  const equal = all.filter(({ operator, mode }) => operator === "eq" && mode === "sensitive");
  const byId = equal.find(({ field }) => field === "_id");
  if (byId) {
    const id = ctx.db.normalizeId(table, byId.value);
    const row = id && (await ctx.db.get(id));
    return row ? [row] : [];
  }
  const indexes = schema.tables[table][" indexes"]().map(({ indexDescriptor }: { indexDescriptor: string }) => indexDescriptor);
  const indexed = equal.find(({ field }) => indexes.includes(field));
  const query: any = ctx.db.query(table);
  return await (indexed ? query.withIndex(indexed.field, (q: any) => q.eq(indexed.field, indexed.value)) : query).collect();
}

export const find = internalQuery({
  args: { ...which, offset: v.optional(v.number()), sortBy: v.optional(v.object({ field: v.string(), direction: v.string() })) },
  handler: async (ctx, { model, where, limit = Infinity, offset = 0, sortBy }) => {
    const rows = await select(ctx, model, where);
    if (sortBy) {
      const { field, direction } = sortBy;
      const sign = direction === "asc" ? 1 : -1;
      rows.sort((a, b) => (a[field] === b[field] ? 0 : (a[field] ?? "") < (b[field] ?? "") ? -sign : sign));
    }
    return rows.slice(offset, offset + limit);
  },
});

export const add = internalMutation({
  args: { model: v.string(), row: v.any() },
  handler: async (ctx, { model, row }): Promise<any> => {
    const id = await ctx.db.insert(model as TableNames, row);
    return await ctx.db.get(id);
  },
});

/** Sets fields and adds to numbers, and returns the rows as they are then. */
export const change = internalMutation({
  args: { ...which, set: v.any(), increment: v.optional(v.record(v.string(), v.number())) },
  handler: async (ctx, { model, where, limit, set, increment = {} }) => {
    const changed: any[] = [];
    for (const row of (await select(ctx, model, where)).slice(0, limit)) {
      const sums = Object.entries(increment).map(([field, delta]) => [field, row[field] + delta]);
      await ctx.db.patch(row._id, { ...set, ...Object.fromEntries(sums) });
      changed.push(await ctx.db.get(row._id));
    }
    return changed;
  },
});

export const remove = internalMutation({
  args: which,
  handler: async (ctx, { model, where, limit }) => {
    const rows = (await select(ctx, model, where)).slice(0, limit);
    for (const { _id } of rows) {
      await ctx.db.delete(_id);
    }
    return rows;
  },
});
