import { action, ask, internalAction, internalMutation, mutation, query, v } from "./_deps/library.js";

const send = "messages:send";

export const later = mutation((ctx, { ms, name, args }) => ctx.scheduler.after(ms ?? 0, name ?? send, args));

export const at = mutation((ctx, { ts, name, args }) => ctx.scheduler.at(ts, name ?? send, args ?? { body: "x" }));

export const byHandle = mutation(async (ctx, { name }) => {
  const functionHandle = await ask("1.0/createFunctionHandle", { name });
  return await ctx.scheduler.at(Date.now() / 1000, undefined, { body: "by handle" }, { functionHandle });
});

export const many = mutation(async (ctx, { count, bytes }) => {
  const body = "x".repeat(bytes ?? 0);
  for (let i = 0; i < count; i += 1) await ctx.scheduler.after(60_000, send, { body });
  return (await ctx.metrics()).functionsScheduled;
});

export const laterAndThrow = mutation(async (ctx) => {
  await ctx.scheduler.after(0, send, { body: "never" });
  throw new Error("after it has scheduled");
});

export const laterInCalls = mutation(async (ctx) => {
  try {
    await ctx.runMutation("schedules:laterAndThrow");
  } catch {
    await ctx.scheduler.after(0, send, { body: "by the caller" });
  }
});

export const cancel = mutation((ctx, { id }) => ctx.scheduler.cancel(id));

export const laterAndCancel = mutation(async (ctx) => {
  const id = await ctx.scheduler.after(0, send, { body: "never" });
  await ctx.scheduler.cancel(id);
  return await ctx.system.get(id);
});

export const job = query((ctx, { id }) => ctx.system.get(id));

export const jobs = query((ctx) => ctx.db.all("_scheduled_functions"));

export const scheduleInQuery = query((ctx) => ctx.scheduler.after(0, send, { body: "x" }));

/** Sees itself, and writes what it saw. */
export const lookAtItself = internalMutation(async (ctx) => {
  const { scheduledFunctionId } = await ctx.request();
  const itself = await ctx.system.get(scheduledFunctionId);
  await ctx.db.insert("messages", { body: itself.state.kind });
});

export const cancelItself = internalMutation(async (ctx) => {
  await ctx.scheduler.cancel((await ctx.request()).scheduledFunctionId);
  await ctx.db.insert("messages", { body: "went on" });
});

export const fails = mutation(async (ctx) => {
  await ctx.db.insert("messages", { body: "never" });
  await ctx.scheduler.after(0, send, { body: "never" });
  throw new TypeError("as it must");
});

export const tick = internalMutation(async (ctx, { name }) => {
  console.log("tick", name);
  const { scheduledFunctionId } = await ctx.request();
  await ctx.db.insert("messages", { body: `${name} ${scheduledFunctionId}` });
  return "ticked";
});

/** Sees itself running, and leaves a message. */
export const act = internalAction(async (ctx, { name }) => {
  console.log("acts", name);
  const { scheduledFunctionId } = await ctx.request();
  const seen = await ctx.runQuery("schedules:stateOf", { id: scheduledFunctionId });
  await ctx.runMutation("messages:send", { body: `${name} ${seen}` });
  return "acted";
});

export const stateOf = query(async (ctx, { id }) => (id === null ? null : (await ctx.system.get(id)).state.kind));

export const actAndFail = action(async (ctx) => {
  await ctx.runMutation("messages:send", { body: "before it failed" });
  throw new TypeError("as it must");
});

export const actStrictly = action({ args: v.object({ body: v.string }), handler: async () => null });

/** Waits until there is a message that lets it go on. */
export const actSlowly = internalAction(async (ctx, { until }) => {
  await ctx.runMutation("messages:send", { body: "it runs" });
  while (!(await ctx.runQuery("messages:list")).includes(until)) {
    await new Promise((done) => setTimeout(done, 5));
  }
  await ctx.scheduler.after(0, send, { body: "by the action" });
  await ctx.runMutation("schedules:later", { args: { body: "by its mutation" } });
  await ctx.runAction("schedules:laterByAction", { args: { body: "by its action" } });
  await ctx.runMutation("messages:send", { body: "it ended" });
});

export const actFor = internalAction((ctx, { ms }) => new Promise((done) => setTimeout(done, ms)));

export const laterByAction = action((ctx, { ms, name, args }) => ctx.scheduler.after(ms ?? 0, name ?? send, args));

export const laterByActionAndThrow = action(async (ctx) => {
  await ctx.scheduler.after(60_000, send, { body: "all the same" });
  throw new Error("after it has scheduled");
});

export const cancelByAction = action((ctx, { id }) => ctx.scheduler.cancel(id));

export const strict = mutation({ args: v.object({ body: v.string }), handler: (ctx, { body }) => ctx.db.insert("messages", { body }) });

/** Writes the timestamp of its commit, and more than a commit with that may have. */
export const tooLarge = mutation(async (ctx, { kib }) => {
  console.log("writes", kib);
  const commit = { $commitTs: null };
  await ctx.db.insert("messages", { body: "x".repeat(kib * 1024), commit });
  return "written";
});

export const tooLargeByAction = action((ctx, args) => ctx.runMutation("schedules:tooLarge", args).catch((error) => error.message));
