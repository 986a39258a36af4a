// resend: what needs no network. Letters that are sent by other means, and what the service says of them by webhooks.
import { Resend, vEmailId, vOnEmailEventArgs, type EmailId } from "@convex-dev/resend";
import { v } from "convex/values";
import { components, internal } from "./_generated/api.js";
import { action, httpAction, internalMutation, mutation, query } from "./_generated/server.js";

const resend: Resend = new Resend(components.resend, { onEmailEvent: internal.mail.event });

export const event = internalMutation({
  args: vOnEmailEventArgs,
  handler: async (ctx, { id, event }) => {
    await ctx.db.insert("results", { what: `mail ${id}`, value: event.type });
  },
});

const letter = { from: "Somebody <one@example.com>", to: "two@example.com", subject: "Hello" };

export const sendByHand = action({
  args: { resendId: v.string() },
  handler: async (ctx, { resendId }): Promise<string> => resend.sendEmailManually(ctx, letter, async () => resendId),
});

export const enqueue = mutation({
  args: {},
  handler: async (ctx): Promise<string> => resend.sendEmail(ctx, { ...letter, to: "delivered@resend.dev", html: "<p>Hello</p>" }),
});
export const cancel = mutation({ args: { id: vEmailId }, handler: async (ctx, { id }) => resend.cancelEmail(ctx, id as EmailId) });
export const status = query({ args: { id: vEmailId }, handler: async (ctx, { id }) => resend.status(ctx, id as EmailId) });

export const webhook = httpAction(async (ctx, request) => resend.handleResendEventWebhook(ctx, request));
