// workpool and workflow.
import { vOnCompleteValidator, Workpool, type WorkId } from "@convex-dev/workpool";
import { vWorkflowId, WorkflowManager, type WorkflowId } from "@convex-dev/workflow";
import { vResultValidator } from "@convex-dev/workpool";
import { v } from "convex/values";
import { components, internal } from "./_generated/api.js";
import { internalAction, internalMutation, internalQuery, mutation, query } from "./_generated/server.js";

const serial = new Workpool(components.serial, { maxParallelism: 1 });
const parallel = new Workpool(components.parallel, {
  maxParallelism: 10,
  retryActionsByDefault: true,
  defaultRetryBehavior: { maxAttempts: 3, initialBackoffMs: 50, base: 2 },
});

export const increment = internalMutation({
  args: { by: v.number() },
  handler: async (ctx, { by }): Promise<number> => {
    const sums = await ctx.db.query("results").withIndex("by_what", (q) => q.eq("what", "increments")).first();
    const value: number = (sums?.value ?? 0) + by;
    await (sums ? ctx.db.patch(sums._id, { value }) : ctx.db.insert("results", { what: "increments", value }));
    return value;
  },
});

export const completed = internalMutation({
  args: vOnCompleteValidator(v.object({ what: v.string() })),
  handler: async (ctx, { context, result }) => {
    await ctx.db.insert("results", { what: context.what, value: result.kind === "success" ? result.returnValue : result });
  },
});

export const enqueueIncrements = mutation({
  args: { count: v.number() },
  handler: async (ctx, { count }) => {
    for (let number = 0; number < count; number++) {
      await serial.enqueueMutation(ctx, internal.work.increment, { by: 1 });
    }
  },
});

export const shout = internalAction({
  args: { text: v.string() },
  handler: async (_ctx, { text }): Promise<string> => {
    if (text === "fail") {
      throw new Error("it fails whenever it is tried");
    }
    return text.toUpperCase();
  },
});

export const enqueueShout = mutation({
  args: { text: v.string(), what: v.string() },
  handler: async (ctx, { text, what }): Promise<string> =>
    parallel.enqueueAction(ctx, internal.work.shout, { text }, { onComplete: internal.work.completed, context: { what } }),
});

export const enqueueLate = mutation({
  args: {},
  handler: async (ctx): Promise<string> =>
    parallel.enqueueMutation(ctx, internal.work.increment, { by: 1_000_000 }, { runAfter: 3_600_000 }),
});
export const cancel = mutation({ args: { id: v.string() }, handler: async (ctx, { id }) => parallel.cancel(ctx, id as WorkId) });
export const status = query({ args: { id: v.string() }, handler: async (ctx, { id }) => parallel.status(ctx, id as WorkId) });

export const workflow = new WorkflowManager(components.workflow, {
  workpoolOptions: { maxParallelism: 5 },
});

export const question = internalQuery({
  args: { name: v.string() },
  handler: async (_ctx, { name }): Promise<string> => `Hello, ${name}`,
});
export const answer = internalAction({
  args: { text: v.string() },
  handler: async (_ctx, { text }): Promise<string> => `${text}! How are you?`,
});

export const greeting = workflow
  .define({ args: { name: v.string() }, returns: v.string() })
  .handler(async (step, { name }): Promise<string> => {
    const begin = await step.runQuery(internal.work.question, { name });
    const [one, two] = await Promise.all([
      step.runAction(internal.work.answer, { text: begin }, { retry: true }),
      step.runMutation(internal.work.increment, { by: 0 }),
    ]);
    return `${one} (${typeof two})`;
  });

export const greeted = internalMutation({
  args: { workflowId: vWorkflowId, result: vResultValidator, context: v.object({ what: v.string() }) },
  handler: async (ctx, { result, context }) => {
    await ctx.db.insert("results", { what: context.what, value: result });
  },
});

export const greet = mutation({
  args: { name: v.string(), what: v.string() },
  handler: async (ctx, { name, what }): Promise<string> =>
    workflow.start(ctx, internal.work.greeting, { name }, { onComplete: internal.work.greeted, context: { what } }),
});
export const workflowStatus = query({
  args: { id: v.string() },
  handler: async (ctx, { id }) => workflow.status(ctx, id as WorkflowId),
});
