import { httpRouter } from "convex/server";
import { internal } from "./_generated/api";
import { env, httpAction } from "./_generated/server";
import { auth } from "./auth";
import { isSigned } from "./signatures";

const http = httpRouter();

// The key that tokens are verified with, and where to find it.
auth.addHttpRoutes(http);

const STATES = new Map([
  ["print.started", "started"],
  ["print.ready", "ready"],
] as const);

http.route({
  path: "/webhooks/prints",
  method: "POST",
  handler: httpAction(async (ctx, request) => {
    // The signature is over the bytes as they came, so they are read before anything is made of them.
    const body = await request.text();
    if (!(await isSigned(request.headers.get("studio-signature"), body, env.STUDIO_WEBHOOK_SECRET, Date.now()))) {
      return new Response("The signature does not fit.\n", { status: 401 });
    }
    const { id, type, print } = JSON.parse(body) as { id: string; type: "print.started" | "print.ready"; print: string };
    const state = STATES.get(type);
    if (state === undefined) {
      return new Response(`Nobody waits for ${type}.\n`, { status: 422 });
    }
    await ctx.runMutation(internal.prints.record, { event: id, print, state });
    return new Response(null, { status: 204 });
  }),
});

export default http;
