// What the app and its own component can do with each other.
import { createFunctionHandle } from "convex/server";
import { ConvexError, v } from "convex/values";
import { components, internal } from "./_generated/api.js";
import { action, internalMutation, internalQuery, mutation, query } from "./_generated/server.js";

const which = v.union(v.literal("first"), v.literal("second"));

export const add = mutation({
  args: { to: which, text: v.string() },
  handler: async (ctx, { to, text }) => ctx.runMutation(components[to].lib.add, { text }),
});

export const addOwn = mutation({ args: { text: v.string() }, handler: async (ctx, { text }) => ctx.db.insert("notes", { text }) });

export const list = query({
  args: {},
  handler: async (ctx) => ({
    own: (await ctx.db.query("notes").collect()).map((note) => note.text),
    first: await ctx.runQuery(components.first.lib.list, {}),
    second: await ctx.runQuery(components.second.lib.list, {}),
  }),
});

export const get = query({
  args: { from: which, id: v.string() },
  handler: async (ctx, { from, id }) => ctx.runQuery(components[from].lib.get, { id }),
});

export const since = query({
  args: { from: which, committed: v.int64() },
  handler: async (ctx, { from, committed }) => ctx.runQuery(components[from].lib.since, { committed }),
});

/** A mutation of the component fails; what the app has written stays, and what the component has written goes. */
export const survive = mutation({
  args: { text: v.string() },
  handler: async (ctx, { text }) => {
    await ctx.db.insert("notes", { text });
    try {
      await ctx.runMutation(components.first.lib.fail, { text });
    } catch (error) {
      return error instanceof ConvexError ? error.data : String(error);
    }
    return "it did not fail";
  },
});

/** Calls what it must not: whatever the types say. */
export const trespass = action({
  args: {},
  handler: async (ctx) => {
    const attempt = async (call: Promise<unknown>) => call.then(() => "it worked", (error: Error) => error.message);
    const first = components.first as any;
    return {
      internal: await attempt(ctx.runQuery(first.lib.hidden, {})),
      missing: await attempt(ctx.runQuery(first.lib.nothing, {})),
      component: await attempt(ctx.runQuery((components as any).third.lib.list, {})),
      arguments: await attempt(ctx.runMutation(first.lib.add, { text: 7 })),
      handle: await attempt(ctx.runQuery("function://nowhere;lib:list" as any, {})),
    };
  },
});

export const environment = query({
  args: {},
  handler: async (ctx) => ({
    first: await ctx.runQuery(components.first.lib.environment, {}),
    second: await ctx.runQuery(components.second.lib.environment, {}),
  }),
});

export const page = query({
  args: { cursor: v.union(v.string(), v.null()), numItems: v.number() },
  handler: async (ctx, args) => ctx.runQuery(components.first.lib.page, args),
});

export const whereIsIt = query({
  args: {},
  handler: async (ctx) => ({
    own: { user: (await ctx.auth.getUserIdentity())?.subject ?? null, metadata: await ctx.meta.getFunctionMetadata() },
    first: await ctx.runQuery(components.first.lib.whereAmI, {}),
  }),
});

export const record = internalMutation({
  args: { text: v.string() },
  handler: async (ctx, { text }): Promise<string> => {
    if (text.startsWith("bad")) {
      await ctx.db.insert("notes", { text });
      throw new ConvexError({ why: text });
    }
    await ctx.db.insert("notes", { text });
    // And down again, into another instance.
    await ctx.runMutation(components.second.lib.add, { text: `${text}, and down again` });
    return `recorded ${text}`;
  },
});

export const listOwn = internalQuery({
  args: {},
  handler: async (ctx): Promise<string[]> => ctx.runQuery(components.first.lib.list, {}),
});

export const handles = query({
  args: {},
  handler: async (): Promise<{ record: string; list: string; other: string }> => ({
    record: await createFunctionHandle(internal.walls.record),
    list: await createFunctionHandle(components.first.lib.list),
    other: await createFunctionHandle(components.second.lib.list),
  }),
});

export const byHandle = mutation({
  args: { text: v.string() },
  handler: async (ctx, { text }): Promise<unknown> =>
    ctx.runMutation(components.first.lib.callUp, { handle: await createFunctionHandle(internal.walls.record), text }),
});

export const stale = mutation({
  args: {},
  handler: async (ctx): Promise<unknown> =>
    ctx.runMutation(components.first.lib.readStale, { handle: await createFunctionHandle(internal.walls.listOwn) }),
});

export const later = mutation({ args: { text: v.string() }, handler: async (ctx, args) => ctx.runMutation(components.first.lib.later, args) });

export const scheduleUp = mutation({
  args: { text: v.string(), ms: v.optional(v.number()) },
  handler: async (ctx, args): Promise<unknown> =>
    ctx.runMutation(components.first.lib.scheduleUp, { handle: await createFunctionHandle(internal.walls.record), ...args }),
});

export const scheduleDown = mutation({
  args: { text: v.string(), ms: v.optional(v.number()) },
  handler: async (ctx, { text, ms }) => ctx.scheduler.runAfter(ms ?? 0, components.second.lib.add, { text }),
});

export const jobs = query({
  args: {},
  handler: async (ctx) => {
    const own = await ctx.db.system.query("_scheduled_functions").collect();
    return {
      own: own.map(({ name, state, args }) => ({ name, state: state.kind, args })),
      first: await ctx.runQuery(components.first.lib.jobs, {}),
      second: await ctx.runQuery(components.second.lib.jobs, {}),
    };
  },
});

export const job = query({ args: { from: which, id: v.string() }, handler: async (ctx, { from, id }) => ctx.runQuery(components[from].lib.job, { id }) });

export const store = action({ args: { text: v.string() }, handler: async (ctx, args) => ctx.runAction(components.first.lib.store, args) });

export const files = query({
  args: {},
  handler: async (ctx) => ({
    own: (await ctx.db.system.query("_storage").collect()).length,
    first: await ctx.runQuery(components.first.lib.files, {}),
    second: await ctx.runQuery(components.second.lib.files, {}),
  }),
});

export const urlOf = query({
  args: { id: v.string() },
  handler: async (ctx, { id }) => ({
    own: await ctx.storage.getUrl(id as any),
    first: await ctx.runQuery(components.first.lib.urlOf, { id }),
    second: await ctx.runQuery(components.second.lib.urlOf, { id }),
  }),
});

export const uploadUrl = mutation({ args: { of: which }, handler: async (ctx, { of }) => ctx.runMutation(components[of].lib.uploadUrl, {}) });

/** What is read in components counts for the whole transaction. */
export const metrics = query({
  args: {},
  handler: async (ctx) => {
    const before = await ctx.meta.getTransactionMetrics();
    const within = await ctx.runQuery(components.first.lib.metrics, {});
    const after = await ctx.meta.getTransactionMetrics();
    const few = await ctx
      .runQuery(components.first.lib.list, {}, { transactionLimits: { documentsRead: 1 } })
      .then(() => "it worked", (error: Error) => error.message);
    return { before: before.documentsRead, within: within.documentsRead, after: after.documentsRead, few };
  },
});

export const ticks = query({
  args: {},
  handler: async (ctx) => [await ctx.runQuery(components.first.lib.ticks, {}), await ctx.runQuery(components.second.lib.ticks, {})],
});

export const addByAction = action({
  args: { text: v.string() },
  handler: async (ctx, args): Promise<{ internal: string; user: unknown }> => ctx.runAction(components.second.lib.addByAction, args),
});

