#!/usr/bin/env bash
# npm @convex-dev/static-hosting 0.2.1, run in convex-test 0.0.71: `apple-touch-icon.png` and `firebase-messaging-sw.js` are served as "immutable" for a year.
#
# The guess: a year is for names that a bundler made from the contents ("applies long-term caching for hashed assets"), as
# `assets/index-D3LP-ukt.js`; what keeps its name from one deployment to the next is asked for again.
# What happens: a name is taken for hashed when a hyphen or point is followed by six or more letters, digits, hyphens and underscores up to the
# last point, one of which is no letter. Of two words after a hyphen the second hyphen is that one: "-touch-icon" is a hash, "-settings" is
# none. So is a date, and a size such as "-192x192". Only .html is exempt.
# What follows for an app: give files of fixed names at most two words, or a folder (`icons/apple/touch.png`). Whoever has loaded one of the others keeps
# it through later deployments; a browser asks for a service worker itself all the same, not for what it imports.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.49.0 convex-test@0.0.71 @convex-dev/static-hosting@0.2.1 react@19.2.0 \
  vitest@4.1.12 @edge-runtime/vm@5.0.0 >/dev/null
cat > vitest.config.mts <<'TS'
import { defineConfig } from "vitest/config";
export default defineConfig({
  test: { environment: "edge-runtime", server: { deps: { inline: ["convex-test", "@convex-dev/static-hosting"] } } },
});
TS
cat > probe.test.ts <<'TS'
import component from "@convex-dev/static-hosting/test";
import { convexTest } from "convex-test";
import { makeFunctionReference } from "convex/server";
import { expect, test } from "vitest";

const YEAR = "public, max-age=31536000, immutable";
const ASK = "public, max-age=0, must-revalidate";

test("what is kept for a year", async () => {
  // The component's own routes, as where it is mounted at "/".
  const t = convexTest(component.schema, component.modules);
  const recordAsset = makeFunctionReference<"mutation">("lib:recordAsset") as any;
  const kept = async (path: string) => {
    const storageId = await t.run((ctx: any) => ctx.storage.store(new Blob([path])));
    await t.mutation(recordAsset, { path, storageId, contentType: "text/plain", deploymentId: "first" });
    const answer = await t.fetch(path);
    expect(answer.status).toBe(200);
    return answer.headers.get("Cache-Control");
  };
  const wanted = {
    "/assets/index-D3LP-ukt.js": YEAR,
    "/service-worker.js": ASK,
    "/app-settings.json": ASK,
    "/privacy-policy-of-ours.html": ASK,
    "/apple-touch-icon.png": YEAR,
    "/firebase-messaging-sw.js": YEAR,
    "/android-chrome-192x192.png": YEAR,
    "/terms-2026-11-30.pdf": YEAR,
    "/data.app_settings.json": YEAR,
  };
  const seen: Record<string, string | null> = {};
  for (const path of Object.keys(wanted)) seen[path] = await kept(path);
  console.log(seen);
  expect(seen).toEqual(wanted);
});
TS
timeout 120 npx vitest run
echo "as found"
