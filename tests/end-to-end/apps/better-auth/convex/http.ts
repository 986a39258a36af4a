import { httpRouter } from "convex/server";
import { httpAction } from "./_generated/server";
import { authOf } from "./auth";

const http = httpRouter();
const handler = httpAction((ctx, request) => authOf(ctx).handler(request));

for (const method of ["GET", "POST"] as const) {
  http.route({ pathPrefix: "/api/auth/", method, handler });
}

export default http;
