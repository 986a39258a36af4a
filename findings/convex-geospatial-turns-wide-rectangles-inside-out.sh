#!/usr/bin/env bash
# npm @convex-dev/geospatial 0.2.1, run in convex-test 0.0.70: a rectangle that is wider than half of the globe finds what is outside of it.
#
# The guess: `{ west: -170, south: -85, east: 170, north: 85 }`, which is what a map shows when it is zoomed out, finds what lies between those longitudes; west
# above east means a rectangle across the 180th meridian; -180 to 180 is everything.
# What happens: up to a width of 180 degrees all that is so. Beyond it, the two longitudes are taken for the shorter way around: -170 to 170 finds Fiji and
# Samoa and neither London nor Tokyo, and -180 to 180 finds nothing at all.
# What follows for an app: ask for a wide view in two halves, each at most 180 degrees wide.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.48.0 convex-test@0.0.70 @convex-dev/geospatial@0.2.1 \
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

test("beyond 180 degrees a rectangle is the rest of the world", async () => {
  const t = convexTest(defineSchema({}), import.meta.glob("./convex/**/*.js"));
  component.register(t as any);
  await t.run(async (ctx: any) => {
    const places = new GeospatialIndex((componentsGeneric() as any).geospatial, { logLevel: "ERROR" });
    const all = { London: [51.5, -0.1], Nairobi: [-1.3, 36.8], Tokyo: [35.7, 139.7], Fiji: [-17.7, 178], Samoa: [-13.8, -171.8] };
    for (const [name, [latitude, longitude]] of Object.entries(all)) {
      await places.insert(ctx, name, { latitude, longitude }, {});
    }
    const between = async (west: number, east: number) => {
      const rectangle = { west, south: -85, east, north: 85 };
      const { results } = await places.query(ctx, { shape: { type: "rectangle", rectangle }, limit: 10 });
      return results.map(({ key }) => key).sort();
    };
    const seen = {
      "-10 to 60": await between(-10, 60),
      "-40 to 140": await between(-40, 140),
      "-40 to 141": await between(-40, 141),
      "170 to -170": await between(170, -170),
      "-170 to 170": await between(-170, 170),
      "-180 to 180": await between(-180, 180),
    };
    console.log(seen);
    expect(seen).toEqual({
      "-10 to 60": ["London", "Nairobi"],
      "-40 to 140": ["London", "Nairobi", "Tokyo"],
      "-40 to 141": ["Fiji", "Samoa"],
      "170 to -170": ["Fiji", "Samoa"],
      "-170 to 170": ["Fiji", "Samoa"],
      "-180 to 180": [],
    });
  });
});
TS
timeout 120 npx vitest run --testTimeout 60000
echo "as found"
