#!/usr/bin/env bash
# npm @convex-dev/action-retrier 0.3.1 (component/run.ts), run in convex-test 0.0.70: `initialBackoffMs` is never waited for; each delay is `base` times what it
# should be.
#
# The guess: "the initial delay after a failure before retrying" is the first delay: the options of its README, { initialBackoffMs: 10000, base: 10 }, wait
# 10 s, 100 s, 1,000 s and 10,000 s (each ± 50 %), three hours in all.
# What happens: it waits 100 s, 1,000 s, 10,000 s and 100,000 s: a day and seven hours. The exponent counts the failure before it is multiplied. The sibling
# @convex-dev/workpool 0.4.16, whose options have the same names, does not (by its source; not run).
# What follows for an app: give the first delay divided by `base`; take care when work moves from the one component to the other.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.48.0 convex-test@0.0.70 @convex-dev/action-retrier@0.3.1 \
  vitest@4.1.12 @edge-runtime/vm@5.0.0 >/dev/null
cat > vitest.config.mts <<'TS'
import { defineConfig } from "vitest/config";
export default defineConfig({ test: { environment: "edge-runtime", server: { deps: { inline: ["convex-test"] } } } });
TS
cat > probe.test.ts <<'TS'
import { ActionRetrier } from "@convex-dev/action-retrier";
import component from "@convex-dev/action-retrier/test";
import { convexTest } from "convex-test";
import { componentsGeneric, defineSchema, internalActionGeneric, makeFunctionReference } from "convex/server";
import { expect, test, vi } from "vitest";

const attempts: number[] = [];
const modules = {
  "./convex/_generated/api.js": async () => ({ default: {} }),
  "./convex/app.ts": async () => ({
    fail: internalActionGeneric({
      handler: async () => {
        attempts.push(Date.now());
        throw new Error("as always");
      },
    }),
  }),
};

test("the first delay is the second", async () => {
  vi.useFakeTimers();
  // The middle of the jitter: times 1.
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  vi.spyOn(console, "error").mockReturnValue();
  const t = convexTest(defineSchema({}), modules);
  component.register(t as any);
  const retrier = new ActionRetrier((componentsGeneric() as any).actionRetrier, { initialBackoffMs: 10000, base: 10, maxFailures: 4 });
  await t.run((ctx: any) => retrier.run(ctx, makeFunctionReference<"action">("app:fail") as any));
  await t.finishAllScheduledFunctions(vi.runAllTimers, 100_000);
  const delays = attempts.slice(1).map((time, before) => Math.round((time - attempts[before]) / 1000));
  console.log("seconds between attempts:", delays);
  expect(delays).toEqual([100, 1000, 10_000, 100_000]);
});
TS
timeout 120 npx vitest run --testTimeout 60000
echo "as found"
