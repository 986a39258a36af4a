import { paginationOptsValidator } from "convex/server";
import { v } from "convex/values";
import { mutation, query } from "./_generated/server";

export const add = mutation({
  args: { name: v.string(), age: v.optional(v.number()), city: v.optional(v.string()) },
  handler: (ctx, { name, age, city }) => ctx.db.insert("people", { name, age, home: city === undefined ? undefined : { city } }),
});

export const get = query({ args: { id: v.id("people") }, handler: (ctx, { id }) => ctx.db.get(id) });

export const patch = mutation({
  args: { id: v.id("people"), age: v.optional(v.number()), forgetAge: v.optional(v.boolean()) },
  handler: async (ctx, { id, age, forgetAge }) => {
    await ctx.db.patch(id, forgetAge ? { age: undefined } : { age });
    return ctx.db.get(id);
  },
});

export const replace = mutation({
  args: { id: v.id("people"), name: v.string() },
  handler: async (ctx, { id, name }) => {
    await ctx.db.replace(id, { name });
    return ctx.db.get(id);
  },
});

export const remove = mutation({ args: { id: v.id("people") }, handler: (ctx, { id }) => ctx.db.delete(id) });

export const named = query({
  args: { name: v.string() },
  handler: (ctx, { name }) => ctx.db.query("people").withIndex("by_name", (range) => range.eq("name", name)).unique(),
});

export const inCity = query({
  args: { city: v.optional(v.string()) },
  handler: async (ctx, { city }) => {
    const people = ctx.db.query("people").withIndex("by_city", (range) => range.eq("home.city", city as string));
    return (await people.collect()).map(({ name }) => name);
  },
});

export const pageOf = query({
  args: { paginationOpts: paginationOptsValidator, order: v.union(v.literal("asc"), v.literal("desc")) },
  handler: (ctx, { paginationOpts, order }) => ctx.db.query("people").withIndex("by_name").order(order).paginate(paginationOpts),
});

export const normalized = query({ args: { id: v.string() }, handler: (ctx, { id }) => ctx.db.normalizeId("people", id) });

export const befriend = mutation({
  args: { of: v.id("people"), tags: v.array(v.string()) },
  handler: (ctx, friend) => ctx.db.insert("friends", friend),
});

/** Writes what the schema does not allow. */
export const addWrongly = mutation({
  args: { document: v.any() },
  handler: (ctx, { document }) => ctx.db.insert("people", document),
});

/** What a mutation reads of its own writes: before, between and after. */
export const ownWrites = mutation({
  args: { name: v.string() },
  handler: async (ctx, { name }) => {
    const found = async () => {
      const people = ctx.db.query("people").withIndex("by_name", (range) => range.eq("name", name));
      return (await people.collect()).length;
    };
    const before = await found();
    const first = await ctx.db.insert("people", { name });
    const second = await ctx.db.insert("people", { name });
    const between = await found();
    await ctx.db.delete(first);
    await ctx.db.delete(second);
    return [before, between, await found()];
  },
});

export const createdInOrder = mutation({
  args: {},
  handler: async (ctx) => {
    const times = [];
    for (const name of ["first", "second", "third"]) {
      const person = await ctx.db.get(await ctx.db.insert("people", { name }));
      times.push(person!._creationTime);
      await ctx.db.delete(person!._id);
    }
    return times;
  },
});
