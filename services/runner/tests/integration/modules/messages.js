import { ConvexError, action, internalMutation, internalQuery, mutation, query, v } from "./_deps/library.js";

export const list = query(async (ctx) => (await ctx.db.all("messages")).map((message) => message.body));

export const count = query(async (ctx) => (await ctx.db.all("messages")).length);

export const send = mutation({
  args: v.object({ body: v.string }),
  handler: async (ctx, { body }) => {
    console.log("sending", body);
    return await ctx.db.insert("messages", { body });
  },
});

export const get = query({ args: v.object({ id: v.id("messages") }), handler: (ctx, { id }) => ctx.db.get(id) });

export const page = query((ctx, options) => ctx.db.page("messages", options));

export const nothing = mutation(async () => "nothing was written");

export const secret = internalQuery(async () => "secret");

export const sendSecretly = internalMutation((ctx, { body }) => ctx.db.insert("messages", { body }));

export const wrongResult = query({ returns: v.string, handler: async () => 7 });

export const act = action(async () => null);

export const fail = mutation(async (ctx) => {
  await ctx.db.insert("messages", { body: "never" });
  throw new TypeError("it failed");
});

export const refuse = mutation(async (ctx) => {
  await ctx.db.insert("messages", { body: "never" });
  throw new ConvexError({ code: 7 });
});

export default query(async () => "the default export");
