// A component of the app's own: what one can do and see within its walls.
import { ConvexError, v } from "convex/values";
import { internal } from "./_generated/api.js";
import { action, env, internalMutation, internalQuery, mutation, query } from "./_generated/server.js";

export const add = mutation({
  args: { text: v.string() },
  returns: v.object({ id: v.id("notes"), committed: v.commitTs() }),
  handler: async (ctx, { text }) => {
    const committed = ctx.db.vars.commitTs;
    const id = await ctx.db.insert("notes", { text, committed });
    const mine = await ctx.db.query("notes").withIndex("by_committed", (q) => q.eq("committed", committed)).collect();
    if (!mine.some((note) => note._id === id)) {
      throw new Error("a note of this transaction is not found by the timestamp of its commit");
    }
    return { id, committed };
  },
});

export const list = query({
  args: {},
  handler: async (ctx) => (await ctx.db.query("notes").collect()).map((note) => note.text),
});

/** The notes from a commit on, in the order of the commits. */
export const since = query({
  args: { committed: v.int64() },
  handler: async (ctx, { committed }) => {
    const notes = await ctx.db.query("notes").withIndex("by_committed", (q) => q.gte("committed", committed)).collect();
    return notes.map(({ text, committed }) => ({ text, committed }));
  },
});

export const get = query({
  args: { id: v.string() },
  handler: async (ctx, { id }) => {
    const normalized = ctx.db.normalizeId("notes", id);
    return normalized && (await ctx.db.get(normalized));
  },
});

export const fail = mutation({
  args: { text: v.string() },
  handler: async (ctx, { text }) => {
    await ctx.db.insert("notes", { text, committed: ctx.db.vars.commitTs });
    throw new ConvexError({ reason: "refused", text });
  },
});

export const hidden = internalQuery({ args: {}, handler: async () => "nobody outside may call this" });

export const environment = query({
  args: {},
  handler: async () => ({
    greeting: env.GREETING ?? null,
    level: env.LEVEL ?? null,
    ofApp: process.env.ONLY_OF_APP ?? null,
    site: env.CONVEX_SITE_URL,
  }),
});

export const page = query({
  args: { cursor: v.union(v.string(), v.null()), numItems: v.number() },
  handler: async (ctx, { cursor, numItems }) => {
    const { page, isDone, continueCursor } = await ctx.db.query("notes").paginate({ cursor, numItems });
    return { page: page.map((note) => note.text), isDone, continueCursor };
  },
});

export const whereAmI = query({
  args: {},
  handler: async (ctx) => ({
    user: await ctx.auth.getUserIdentity(),
    metadata: await ctx.meta.getFunctionMetadata(),
  }),
});

/** Calls a function of whoever has given its handle, and goes on if that fails. */
export const callUp = mutation({
  args: { handle: v.string(), text: v.string() },
  handler: async (ctx, { handle, text }) => {
    const before = await ctx.db.insert("notes", { text: `before ${text}`, committed: ctx.db.vars.commitTs });
    try {
      return { result: await ctx.runMutation(handle as any, { text }), before };
    } catch (error) {
      return { caught: error instanceof ConvexError ? error.data : String(error), before };
    }
  },
});

/** Reads by a handle what there was before this transaction. */
export const readStale = mutation({
  args: { handle: v.string() },
  handler: async (ctx, { handle }) => {
    await ctx.db.insert("notes", { text: "not there yet", committed: ctx.db.vars.commitTs });
    return {
      stale: await ctx.runQuery(handle as any, {}, { useStaleSnapshot: true }),
      own: await ctx.runQuery(handle as any, {}),
    };
  },
});

export const later = mutation({
  args: { text: v.string() },
  handler: async (ctx, { text }): Promise<string> => {
    const job = await ctx.scheduler.runAfter(0, internal.lib.addScheduled, { text });
    await ctx.db.insert("notes", { text: `job of ${text}`, job, committed: ctx.db.vars.commitTs });
    return job;
  },
});

export const addScheduled = internalMutation({
  args: { text: v.string() },
  handler: async (ctx, { text }) => {
    await ctx.db.insert("notes", { text, committed: ctx.db.vars.commitTs });
  },
});

/** Schedules a function of whoever has given its handle. */
export const scheduleUp = mutation({
  args: { handle: v.string(), text: v.string(), ms: v.optional(v.number()) },
  handler: async (ctx, { handle, text, ms }) => ctx.scheduler.runAfter(ms ?? 0, handle as any, { text }),
});

export const jobs = query({
  args: {},
  handler: async (ctx) => {
    const jobs = await ctx.db.system.query("_scheduled_functions").withIndex("by_creation_time").collect();
    return jobs.map(({ name, state, args }) => ({ name, state: state.kind, args }));
  },
});

export const job = query({
  args: { id: v.id("_scheduled_functions") },
  handler: async (ctx, { id }) => ctx.db.system.get(id),
});

export const store = action({
  args: { text: v.string() },
  handler: async (ctx, { text }) => {
    const id = await ctx.storage.store(new Blob([text], { type: "text/plain" }));
    return { id, url: await ctx.storage.getUrl(id) };
  },
});

export const files = query({
  args: {},
  handler: async (ctx) => (await ctx.db.system.query("_storage").collect()).map(({ size, ...rest }) => ({ size, fields: Object.keys(rest).sort() })),
});

export const uploadUrl = mutation({ args: {}, handler: async (ctx) => ctx.storage.generateUploadUrl() });

export const urlOf = query({ args: { id: v.string() }, handler: async (ctx, { id }) => ctx.storage.getUrl(id) });

export const metrics = query({
  args: {},
  handler: async (ctx) => {
    await ctx.db.query("notes").collect();
    return ctx.meta.getTransactionMetrics();
  },
});

export const tick = internalMutation({
  args: {},
  handler: async (ctx) => {
    const tick = await ctx.db.query("ticks").first();
    await (tick ? ctx.db.patch(tick._id, { count: tick.count + 1 }) : ctx.db.insert("ticks", { count: 1 }));
  },
});

export const ticks = query({ args: {}, handler: async (ctx) => (await ctx.db.query("ticks").first())?.count ?? 0 });

/** Calls another function of the component, by an action. */
export const addByAction = action({
  args: { text: v.string() },
  handler: async (ctx, { text }): Promise<{ internal: string; user: unknown }> => {
    await ctx.runMutation(internal.lib.addScheduled, { text });
    return { internal: await ctx.runQuery(internal.lib.hidden, {}), user: await ctx.auth.getUserIdentity() };
  },
});
