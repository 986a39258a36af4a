#!/usr/bin/env bash
# npm zodvex 0.3.2 with zod 4.6.7, run in convex-test 0.0.71: what has a `z.tuple` in its arguments can not be called, and a table that has one takes no
# document.
#
# The guess: a tuple is an array, so its validator is one of arrays, with whatever elements the tuple has: `v.array(v.union(…))`, as `zodToConvex` of convex-helpers
# makes it, on which zodvex stands. The number and order of elements is then for Zod to check.
# What happens: the validator is `v.object({ _0: …, _1: … })`, and nothing turns the one into the other. An array is refused by the validator; an object of `_0` and
# `_1` passes it and is refused by Zod, which looks at the same value next. A tuple that a query returns fails likewise.
# What follows for an app: `z.array(z.union([…])).length(2)`, or an object with names. Types show nothing of it: TypeScript has the tuple on both sides.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.49.0 convex-test@0.0.71 convex-helpers@0.1.135 zodvex@0.3.2 zod@4.6.7 \
  vitest@4.1.12 @edge-runtime/vm@5.0.0 >/dev/null
cat > vitest.config.mts <<'TS'
import { defineConfig } from "vitest/config";
export default defineConfig({ test: { environment: "edge-runtime", server: { deps: { inline: ["convex-test"] } } } });
TS
cat > probe.test.ts <<'TS'
import { zodToConvex as zodToConvexOfHelpers } from "convex-helpers/server/zod4";
import { convexTest } from "convex-test";
import { defineSchema, makeFunctionReference, mutationGeneric, queryGeneric } from "convex/server";
import { v } from "convex/values";
import { expect, test } from "vitest";
import { z } from "zod";
import { zMutationBuilder, zodTable, zodToConvex, zQueryBuilder } from "zodvex";

const mutation = zMutationBuilder(mutationGeneric as any) as any;
const query = zQueryBuilder(queryGeneric as any) as any;
const place = z.tuple([z.string(), z.number()]);
const places = zodTable("places", { place });
const modules = {
  "./convex/_generated/api.js": async () => ({ default: {} }),
  "./convex/app.ts": async () => ({
    go: mutation({ args: { place }, handler: async (_: unknown, { place }: any) => `${place[0]} ${place[1]}` }),
    where: query({ args: {}, returns: place, handler: async () => ["north", 3] }),
    goByArray: mutation({
      args: { place: z.array(z.union([z.string(), z.number()])).length(2) },
      handler: async (_: unknown, { place }: any) => `${place[0]} ${place[1]}`,
    }),
  }),
};

test("a tuple is an object to Convex and an array to Zod", async () => {
  const validator = (made: any) => JSON.stringify(made.json);
  expect(validator(zodToConvexOfHelpers(place))).toBe(validator(v.array(v.union(v.string(), v.number()))));
  expect(validator(zodToConvex(place))).toBe(validator(v.object({ _0: v.string(), _1: v.number() })));

  const t = convexTest(defineSchema({ places: (places as any).table }), modules);
  const tried = (call: Promise<unknown>) => call.catch((error: Error) => error.message);
  const call = (name: string, args: any) => tried(t.mutation(makeFunctionReference<"mutation">(`app:${name}`), args));
  const seen = {
    array: await call("go", { place: ["north", 3] }),
    object: await call("go", { place: { _0: "north", _1: 3 } }),
    returned: await tried(t.query(makeFunctionReference<"query">("app:where"), {})),
    stored: await tried(t.run((ctx: any) => ctx.db.insert("places", { place: ["north", 3] }))),
    otherwise: await call("goByArray", { place: ["north", 3] }),
  };
  console.log(seen);
  expect(seen.array).toContain("Validator error: Expected a plain old JavaScript `object`");
  expect(seen.object).toContain("expected tuple, received object");
  expect(seen.returned).toContain("Return value validation failed");
  expect(seen.stored).toContain("Validator error: Expected a plain old JavaScript `object`");
  expect(seen.otherwise).toBe("north 3");
});
TS
timeout 120 npx vitest run
echo "as found"
