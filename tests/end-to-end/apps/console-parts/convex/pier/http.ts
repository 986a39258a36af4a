import { httpRouter } from "convex/server";
import { httpAction } from "./_generated/server.js";

const http = httpRouter();

http.route({
  path: "/lamp",
  method: "GET",
  handler: httpAction(async () => new Response("it burns\n")),
});

export default http;
