import { httpRouter } from "convex/server";
import { httpAction } from "./_generated/server";

const http = httpRouter();

http.route({ path: "/teapot", method: "GET", handler: httpAction(async () => new Response("short and stout", { status: 418 })) });

export default http;
