import { internalMutation, mutation, query } from "./_deps/library.js";

export const increment = mutation(async (ctx) => {
  const [counter] = await ctx.db.all("counters");
  if (counter === undefined) {
    await ctx.db.insert("counters", { count: 1 });
    return 1;
  }
  await ctx.db.patch(counter._id, { count: counter.count + 1 });
  return counter.count + 1;
});

export const value = query(async (ctx) => (await ctx.db.all("counters"))[0]?.count ?? 0);

// Moves between two rows whose sum stays what it is.
export const transfer = mutation(async (ctx, { from, to }) => {
  const rows = await ctx.db.all("accounts");
  await ctx.db.patch(rows[from]._id, { balance: rows[from].balance - 1 });
  await ctx.db.patch(rows[to]._id, { balance: rows[to].balance + 1 });
  return null;
});

export const open = internalMutation(async (ctx, { accounts }) => {
  for (let number = 0; number < accounts; number++) await ctx.db.insert("accounts", { balance: 100 });
  return null;
});

export const balances = query(async (ctx) => (await ctx.db.all("accounts")).map((account) => account.balance));

export const openRows = mutation(async (ctx, { rows }) => {
  const ids = [];
  for (let row = 0; row < rows; row++) ids.push(await ctx.db.insert("rows", { count: 0 }));
  return ids;
});

// Adds 1 to each of the rows, in this order; what they held.
export const bump = mutation(async (ctx, { ids }) => {
  const seen = [];
  for (const id of ids) {
    const { count } = await ctx.db.get(id);
    seen.push(count);
    await ctx.db.patch(id, { count: count + 1 });
  }
  return seen;
});

// Adds 1 to a row, and tells the time: as the clock shows it, and of a document that is made then.
export const stamp = mutation(async (ctx, { id }) => {
  const { count } = await ctx.db.get(id);
  await ctx.db.patch(id, { count: count + 1 });
  const stamp = await ctx.db.get(await ctx.db.insert("stamps", { count }));
  return { count, now: Date.now(), created: stamp._creationTime };
});
