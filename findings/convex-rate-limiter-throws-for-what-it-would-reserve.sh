#!/usr/bin/env bash
# npm @convex-dev/rate-limiter 0.4.0, run in convex-test 0.0.70: `limit(ctx, name, { reserve: true, throws: true })` throws "RateLimited" for a
# reservation that the same call without `throws` grants.
#
# The guess: `throws` turns an answer `ok: false` into an error; a reservation is `ok: true` with the time to wait, so nothing is thrown.
# What happens: it throws whenever there is a time to wait, which a granted reservation always has. The error undoes the mutation, and with it the reservation.
# What follows for an app: with `reserve`, look at `ok` yourself; the two options together never reserve anything.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.48.0 convex-test@0.0.70 @convex-dev/rate-limiter@0.4.0 \
  vitest@4.1.12 @edge-runtime/vm@5.0.0 >/dev/null
mkdir -p convex/_generated
echo 'export default {};' > convex/_generated/api.js
cat > vitest.config.mts <<'TS'
import { defineConfig } from "vitest/config";
export default defineConfig({ test: { environment: "edge-runtime", server: { deps: { inline: ["convex-test"] } } } });
TS
cat > probe.test.ts <<'TS'
import { MINUTE, RateLimiter } from "@convex-dev/rate-limiter";
import component from "@convex-dev/rate-limiter/test";
import { convexTest } from "convex-test";
import { componentsGeneric, defineSchema } from "convex/server";
import { expect, test } from "vitest";

test("a reservation that fits is granted, and thrown away where errors are wanted", async () => {
  const t = convexTest(defineSchema({}), import.meta.glob("./convex/**/*.js"));
  component.register(t as any);
  const limiter = new RateLimiter((componentsGeneric() as any).rateLimiter, {
    messages: { kind: "token bucket", rate: 10, period: MINUTE, capacity: 1, maxReserved: 5 },
  });
  const limit = (options: object) =>
    t.run((ctx: any) => limiter.limit(ctx, "messages", options as any)).catch((error: any) => ({ thrown: error.data }));
  const seen = {
    first: await limit({}),
    second: await limit({}),
    thrown: await limit({ reserve: true, throws: true }),
    granted: await limit({ reserve: true }),
  };
  console.log(seen);
  const retryAfter = expect.any(Number);
  expect(seen).toEqual({
    first: { ok: true },
    second: { ok: false, retryAfter },
    thrown: { thrown: { kind: "RateLimited", name: "messages", retryAfter } },
    granted: { ok: true, retryAfter },
  });
  // No later than the one that was thrown, though a token takes six seconds: that one left nothing.
  expect((seen.granted as any).retryAfter).toBeLessThanOrEqual(6000);
});
TS
timeout 120 npx vitest run
echo "as found"
