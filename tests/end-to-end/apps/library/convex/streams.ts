// Pages by convex-helpers, which end in the middle of an index and begin there again.
import { paginator } from "convex-helpers/server/pagination";
import { mergedStream, stream } from "convex-helpers/server/stream";
import { paginationOptsValidator } from "convex/server";
import { v } from "convex/values";
import { query } from "./_generated/server";
import schema from "./schema";

const order = v.union(v.literal("asc"), v.literal("desc"));
const args = { paginationOpts: paginationOptsValidator, order };

export const streamed = query({
  args,
  handler: (ctx, { paginationOpts, order }) =>
    stream(ctx.db, schema).query("books").withIndex("by_author_and_year").order(order).paginate(paginationOpts),
});

export const merged = query({
  args,
  handler: (ctx, { paginationOpts, order }) => {
    const of = (author: string) =>
      stream(ctx.db, schema)
        .query("books")
        .withIndex("by_author_and_year", (range) => range.eq("author", author))
        .order(order);
    return mergedStream([of("Melville"), of("Woolf")], ["year"]).paginate(paginationOpts);
  },
});

export const paginated = query({
  args,
  handler: (ctx, { paginationOpts, order }) =>
    paginator(ctx.db, schema).query("books").withIndex("by_author_and_year").order(order).paginate(paginationOpts),
});
