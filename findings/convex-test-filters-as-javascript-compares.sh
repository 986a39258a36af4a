#!/usr/bin/env bash
# npm convex-test 0.0.70, the published stand-in for a backend in unit tests: `filter` compares values as JavaScript does, an index range as Convex does.
#
# The guess: `.filter((q) => q.lt(q.field("rank"), 5))` and `.withIndex("by_rank", (q) => q.lt("rank", 5))` find the same documents: both are documented
# to compare in the order undefined < null < int64 < float64 < boolean < string < bytes < array < object.
# What happens: the index range finds documents without the field (undefined comes first); the filter does not, because `undefined < 5` is false
# in JavaScript. It finds `false`, `true` and `[1]` instead, which JavaScript turns into numbers. A filter that isn't a comparison takes whatever is truthy.
# What follows for an app: a test of a query that filters by an optional field can pass and the deployed query find other documents.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.48.0 convex-test@0.0.70 vitest@4.1.12 @edge-runtime/vm@5.0.0 >/dev/null
mkdir -p convex/_generated
echo 'export default {};' > convex/_generated/api.js
cat > vitest.config.mts <<'TS'
import { defineConfig } from "vitest/config";
export default defineConfig({ test: { environment: "edge-runtime", server: { deps: { inline: ["convex-test"] } } } });
TS
cat > probe.test.ts <<'TS'
import { convexTest } from "convex-test";
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
import { expect, test } from "vitest";

test("one comparison, two answers", async () => {
  const players = defineTable({ name: v.string(), rank: v.optional(v.any()) }).index("by_rank", ["rank"]);
  const t = convexTest(defineSchema({ players }), import.meta.glob("./convex/**/*.js"));
  await t.run(async (ctx: any) => {
    const ranks = { none: undefined, null: null, three: 3, seven: 7, no: false, yes: true, list: [1] };
    for (const [name, rank] of Object.entries(ranks)) await ctx.db.insert("players", { name, rank });
    const names = (found: { name: string }[]) => found.map(({ name }) => name).sort();
    const players = () => ctx.db.query("players");
    const seen = {
      index: names(await players().withIndex("by_rank", (q: any) => q.lt("rank", 5)).collect()),
      filter: names(await players().filter((q: any) => q.lt(q.field("rank"), 5)).collect()),
      truthy: names(await players().filter((q: any) => q.field("rank")).collect()),
    };
    console.log(seen);
    expect(seen).toEqual({
      index: ["none", "null", "three"],
      filter: ["list", "no", "null", "three", "yes"],
      truthy: ["list", "seven", "three", "yes"],
    });
  });
});
TS
timeout 120 npx vitest run
echo "as found"
