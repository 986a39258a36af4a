#!/usr/bin/env bash
# npm convex-helpers 0.1.135 (server/stream), run in convex-test 0.0.70: how many documents a merged stream has depends on the size of its pages.
#
# The guess: `mergedStream` of the notes that someone wrote and those that they may read has a note once, or, where it is in both, twice; in either case all pages
# together hold the same as `collect()`.
# What happens: `collect()` has a note twice that is in both streams. A page has it twice as well, unless it ends between the two: the next page begins behind
# that note in both streams. Three such notes are 3 documents in pages of one, 5 in pages of three, 6 in pages of two or of ten.
# What follows for an app: make the streams disjoint (`.filterWith` on all but the first), or drop doubles and don't count on full pages.
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
import { mergedStream, stream } from "convex-helpers/server/stream";
import { convexTest } from "convex-test";
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
import { expect, test } from "vitest";

const schema = defineSchema({
  notes: defineTable({ author: v.string(), reader: v.string(), number: v.number() }).index("author", ["author"]).index("reader", ["reader"]),
});

test("pages of different sizes hold different documents", async () => {
  const t = convexTest(schema, import.meta.glob("./convex/**/*.js"));
  await t.run(async (ctx: any) => {
    for (const number of [1, 2, 3]) await ctx.db.insert("notes", { author: "ann", reader: "ann", number });
    const by = (index: "author" | "reader") => stream(ctx.db, schema).query("notes").withIndex(index, (q: any) => q.eq(index, "ann"));
    const merged = () => mergedStream([by("author"), by("reader")], ["_creationTime"]);
    const numbers = (documents: any[]) => documents.map(({ number }) => number).join("");
    const seen: Record<string, string> = { collected: numbers(await merged().collect()) };
    for (const numItems of [1, 2, 3, 10]) {
      const pages: string[] = [];
      let cursor: string | null = null;
      for (let done = false; !done; ) {
        const result: any = await merged().paginate({ numItems, cursor });
        pages.push(numbers(result.page));
        ({ continueCursor: cursor, isDone: done } = result);
      }
      seen[`pages of ${numItems}`] = pages.filter((page) => page !== "").join(" ");
    }
    console.log(seen);
    expect(seen).toEqual({
      collected: "112233",
      "pages of 1": "1 2 3",
      "pages of 2": "11 22 33",
      "pages of 3": "112 33",
      "pages of 10": "112233",
    });
  });
});
TS
timeout 120 npx vitest run
echo "as found"
