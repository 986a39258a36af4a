import { ConvexError, v } from "convex/values";
import { internal } from "./_generated/api";
import { env, internalAction, internalMutation, mutation, query } from "./_generated/server";
import { ownPicture } from "./pictures";

const ANSWER_MS_MAX = 20_000;

/** What happens to a print, in this order; events may arrive in another one. */
const STATES = ["ordered", "started", "ready"];

const state = v.union(v.literal("ordered"), v.literal("started"), v.literal("ready"), v.literal("failed"));

export const of = query({
  args: { picture: v.id("pictures") },
  returns: v.array(v.object({ id: v.id("prints"), state, changed: v.number() })),
  handler: async (ctx, { picture }) => {
    await ownPicture(ctx, picture);
    const prints = await ctx.db.query("prints").withIndex("by_picture", (range) => range.eq("picture", picture)).take(20);
    return prints.map(({ _id, state, changed }) => ({ id: _id, state, changed }));
  },
});

export const order = mutation({
  args: { picture: v.id("pictures") },
  returns: v.id("prints"),
  handler: async (ctx, { picture }) => {
    const { title, state } = await ownPicture(ctx, picture);
    if (state !== "ready") {
      throw new ConvexError("This picture is not ready yet.");
    }
    const print = await ctx.db.insert("prints", { picture, state: "ordered", changed: Date.now() });
    await ctx.scheduler.runAfter(0, internal.prints.place, { print, title });
    return print;
  },
});

/** Tells the print shop, which tells by webhooks how it goes on: see http.ts. */
export const place = internalAction({
  args: { print: v.id("prints"), title: v.string() },
  returns: v.null(),
  handler: async (ctx, { print, title }) => {
    try {
      const response = await fetch(`${env.STUDIO_SERVICES_URL}/prints`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ print, title, webhook: `${env.CONVEX_SITE_URL}/webhooks/prints` }),
        signal: AbortSignal.timeout(ANSWER_MS_MAX),
      });
      if (!response.ok) {
        throw new Error(`the print shop answered ${response.status}`);
      }
    } catch (error) {
      console.warn(`print ${print} could not be ordered`, error);
      await ctx.runMutation(internal.prints.failed, { print });
    }
    return null;
  },
});

export const failed = internalMutation({
  args: { print: v.id("prints") },
  returns: v.null(),
  handler: async (ctx, { print }) => {
    if ((await ctx.db.get(print))?.state === "ordered") {
      await ctx.db.patch(print, { state: "failed", changed: Date.now() });
    }
    return null;
  },
});

/** Takes an event of the print shop, once. */
export const record = internalMutation({
  args: { event: v.string(), print: v.string(), state },
  returns: v.null(),
  handler: async (ctx, { event, print, state }) => {
    const known = await ctx.db.query("events").withIndex("by_event", (range) => range.eq("event", event)).unique();
    if (known !== null) {
      return null;
    }
    await ctx.db.insert("events", { event });
    const id = ctx.db.normalizeId("prints", print);
    const found = id && (await ctx.db.get(id));
    if (found && STATES.indexOf(state) > STATES.indexOf(found.state)) {
      await ctx.db.patch(found._id, { state, changed: Date.now() });
    }
    return null;
  },
});
