import { v } from "convex/values";
import { internal } from "./_generated/api";
import type { Doc } from "./_generated/dataModel";
import { env, internalAction, internalMutation, internalQuery, type MutationCtx, mutation, query } from "./_generated/server";
import { signedIn } from "./auth";
import { counted, enumerated, written } from "./dates";

const ASKED_DELAY_MS = 2_000;
const ANSWER_MS_MAX = 20_000;
const ATTEMPTS_MAX = 4;
const RETRY_MS = 5_000;
/** How many readers one mutation writes to; the others are next. */
const READERS_MAX = 100;
const PICTURES_MAX = 200;
const SHOWN_MAX = 12;

const occasion = v.union(v.literal("morning"), v.literal("news"), v.literal("asked"));
const state = v.union(v.literal("waiting"), v.literal("sent"), v.literal("failed"));

/** The user's letters, the newest first. */
export const list = query({
  args: {},
  returns: v.array(v.object({ id: v.id("outbox"), occasion, state, subject: v.string(), body: v.string(), writtenAt: v.string() })),
  handler: async (ctx) => {
    const owner = await signedIn(ctx);
    const reader = (await ctx.db.get(owner))!;
    const letters = await ctx.db
      .query("outbox")
      .withIndex("by_owner", (range) => range.eq("owner", owner))
      .order("desc")
      .take(SHOWN_MAX);
    return letters.map(({ _id, _creationTime, occasion, state, subject, body }) => {
      return { id: _id, occasion, state, subject, body, writtenAt: written(_creationTime, reader) };
    });
  },
});

/** Has a letter written in a moment. */
export const ask = mutation({
  args: {},
  returns: v.null(),
  handler: async (ctx) => {
    const owner = await signedIn(ctx);
    await ctx.scheduler.runAfter(ASKED_DELAY_MS, internal.digests.compose, { owner, occasion: "asked" });
    return null;
  },
});

/** Each morning: a letter to everybody. */
export const morning = internalMutation({
  args: { after: v.optional(v.number()) },
  returns: v.null(),
  handler: async (ctx, { after = 0 }) => {
    const users = await ctx.db
      .query("users")
      .withIndex("by_creation_time", (range) => range.gt("_creationTime", after))
      .take(READERS_MAX);
    for (const user of users) {
      await send(ctx, user, "morning");
    }
    if (users.length === READERS_MAX) {
      await ctx.scheduler.runAfter(0, internal.digests.morning, { after: users[READERS_MAX - 1]._creationTime });
    }
    return null;
  },
});

/** Each minute: a letter to those who have pictures that no letter has told of. */
export const news = internalMutation({
  args: {},
  returns: v.null(),
  handler: async (ctx) => {
    const untold = await ctx.db
      .query("pictures")
      .withIndex("by_state_and_letter", (range) => range.eq("state", "ready").eq("letter", undefined))
      .take(PICTURES_MAX);
    for (const owner of new Set(untold.map(({ owner }) => owner))) {
      await send(ctx, (await ctx.db.get(owner))!, "news");
    }
    return null;
  },
});

export const compose = internalMutation({
  args: { owner: v.id("users"), occasion },
  returns: v.null(),
  handler: async (ctx, { owner, occasion }) => {
    await send(ctx, (await ctx.db.get(owner))!, occasion);
    return null;
  },
});

/** Writes a letter and has it posted. Because all of it is one transaction, each picture is told of in one letter. */
async function send(ctx: MutationCtx, reader: Doc<"users">, occasion: Doc<"outbox">["occasion"]) {
  const untold = await ctx.db
    .query("pictures")
    .withIndex("by_state_and_letter", (range) => range.eq("state", "ready").eq("letter", undefined).eq("owner", reader._id))
    .take(PICTURES_MAX);
  const letter = await ctx.db.insert("outbox", { owner: reader._id, occasion, state: "waiting", ...wording(reader, untold) });
  for (const { _id } of untold) {
    await ctx.db.patch(_id, { letter });
  }
  await ctx.scheduler.runAfter(0, internal.digests.post, { letter, attempt: 1 });
}

function wording(reader: Doc<"users">, pictures: Doc<"pictures">[]) {
  const newest = pictures.map(({ _creationTime }) => _creationTime).at(-1);
  if (newest === undefined) {
    return { subject: "Nothing new in your studio", body: `As of ${written(Date.now(), reader)}.` };
  }
  const pixels = pictures.reduce((sum, { width, height }) => sum + width! * height!, 0);
  const lines = [
    `New: ${enumerated(pictures.map(({ title }) => title), reader)}`,
    `The last one: ${written(newest, reader)}`,
    `Pixels: ${counted(pixels, reader)}`,
  ];
  const count = counted(pictures.length, reader);
  return { subject: `${count} new ${pictures.length === 1 ? "picture" : "pictures"} in your studio`, body: lines.join("\n") };
}

/** Posts a letter. The service knows it by its id, and so takes one that comes twice only once. */
export const post = internalAction({
  args: { letter: v.id("outbox"), attempt: v.number() },
  returns: v.null(),
  handler: async (ctx, { letter, attempt }): Promise<null> => {
    const text = await ctx.runQuery(internal.digests.envelope, { letter });
    let problem = "";
    try {
      const response = await fetch(`${env.STUDIO_SERVICES_URL}/letters`, {
        method: "POST",
        headers: { "content-type": "application/json", "idempotency-key": letter },
        body: JSON.stringify(text),
        signal: AbortSignal.timeout(ANSWER_MS_MAX),
      });
      problem = response.ok ? "" : `the post office answered ${response.status}`;
    } catch (error) {
      problem = String(error);
    }
    if (problem === "") {
      await ctx.runMutation(internal.digests.posted, { letter, state: "sent" });
    } else if (attempt < ATTEMPTS_MAX) {
      console.warn(`letter ${letter}, attempt ${attempt}: ${problem}`);
      await ctx.scheduler.runAfter(RETRY_MS * attempt, internal.digests.post, { letter, attempt: attempt + 1 });
    } else {
      await ctx.runMutation(internal.digests.posted, { letter, state: "failed" });
    }
    return null;
  },
});

export const envelope = internalQuery({
  args: { letter: v.id("outbox") },
  returns: v.object({ to: v.string(), subject: v.string(), body: v.string() }),
  handler: async (ctx, { letter }) => {
    const { owner, subject, body } = (await ctx.db.get(letter))!;
    const { email } = (await ctx.db.get(owner))!;
    return { to: email, subject, body };
  },
});

export const posted = internalMutation({
  args: { letter: v.id("outbox"), state },
  returns: v.null(),
  handler: async (ctx, { letter, state }) => {
    await ctx.db.patch(letter, { state });
    return null;
  },
});
