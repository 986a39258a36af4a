// agent: threads of messages that a model answers, with a tool, with what it finds again, and word by word.
import {
  Agent,
  createThread,
  createTool,
  isStepCount,
  listUIMessages,
  searchThreadTitles,
  syncStreams,
  vStreamArgs,
} from "@convex-dev/agent";
import { paginationOptsValidator } from "convex/server";
import { v } from "convex/values";
import { z } from "zod";
import { components, internal } from "./_generated/api.js";
import { action, internalAction, internalQuery, mutation, query } from "./_generated/server.js";
import { parrot, words } from "./models.js";

export const thermometer = internalQuery({
  args: { place: v.string() },
  handler: async (ctx, { place }): Promise<string> => {
    const known = await ctx.db.query("results").withIndex("by_what", (q) => q.eq("what", `degrees in ${place}`)).first();
    return known ? `${known.value} degrees` : "unknown";
  },
});

const temperature = createTool({
  description: "How warm it is somewhere",
  inputSchema: z.object({ place: z.string().min(1) }),
  execute: async (ctx, { place }): Promise<string> => ctx.runQuery(internal.agents.thermometer, { place }),
});

// The package's own types are too much for this version of TypeScript, whatever is given to them.
// @ts-expect-error TS2590
const helper = new Agent(components.agent, {
  name: "helper",
  languageModel: parrot,
  embeddingModel: words,
  instructions: "Repeat what you are told.",
  tools: { temperature },
  stopWhen: isStepCount(3),
  usageHandler: async (ctx, { usage, agentName }) => {
    await ctx.runMutation(internal.packages.note, { what: `tokens of ${agentName}`, value: usage.totalTokens });
  },
});

export const begin = mutation({
  args: { userId: v.string(), title: v.string() },
  handler: async (ctx, args): Promise<string> => createThread(ctx, components.agent, args),
});

/** Asks, and waits for the whole answer. With `remembering`, the model is shown what was said in other threads that fits. */
export const ask = action({
  args: { threadId: v.string(), userId: v.string(), prompt: v.string(), remembering: v.optional(v.boolean()) },
  handler: async (ctx, { threadId, userId, prompt, remembering }) => {
    const contextOptions = remembering
      ? { searchOtherThreads: true, searchOptions: { limit: 10, vectorSearch: true, messageRange: { before: 0, after: 0 } } }
      : {};
    const { text, steps, order } = await helper.generateText(ctx, { threadId, userId }, { prompt }, { contextOptions });
    return { text, steps: steps.length, order };
  },
});

/** What was said in a thread, or in all of a person's, that fits. */
export const recall = action({
  args: { userId: v.string(), threadId: v.optional(v.string()), text: v.string(), by: v.union(v.literal("text"), v.literal("vector")), limit: v.number() },
  handler: async (ctx, { userId, threadId, text, by, limit }): Promise<string[]> => {
    const found = await helper.fetchContextMessages(ctx, {
      userId,
      threadId,
      searchText: text,
      contextOptions: {
        recentMessages: 0,
        searchOtherThreads: threadId === undefined,
        searchOptions: { limit, textSearch: by === "text", vectorSearch: by === "vector", messageRange: { before: 0, after: 0 } },
      },
    });
    return found.map((message) => message.text ?? "");
  },
});

/** Asks, and lets a job write the answer word by word for whoever looks. */
export const askSlowly = mutation({
  args: { threadId: v.string(), prompt: v.string() },
  handler: async (ctx, { threadId, prompt }): Promise<null> => {
    const { messageId } = await helper.saveMessage(ctx, { threadId, prompt, skipEmbeddings: true });
    await ctx.scheduler.runAfter(0, internal.agents.answerSlowly, { threadId, promptMessageId: messageId });
    return null;
  },
});
export const answerSlowly = internalAction({
  args: { threadId: v.string(), promptMessageId: v.string() },
  handler: async (ctx, { threadId, promptMessageId }): Promise<null> => {
    const saveStreamDeltas = { chunking: "word", throttleMs: 50 } as const;
    await helper.streamText(ctx, { threadId }, { promptMessageId }, { saveStreamDeltas });
    return null;
  },
});

/** What a page shows of a thread: its messages, and what is being written. */
export const messages = query({
  args: { threadId: v.string(), paginationOpts: paginationOptsValidator, streamArgs: vStreamArgs },
  handler: async (ctx, args) => {
    const streams = await syncStreams(ctx, components.agent, { ...args, includeStatuses: ["streaming", "finished"] });
    return { ...(await listUIMessages(ctx, components.agent, args)), streams };
  },
});

export const titles = query({
  args: { userId: v.string(), text: v.string() },
  handler: async (ctx, { userId, text }) => {
    const found = await searchThreadTitles(ctx, components.agent, { userId, query: text });
    return found.map((thread) => thread.title ?? "");
  },
});

export const forget = action({
  args: { threadId: v.string() },
  handler: async (ctx, { threadId }) => helper.deleteThreadSync(ctx, { threadId }),
});
