#!/usr/bin/env bash
# npm @convex-dev/crons 0.2.2 (component/public.ts), run in convex-test 0.0.70: after an hour in which nothing ran, a job of every minute runs sixty times in a row.
#
# The guess: the crons "in user space" do as those of `crons.ts`, which leave out the runs that they missed and go on with the next one to come.
# What happens: the next time is computed from the one that was due, not from now: all missed times are in the past, each is run at once, one after the other.
# The remark "still running, skipping this run" is of no help when each run is short.
# What follows for an app: a job that sends something must look when it last did. For a server: after a pause, bursts come out of components, too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.48.0 convex-test@0.0.70 @convex-dev/crons@0.2.2 \
  vitest@4.1.12 @edge-runtime/vm@5.0.0 >/dev/null
cat > vitest.config.mts <<'TS'
import { defineConfig } from "vitest/config";
export default defineConfig({ test: { environment: "edge-runtime", server: { deps: { inline: ["convex-test"] } } } });
TS
cat > probe.test.ts <<'TS'
import { Crons } from "@convex-dev/crons";
import component from "@convex-dev/crons/test";
import { convexTest } from "convex-test";
import { componentsGeneric, defineSchema, internalMutationGeneric, makeFunctionReference } from "convex/server";
import { expect, test, vi } from "vitest";

const MINUTE = 60_000;
const runs: number[] = [];
const modules = {
  "./convex/_generated/api.js": async () => ({ default: {} }),
  "./convex/app.ts": async () => ({ tick: internalMutationGeneric({ handler: async () => void runs.push(Date.now()) }) }),
};

test("an hour without a server", async () => {
  vi.useFakeTimers({ now: Date.UTC(2026, 0, 1) });
  vi.spyOn(console, "log").mockReturnValue();
  const t = convexTest(defineSchema({}), modules);
  component.register(t as any);
  const crons = new Crons((componentsGeneric() as any).crons);
  const tick = makeFunctionReference<"mutation">("app:tick") as any;
  await t.run((ctx: any) => crons.register(ctx, { kind: "interval", ms: MINUTE }, tick, {}));
  /** Lets what is due run, and what that makes due. */
  const pass = async (milliseconds: number) => {
    await vi.advanceTimersByTimeAsync(milliseconds);
    await t.finishInProgressScheduledFunctions();
  };
  // The clock goes on by an hour, the timers stand still: what was due in 60 s is still to come in 60 s.
  vi.setSystemTime(Date.now() + 60 * MINUTE);
  const back = Date.now() + MINUTE;
  await pass(MINUTE);
  for (let step = 0; step < 500; step++) await pass(1);
  vi.mocked(console.log).mockRestore();
  console.log(runs.length, "runs within", Math.max(...runs) - back, "ms");
  expect(Date.now() - back).toBe(500);
  expect(runs.length).toBe(61);
});
TS
timeout 120 npx vitest run
echo "as found"
