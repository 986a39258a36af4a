// All that there is, table by table.
import { paginationOptsValidator } from "convex/server";
import { v } from "convex/values";
import { query } from "./_generated/server";

const table = v.union(
  v.literal("lists"),
  v.literal("registers"),
  v.literal("twins"),
  v.literal("counters"),
  v.literal("answers"),
  v.literal("plans"),
  v.literal("runs"),
  v.literal("kept"),
);

export const page = query({
  args: { table, paginationOpts: paginationOptsValidator },
  handler: (ctx, { table, paginationOpts }) => ctx.db.query(table).paginate(paginationOpts),
});

const systemTable = v.union(v.literal("_scheduled_functions"), v.literal("_storage"));

export const systemPage = query({
  args: { table: systemTable, paginationOpts: paginationOptsValidator },
  handler: (ctx, { table, paginationOpts }) => ctx.db.system.query(table).paginate(paginationOpts),
});
