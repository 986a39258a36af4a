import { httpRouter } from "convex/server";
import { httpAction } from "./_generated/server.js";
import { internal } from "./_generated/api.js";

const http = httpRouter();
http.route({
  path: "/hello",
  method: "GET",
  handler: httpAction(async (ctx, request) => {
    const hidden = await ctx.runQuery(internal.lib.hidden, {});
    return Response.json({ url: request.url, hidden });
  }),
});
export default http;
