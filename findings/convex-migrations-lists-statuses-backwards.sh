#!/usr/bin/env bash
# npm @convex-dev/migrations 0.3.6 (component/lib.ts), run in convex-test 0.0.70: `getStatus` with a list of migrations answers in the opposite order.
#
# The guess: the statuses come "in the order of the input", as the function's documentation says, so that `const [first, second] = …` works.
# What happens: the list is turned around, which is meant for the other case, in which the newest ones are asked for. With two migrations, one of them done, an
# app that waits for the first sees the second.
# What follows for an app: look for the `name` in each status.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.48.0 convex-test@0.0.70 @convex-dev/migrations@0.3.6 \
  vitest@4.1.12 @edge-runtime/vm@5.0.0 >/dev/null
cat > vitest.config.mts <<'TS'
import { defineConfig } from "vitest/config";
export default defineConfig({ test: { environment: "edge-runtime", server: { deps: { inline: ["convex-test"] } } } });
TS
cat > probe.test.ts <<'TS'
import { Migrations } from "@convex-dev/migrations";
import component from "@convex-dev/migrations/test";
import { convexTest } from "convex-test";
import { componentsGeneric, defineSchema, defineTable, makeFunctionReference } from "convex/server";
import { v } from "convex/values";
import { expect, test } from "vitest";

const migrations = new Migrations((componentsGeneric() as any).migrations) as any;
const modules = {
  "./convex/_generated/api.js": async () => ({ default: {} }),
  "./convex/migrations.ts": async () => ({
    first: migrations.define({ table: "notes", migrateOne: () => ({ number: 1 }) }),
    second: migrations.define({ table: "notes", migrateOne: () => ({ number: 2 }) }),
  }),
};

test("asked for first and second", async () => {
  const t = convexTest(defineSchema({ notes: defineTable({ number: v.number() }) }), modules);
  component.register(t as any);
  await t.mutation(makeFunctionReference<"mutation">("migrations:first") as any, {});
  const statuses = await t.run((ctx: any) => migrations.getStatus(ctx, { migrations: ["migrations:first", "migrations:second"] }));
  const seen = (statuses as any[]).map(({ name, isDone }) => `${name} ${isDone ? "is done" : "is not done"}`);
  console.log(seen);
  expect(seen).toEqual(["migrations:second is not done", "migrations:first is done"]);
});
TS
timeout 120 npx vitest run
echo "as found"
