import { httpRouter } from "convex/server";
import { httpAction } from "./_generated/server.js";
import { auth } from "./auth.js";
import { handle, keys } from "./betterAuth.js";
import { webhook } from "./mail.js";
import { streamText } from "./streaming.js";

const http = httpRouter();
http.route({ path: "/own", method: "GET", handler: httpAction(async (_ctx, request) => Response.json({ own: request.url })) });
http.route({ path: "/stream", method: "POST", handler: streamText });
http.route({ path: "/mail", method: "POST", handler: webhook });
// The app's routes are below /api, and so is the package's path.
http.route({ pathPrefix: "/auth/", method: "GET", handler: handle });
http.route({ pathPrefix: "/auth/", method: "POST", handler: handle });
http.route({ path: "/keys", method: "GET", handler: keys });
auth.addHttpRoutes(http);
export default http;
