#!/usr/bin/env bash
# npm convex-helpers 0.1.135 (server/stream, which the paginator is), run in convex-test 0.0.70: the paginator fails at a document that has nothing where an
# index looks into an object.
#
# The guess: `paginator(db, schema).query(…).withIndex(…).paginate(…)` finds what the query of the same words finds ("roughly equivalent"; the differences
# are listed). A document without `address` has undefined for an index on `address.city` and comes first.
# What happens: the key of each document is read field by field, and reading a field of undefined is a TypeError. Where `address` is there and only `city` is
# missing, or the index is on a field of the document itself, it works. Whatever is built on it fails as well: mergedStream, migrations with a range of their own.
# What follows for an app: no index for these helpers on a field within an optional object; copy the field to the document.
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
import { paginator } from "convex-helpers/server/pagination";
import { convexTest } from "convex-test";
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
import { expect, test } from "vitest";

const schema = defineSchema({
  people: defineTable({ name: v.string(), address: v.optional(v.object({ city: v.optional(v.string()) })), age: v.optional(v.number()) })
    .index("by_city", ["address.city"])
    .index("by_age", ["age"]),
});

test("someone without an address", async () => {
  const t = convexTest(schema, import.meta.glob("./convex/**/*.js"));
  await t.run(async (ctx: any) => {
    const seen: Record<string, string> = {};
    const look = async (people: string) => {
      for (const index of ["by_city", "by_age"]) {
        for (const [name, db] of Object.entries({ query: ctx.db, paginator: paginator(ctx.db, schema) })) {
          const found = (db as any).query("people").withIndex(index).paginate({ numItems: 10, cursor: null });
          seen[`${people}: ${name} ${index}`] = await found.then(
            ({ page }: any) => page.map(({ name }: any) => name).join(" "),
            (error: any) => error.message,
          );
        }
      }
    };
    await ctx.db.insert("people", { name: "Ann", address: { city: "Bonn" } });
    await ctx.db.insert("people", { name: "Bob", address: {} });
    await look("no city");
    await ctx.db.insert("people", { name: "Cleo" });
    await look("no address");
    console.log(seen);
    expect(seen).toEqual({
      "no city: query by_city": "Bob Ann",
      "no city: paginator by_city": "Bob Ann",
      "no city: query by_age": "Ann Bob",
      "no city: paginator by_age": "Ann Bob",
      "no address: query by_city": "Bob Cleo Ann",
      "no address: paginator by_city": "Cannot read properties of undefined (reading 'city')",
      "no address: query by_age": "Ann Bob Cleo",
      "no address: paginator by_age": "Ann Bob Cleo",
    });
  });
});
TS
timeout 120 npx vitest run
echo "as found"
