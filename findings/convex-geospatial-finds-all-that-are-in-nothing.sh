#!/usr/bin/env bash
# npm @convex-dev/geospatial 0.2.1, run in convex-test 0.0.71: `q.in("category", [])` finds points of every category, and so does `nearest`.
#
# The guess: "an `in()` filter requires that a matching document have a filter field with a value in a specified set"; in an empty set there is none, so
# nothing is found, as by `[].includes` and by IN () of SQL where it is allowed; or it is refused.
# What happens: the filter becomes a list of conditions of which one must hold, and where the list is empty there is no condition. A point without a category, which no
# `in` with values finds, is found as well. `limit: 0` is no way to find nothing either: `query` gives the first point (`nearest` gives none).
# What follows for an app: a set that is computed (what a user has chosen, or may see) must be looked at first; where it is empty, don't ask.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.49.0 convex-test@0.0.71 @convex-dev/geospatial@0.2.1 \
  vitest@4.1.12 @edge-runtime/vm@5.0.0 >/dev/null
mkdir -p convex/_generated
echo 'export default {};' > convex/_generated/api.js
cat > vitest.config.mts <<'TS'
import { defineConfig } from "vitest/config";
export default defineConfig({ test: { environment: "edge-runtime", server: { deps: { inline: ["convex-test"] } } } });
TS
cat > probe.test.ts <<'TS'
import component from "@convex-dev/geospatial/test";
import { convexTest } from "convex-test";
import { componentsGeneric, defineSchema } from "convex/server";
import { expect, test } from "vitest";

// The client looks for the global object that a backend has.
(globalThis as any).Convex ??= {};
const { GeospatialIndex } = await import("@convex-dev/geospatial");

test("one of no categories", async () => {
  const t = convexTest(defineSchema({}), import.meta.glob("./convex/**/*.js"));
  component.register(t as any);
  await t.run(async (ctx: any) => {
    const places = new GeospatialIndex<string, any>((componentsGeneric() as any).geospatial, { logLevel: "ERROR" });
    const point = { latitude: 51.5, longitude: -0.1 };
    const filters = { gallery: { category: "museum" }, cafe: { category: "restaurant" }, bench: {} };
    for (const [name, filter] of Object.entries(filters)) await places.insert(ctx, name, point, filter, 1);
    const rectangle = { west: -1, south: 51, east: 1, north: 52 };
    const keys = (found: { key: string }[]) => found.map(({ key }) => key).sort();
    const within = async (filter?: (q: any) => any, limit = 10) =>
      keys((await places.query(ctx, { shape: { type: "rectangle", rectangle }, limit, filter })).results);
    const nearest = async (filter?: (q: any) => any, limit = 10) => keys(await places.nearest(ctx, { point, limit, filter }));
    const seen: Record<string, string[]> = {};
    for (const [name, find] of Object.entries({ within, nearest })) {
      seen[`${name}, museums`] = await find((q) => q.in("category", ["museum"]));
      seen[`${name}, both`] = await find((q) => q.in("category", ["museum", "restaurant"]));
      seen[`${name}, none`] = await find((q) => q.in("category", []));
      seen[`${name}, limit 0`] = await find(undefined, 0);
    }
    console.log(seen);
    expect(seen).toEqual({
      "within, museums": ["gallery"],
      "within, both": ["cafe", "gallery"],
      "within, none": ["bench", "cafe", "gallery"],
      "within, limit 0": [expect.any(String)],
      "nearest, museums": ["gallery"],
      "nearest, both": ["cafe", "gallery"],
      "nearest, none": ["bench", "cafe", "gallery"],
      "nearest, limit 0": [],
    });
  });
});
TS
timeout 120 npx vitest run --testTimeout 60000
echo "as found"
