import { httpRouter } from "convex/server";
import { internal } from "./_generated/api";
import { httpAction } from "./_generated/server";

const http = httpRouter();

http.route({
  path: "/asked",
  method: "GET",
  handler: httpAction(async (ctx) => {
    const seen = [await ctx.meta.getRequestMetadata(), ...(await ctx.runMutation(internal.asked.within, {}))];
    return Response.json(seen);
  }),
});

export default http;
