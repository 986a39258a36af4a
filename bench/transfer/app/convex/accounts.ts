import { v } from "convex/values";
import { mutation, query } from "./_generated/server";
import type { QueryCtx } from "./_generated/server";

export const open = mutation({
  args: { from: v.number(), to: v.number(), balance: v.number() },
  handler: async (ctx, { from, to, balance }) => {
    for (let number = from; number < to; number++) {
      await ctx.db.insert("accounts", { number, balance });
    }
  },
});

async function account(ctx: QueryCtx, number: number) {
  const found = await ctx.db
    .query("accounts")
    .withIndex("by_number", (q) => q.eq("number", number))
    .unique();
  if (found === null) throw new Error(`no account ${number}`);
  return found;
}

export const transfer = mutation({
  args: { from: v.number(), to: v.number(), amount: v.number() },
  handler: async (ctx, { from, to, amount }) => {
    const payer = await account(ctx, from);
    const payee = await account(ctx, to);
    if (payer.balance < amount) throw new Error(`account ${from} has only ${payer.balance}`);
    await ctx.db.patch(payer._id, { balance: payer.balance - amount });
    await ctx.db.patch(payee._id, { balance: payee.balance + amount });
  },
});

export const total = query({
  args: { from: v.number(), to: v.number() },
  handler: async (ctx, { from, to }) => {
    let sum = 0;
    const accounts = ctx.db
      .query("accounts")
      .withIndex("by_number", (q) => q.gte("number", from).lt("number", to));
    for await (const { balance } of accounts) sum += balance;
    return sum;
  },
});
