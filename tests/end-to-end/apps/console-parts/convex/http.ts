import { httpRouter } from "convex/server";
import { httpAction } from "./_generated/server";

const http = httpRouter();

http.route({
  path: "/tide",
  method: "GET",
  handler: httpAction(async () => new Response("high water at six\n")),
});

export default http;
