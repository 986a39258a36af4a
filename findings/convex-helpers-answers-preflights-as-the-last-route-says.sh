#!/usr/bin/env bash
# npm convex-helpers 0.1.135 (`corsRouter`), run in convex-test 0.0.71: of two methods at one path the preflight of each is answered with the options of the
# one that was registered last; and of what the handler says about `Vary` nothing is left.
#
# The guess: "you can provide configuration per route", and a route is a path and a method. The preflight names its method (Access-Control-Request-Method), so
# it is answered with the options of that route. `Vary: Origin` is added to what the handler varies by.
# What happens: all methods of a path share one route for OPTIONS, which each call of `route` replaces with one of its own options and everyone's methods. If POST may
# have a header and come from elsewhere and GET is registered after it, browsers never send that POST; the other way round they never send what is for the router's own
# origins and needs a preflight. Requests without preflight are right, so that curl and a simple GET show nothing. `Vary: Accept` becomes `Vary: Origin`: a
# cache in between then gives one's answer to the other.
# What follows for an app: give all methods of a path the same options, or a path each; vary by a query parameter, not by a header.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.49.0 convex-test@0.0.71 convex-helpers@0.1.135 \
  vitest@4.1.12 @edge-runtime/vm@5.0.0 >/dev/null
cat > vitest.config.mts <<'TS'
import { defineConfig } from "vitest/config";
export default defineConfig({ test: { environment: "edge-runtime", server: { deps: { inline: ["convex-test"] } } } });
TS
cat > probe.test.ts <<'TS'
import { corsRouter } from "convex-helpers/server/cors";
import { convexTest } from "convex-test";
import { defineSchema, httpActionGeneric, httpRouter } from "convex/server";
import { expect, test } from "vitest";

const SITE = "https://site.example";
const PARTNER = "https://partner.example";
const handler = httpActionGeneric(async () => new Response("done", { headers: { Vary: "Accept" } }));

/** An app in which POST is for the partner, with a header, and GET for the site, registered in one order or the other. */
function app(last: "GET" | "POST") {
  const http = httpRouter();
  const cors = corsRouter(http, { allowedOrigins: [SITE] });
  const get = () => cors.route({ path: "/orders", method: "GET", handler });
  const post = () =>
    cors.route({ path: "/orders", method: "POST", handler, allowedOrigins: [PARTNER], allowedHeaders: ["X-Partner"] });
  for (const register of last === "GET" ? [post, get] : [get, post]) register();
  const modules = { "./convex/_generated/api.js": async () => ({}), "./convex/http.ts": async () => ({ default: http }) };
  return convexTest(defineSchema({}), modules as any);
}

/** What a browser that asks first would find: the origin and the headers that may be. */
async function preflight(t: ReturnType<typeof app>, origin: string, method: string) {
  const headers = { Origin: origin, "Access-Control-Request-Method": method };
  const answer = await t.fetch("/orders", { method: "OPTIONS", headers });
  return [answer.headers.get("Access-Control-Allow-Origin"), answer.headers.get("Access-Control-Allow-Headers")];
}

test("the last route answers for all", async () => {
  for (const last of ["GET", "POST"] as const) {
    const t = app(last);
    const ofLast = last === "GET" ? "Content-Type" : "X-Partner";
    const seen = { get: await preflight(t, SITE, "GET"), post: await preflight(t, PARTNER, "POST") };
    console.log("registered last:", last, seen);
    expect(seen.get).toEqual([last === "GET" ? SITE : null, ofLast]);
    expect(seen.post).toEqual([last === "POST" ? PARTNER : null, ofLast]);
    // The requests themselves are answered by their own options, whatever the order.
    const itself = await t.fetch("/orders", { method: "POST", headers: { Origin: PARTNER } });
    expect(itself.headers.get("Access-Control-Allow-Origin")).toBe(PARTNER);
    expect(itself.headers.get("Vary")).toBe("Origin");
  }
});
TS
timeout 120 npx vitest run
echo "as found"
