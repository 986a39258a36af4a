#!/usr/bin/env bash
# npm @convex-dev/workflow 0.4.8 over @convex-dev/workpool 0.4.16, run in convex-test 0.0.71: a ConvexError that a step throws is caught in the workflow as
# a plain Error without `data`.
#
# The guess: what a step throws is caught as what it is, as with `ctx.runMutation` in an action: a ConvexError with its `data` ("throw a catch-able exception in the
# workflow handler, allowing graceful recovery"), the more so as the workpool, which runs the steps, gives `errorData` to whoever waits for it.
# What happens: of the failed step the text is kept, and `new Error(text)` is thrown. `error instanceof ConvexError` is false, `error.data` is undefined, and the
# data stands as JSON in `error.message`. A workflow that fails by it says no more to its own `onComplete`.
# What follows for an app: return from a step what a workflow has to decide by, and throw what it can not go on after.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.49.0 convex-test@0.0.71 convex-helpers@0.1.135 @convex-dev/workflow@0.4.8 \
  @convex-dev/workpool@0.4.16 vitest@4.1.12 @edge-runtime/vm@5.0.0 >/dev/null
cat > vitest.config.mts <<'TS'
import { defineConfig } from "vitest/config";
export default defineConfig({ test: { environment: "edge-runtime", server: { deps: { inline: ["convex-test"] } } } });
TS
cat > probe.test.ts <<'TS'
import { WorkflowManager } from "@convex-dev/workflow";
import workflow from "@convex-dev/workflow/test";
import { Workpool } from "@convex-dev/workpool";
import workpool from "@convex-dev/workpool/test";
import { convexTest } from "convex-test";
import { componentsGeneric, defineSchema, internalActionGeneric, internalMutationGeneric, makeFunctionReference } from "convex/server";
import { ConvexError } from "convex/values";
import { expect, test, vi } from "vitest";

const DATA = { code: "sold out", left: 0 };
const seen: Record<string, unknown> = {};
const components = componentsGeneric() as any;
const manager = new WorkflowManager(components.workflow, { workpoolOptions: { logLevel: "ERROR" } } as any);
const reference = (name: string) => makeFunctionReference<any>(`app:${name}`) as any;

/** Calls the mutation that throws, and tells what was caught. */
async function order(ctx: any) {
  try {
    await ctx.runMutation(reference("sell"), {});
    return "nothing thrown";
  } catch (error: any) {
    return { isConvexError: error instanceof ConvexError, data: error.data ?? "none", message: error.message };
  }
}
const modules = {
  "./convex/_generated/api.js": async () => ({ default: {} }),
  "./convex/app.ts": async () => ({
    sell: internalMutationGeneric({ handler: async () => { throw new ConvexError(DATA); } }),
    byAction: internalActionGeneric({ handler: order }),
    byWorkflow: manager.define({ args: {}, handler: order } as any),
    failing: manager.define({ args: {}, handler: async (ctx: any) => void (await ctx.runMutation(reference("sell"), {})) } as any),
    note: internalMutationGeneric({ handler: async (_, { context, result }: any) => void (seen[context] = result) }),
  }),
};

test("an error of a step", async () => {
  vi.useFakeTimers();
  vi.spyOn(console, "error").mockReturnValue();
  const t = convexTest(defineSchema({}), modules);
  workflow.register(t as any);
  workpool.register(t as any, "pool");
  const byAction = await t.action(reference("byAction"), {});
  await t.run(async (ctx: any) => {
    const onComplete = reference("note");
    await manager.start(ctx, reference("byWorkflow"), {}, { onComplete, context: "workflow" });
    await manager.start(ctx, reference("failing"), {}, { onComplete, context: "failing" });
    await new Workpool(components.pool, { maxParallelism: 1, logLevel: "ERROR" }).enqueueMutation(ctx, reference("sell"), {}, { onComplete, context: "pool" });
  });
  for (let step = 0; step < 50; step++) {
    await vi.advanceTimersByTimeAsync(100);
    await t.finishInProgressScheduledFunctions();
  }
  const { workflow: byWorkflow, failing, pool } = seen as any;
  console.log({ byAction, byWorkflow: byWorkflow.returnValue, failing: Object.keys(failing), pool: pool.errorData });
  expect(byAction).toEqual({ isConvexError: true, data: DATA, message: JSON.stringify(DATA) });
  expect(byWorkflow.returnValue).toEqual({ isConvexError: false, data: "none", message: JSON.stringify(DATA) });
  expect(Object.keys(failing).sort()).toEqual(["error", "kind"]);
  expect(pool.errorData).toEqual(DATA);
});
TS
timeout 120 npx vitest run
echo "as found"
