// rag: texts in pieces, which are found again by what they mean and by their words.
import { RAG, vEntryId, type EntryId } from "@convex-dev/rag";
import { v } from "convex/values";
import { components, internal } from "./_generated/api.js";
import { action, mutation, query } from "./_generated/server.js";
import { DIMENSIONS, parrot, words } from "./models.js";

const rag = new RAG<{ kind: string; year: number }>(components.rag, {
  textEmbeddingModel: words,
  embeddingDimension: DIMENSIONS,
  filterNames: ["kind", "year"],
});

const text = { namespace: v.string(), key: v.string(), title: v.string(), kind: v.string(), year: v.number() };

export const added = rag.defineOnComplete(async (ctx, { entry, replacedEntry, error }) => {
  await ctx.runMutation(internal.packages.note, {
    what: `added ${entry.key}`,
    value: { status: entry.status, replaced: replacedEntry?.title ?? null, error: error ?? null },
  });
});

export const add = action({
  args: { ...text, paragraphs: v.array(v.string()), importance: v.optional(v.number()) },
  handler: async (ctx, { namespace, key, title, kind, year, paragraphs, importance }) => {
    const filterValues = [{ name: "kind" as const, value: kind }, { name: "year" as const, value: year }];
    const options = { namespace, key, title, filterValues, importance, onComplete: internal.library.added };
    const { entryId, status, replacedEntry } = await rag.add(ctx, { ...options, chunks: paragraphs });
    return { entryId, status, replaced: replacedEntry?.title ?? null };
  },
});

/** The text's pieces are made by an action of the app that the component calls, by a handle. */
export const addLater = mutation({
  args: text,
  handler: async (ctx, { namespace, key, title, kind, year }): Promise<string> => {
    const filterValues = [{ name: "kind" as const, value: kind }, { name: "year" as const, value: year }];
    const options = { namespace, key, title, filterValues, onComplete: internal.library.added };
    const { entryId } = await rag.addAsync(ctx, { ...options, chunkerAction: internal.library.pieces });
    return entryId;
  },
});
export const pieces = rag.defineChunkerAction(async (_ctx, { entry }) => ({
  chunks: Array.from({ length: 3 }, (_, number) => `Piece ${number} of ${entry.title}`),
}));

export const search = action({
  args: {
    namespace: v.string(),
    query: v.string(),
    limit: v.optional(v.number()),
    by: v.optional(v.union(v.literal("vector"), v.literal("text"), v.literal("hybrid"))),
    kind: v.optional(v.string()),
    around: v.optional(v.number()),
  },
  handler: async (ctx, { namespace, query, limit = 10, by = "vector", kind, around = 0 }) => {
    const { results, entries } = await rag.search(ctx, {
      namespace,
      query,
      limit,
      searchType: by,
      filters: kind === undefined ? [] : [{ name: "kind", value: kind }],
      chunkContext: { before: around, after: around },
      vectorScoreThreshold: 0.3,
    });
    return { texts: results.map(({ content }) => content.map((piece) => piece.text)), titles: entries.map(({ title }) => title) };
  },
});

/** A model answers with what is found. */
export const answer = action({
  args: { namespace: v.string(), prompt: v.string() },
  handler: async (ctx, { namespace, prompt }): Promise<string> => {
    const { text } = await rag.generateText(ctx, { search: { namespace, limit: 1 }, prompt, model: parrot });
    return text;
  },
});

export const list = query({
  args: { namespace: v.string() },
  handler: async (ctx, { namespace }) => {
    const found = await rag.getNamespace(ctx, { namespace });
    const entries = found ? (await rag.list(ctx, { namespaceId: found.namespaceId, limit: 50 })).page : [];
    return entries.map(({ key, title }) => ({ key, title }));
  },
});

export const chunks = query({
  args: { entryId: vEntryId },
  handler: async (ctx, { entryId }) => {
    const { page } = await rag.listChunks(ctx, { entryId: entryId as EntryId, paginationOpts: { cursor: null, numItems: 50 } });
    return page.map(({ order, state, text }) => ({ order, state, text }));
  },
});

export const remove = action({ args: { entryId: vEntryId }, handler: async (ctx, { entryId }) => rag.delete(ctx, { entryId: entryId as EntryId }) });
export const removeLater = mutation({ args: { entryId: vEntryId }, handler: async (ctx, { entryId }) => rag.deleteAsync(ctx, { entryId: entryId as EntryId }) });
