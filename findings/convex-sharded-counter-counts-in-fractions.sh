#!/usr/bin/env bash
# npm @convex-dev/sharded-counter 0.2.1, run in convex-test 0.0.70: after `rebalance` a counter that was only ever incremented is no whole number.
#
# The guess: `rebalance` moves whole counts between the shards; the count is what it was.
# What happens: each shard gets the count divided by the number of shards, as a floating-point number. Where that number is no power of two, the sum of them
# is off by a rounding: 7 becomes 7.000000000000001, and 29 becomes 28.999999999999993, which Math.floor makes 28. The default, 16 shards, is exact.
# What follows for an app: choose 2, 4, 8, 16 … shards, or round what `count` returns.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.48.0 convex-test@0.0.70 @convex-dev/sharded-counter@0.2.1 \
  vitest@4.1.12 @edge-runtime/vm@5.0.0 >/dev/null
mkdir -p convex/_generated
echo 'export default {};' > convex/_generated/api.js
cat > vitest.config.mts <<'TS'
import { defineConfig } from "vitest/config";
export default defineConfig({ test: { environment: "edge-runtime", server: { deps: { inline: ["convex-test"] } } } });
TS
cat > probe.test.ts <<'TS'
import { ShardedCounter } from "@convex-dev/sharded-counter";
import component from "@convex-dev/sharded-counter/test";
import { convexTest } from "convex-test";
import { componentsGeneric, defineSchema } from "convex/server";
import { expect, test } from "vitest";

test("whole counts are cut into fractions", async () => {
  const t = convexTest(defineSchema({}), import.meta.glob("./convex/**/*.js"));
  component.register(t as any);
  await t.run(async (ctx: any) => {
    const seen: Record<string, number> = {};
    for (const shards of [10, 16]) {
      const counter = new ShardedCounter<string>((componentsGeneric() as any).shardedCounter, { defaultShards: shards });
      for (const increments of [7, 29]) {
        const name = `${increments} in ${shards} shards`;
        for (let i = 0; i < increments; i++) await counter.inc(ctx, name);
        expect(await counter.count(ctx, name)).toBe(increments);
        await counter.rebalance(ctx, name);
        seen[name] = await counter.count(ctx, name);
      }
    }
    console.log(seen);
    expect(seen).toEqual({
      "7 in 10 shards": 7.000000000000001,
      "29 in 10 shards": 28.999999999999993,
      "7 in 16 shards": 7,
      "29 in 16 shards": 29,
    });
  });
});
TS
timeout 120 npx vitest run
echo "as found"
