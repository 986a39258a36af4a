import { mutation, query } from "./_generated/server";

/** Adds 1 to the one row of the table, for the benchmark of a row that everybody changes. */
export const increment = mutation({
  args: {},
  handler: async (ctx) => {
    const counter = await ctx.db.query("counters").unique();
    if (counter === null) {
      await ctx.db.insert("counters", { count: 1 });
      return 1;
    }
    await ctx.db.patch(counter._id, { count: counter.count + 1 });
    return counter.count + 1;
  },
});

export const value = query({
  args: {},
  handler: async (ctx) => (await ctx.db.query("counters").unique())?.count ?? 0,
});
