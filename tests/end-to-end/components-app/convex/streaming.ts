// persistent-text-streaming: an HTTP action streams a text to its client and keeps it in the component.
import { PersistentTextStreaming, type StreamId } from "@convex-dev/persistent-text-streaming";
import { v } from "convex/values";
import { components } from "./_generated/api.js";
import { httpAction, mutation, query } from "./_generated/server.js";

const streaming = new PersistentTextStreaming(components.persistentTextStreaming);

export const create = mutation({ args: {}, handler: async (ctx) => streaming.createStream(ctx) });

export const body = query({
  args: { streamId: v.string() },
  handler: async (ctx, { streamId }) => streaming.getStreamBody(ctx, streamId as StreamId),
});

export const streamText = httpAction(async (ctx, request) => {
  const { streamId, words } = await request.json();
  return streaming.stream(ctx, request, streamId as StreamId, async (_ctx, _request, _streamId, append) => {
    for (const word of words as string[]) {
      await append(`${word} `);
    }
    await append("The end.");
  });
});
