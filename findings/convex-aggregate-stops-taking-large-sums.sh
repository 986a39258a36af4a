#!/usr/bin/env bash
# npm @convex-dev/aggregate 0.3.1 (component/btree.ts), run in convex-test 0.0.70: an aggregate whose `sumValue`s are large numbers with fractions,
# as `_creationTime` is, refuses an insertion once a node is full; and a sum does not come back to what is in it once something large is deleted.
#
# The guess: sums are floating-point numbers, so they may be off by a rounding; inserting goes on working, and what was deleted leaves nothing.
# What happens: each node keeps its sum and adds to it. When a node is split, the sum of the parts is compared with what was kept, and may
# differ by 0.00001, whatever the size of the numbers. Sums of seventeen creation times are above 2^44, where neighbouring numbers
# are 0.004 apart: the mutation fails ("bad sum split") at the 26th document. And 10^16 beside 39 ones, once deleted, leaves 32.
# What follows for an app: sum whole numbers below 2^53 (`Math.floor(doc._creationTime)`); an average needs nothing finer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.48.0 convex-test@0.0.70 @convex-dev/aggregate@0.3.1 \
  vitest@4.1.12 @edge-runtime/vm@5.0.0 >/dev/null
mkdir -p convex/_generated
echo 'export default {};' > convex/_generated/api.js
cat > vitest.config.mts <<'TS'
import { defineConfig } from "vitest/config";
export default defineConfig({ test: { environment: "edge-runtime", server: { deps: { inline: ["convex-test"] } } } });
TS
cat > probe.test.ts <<'TS'
import { DirectAggregate } from "@convex-dev/aggregate";
import component from "@convex-dev/aggregate/test";
import { convexTest } from "convex-test";
import { componentsGeneric, defineSchema } from "convex/server";
import { expect, test } from "vitest";

type Row = { Key: number; Id: string };

/** Runs with an empty aggregate. */
const withAggregate = (run: (ctx: any, aggregate: DirectAggregate<Row>) => Promise<void>) => {
  const t = convexTest(defineSchema({}), import.meta.glob("./convex/**/*.js"));
  component.register(t as any);
  return t.run((ctx: any) => run(ctx, new DirectAggregate<Row>((componentsGeneric() as any).aggregate)));
};

const insertUntilRefused = async (sumValue: (row: number) => number) => {
  let inserted = 0;
  let message = "";
  await withAggregate(async (ctx, aggregate) => {
    try {
      for (; inserted < 100; inserted++) {
        await aggregate.insert(ctx, { key: inserted, id: `row ${inserted}`, sumValue: sumValue(inserted) });
      }
    } catch (error: any) {
      message = error.message.split(" ").slice(0, 3).join(" ");
    }
  });
  return { inserted, message };
};

test("creation times can't be summed, whole ones can", async () => {
  // One document a second, with the fractions of a millisecond that creation times have.
  const time = (row: number) => 1795872097986.0352 + row * 1013.7;
  const seen = { times: await insertUntilRefused(time), whole: await insertUntilRefused((row) => Math.floor(time(row))) };
  console.log(seen);
  expect(seen).toEqual({
    times: { inserted: 25, message: "bad sum split" },
    whole: { inserted: 100, message: "" },
  });
});

test("what was deleted stays in the sum", async () => {
  await withAggregate(async (ctx, aggregate) => {
    for (let row = 0; row < 40; row++) {
      await aggregate.insert(ctx, { key: row, id: `row ${row}`, sumValue: row === 0 ? 1e16 : 1 });
    }
    await aggregate.delete(ctx, { key: 0, id: "row 0" });
    const seen = { count: await aggregate.count(ctx), sum: await aggregate.sum(ctx) };
    console.log(seen);
    expect(seen).toEqual({ count: 39, sum: 32 });
  });
});
TS
timeout 120 npx vitest run --testTimeout 60000
echo "as found"
