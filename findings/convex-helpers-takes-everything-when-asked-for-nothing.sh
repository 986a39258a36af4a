#!/usr/bin/env bash
# npm convex-helpers 0.1.135 (server/stream, server/filter), run in convex-test 0.0.70: `.take(0)` of a stream is the whole table, of a filtered query one document.
#
# The guess: `take(0)` is empty, as it is for the queries that these two stand in for ("use it as you would use `ctx.db`"). It comes from code such as
# `take(limit - found.length)`, in which nothing is left to find.
# What happens: both look at the number after they have added a document. The stream stops when it has exactly that many, which never comes again;
# the filter stops at "as many or more", which is one.
# What follows for an app: ask only for one or more.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.48.0 convex-test@0.0.70 convex-helpers@0.1.135 \
  vitest@4.1.12 @edge-runtime/vm@5.0.0 >/dev/null
mkdir -p convex/_generated
echo 'export default {};' > convex/_generated/api.js
cat > vitest.config.mts <<'TS'
import { defineConfig } from "vitest/config";
export default defineConfig({ test: { environment: "edge-runtime", server: { deps: { inline: ["convex-test"] } } } });
TS
cat > probe.test.ts <<'TS'
import { filter } from "convex-helpers/server/filter";
import { stream } from "convex-helpers/server/stream";
import { convexTest } from "convex-test";
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
import { expect, test } from "vitest";

test("none of them", async () => {
  const schema = defineSchema({ notes: defineTable({ number: v.number() }) });
  const t = convexTest(schema, import.meta.glob("./convex/**/*.js"));
  await t.run(async (ctx: any) => {
    for (let number = 0; number < 5; number++) await ctx.db.insert("notes", { number });
    const queries = {
      query: () => ctx.db.query("notes"),
      filtered: () => filter(ctx.db.query("notes"), () => true),
      stream: () => stream(ctx.db, schema).query("notes"),
    };
    const seen: Record<string, number[]> = {};
    for (const [name, query] of Object.entries(queries)) {
      seen[name] = [];
      for (const wanted of [0, 1, 2]) seen[name].push((await query().take(wanted)).length);
    }
    console.log(seen);
    expect(seen).toEqual({ query: [0, 1, 2], filtered: [1, 1, 2], stream: [5, 1, 2] });
  });
});
TS
timeout 120 npx vitest run
echo "as found"
