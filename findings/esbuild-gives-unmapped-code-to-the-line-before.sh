#!/usr/bin/env bash
# npm esbuild 0.28.2: code of which the input's source map says "this is from no source" gets the place, and the name, of what stands before it.
#
# The guess: esbuild composes the map of its input with its own, as @jridgewell/remapping 2.3.5 does: what maps to nothing maps to nothing. Segments of one number
# are how a compiler says that a call is its own invention.
# What happens: such a segment is overlooked. In `one();helper();two();` the helper, which no one wrote, is said to be a.ts:10:0 under the name `uno`, minified or
# not. The map's `ignoreList`, by which a debugger knows what to leave out, does not get into the result.
# What follows: a stack through a bundle can show a line of the app that did not run, where a compiler's helper did; compose the maps with another tool where
# that matters.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error esbuild@0.28.2 @jridgewell/remapping@2.3.5 \
  @jridgewell/trace-mapping@0.3.31 @jridgewell/sourcemap-codec@1.6.0 >/dev/null
cat > probe.mjs <<'JS'
import assert from "node:assert";
import remapping from "@jridgewell/remapping";
import { encode } from "@jridgewell/sourcemap-codec";
import { originalPositionFor, TraceMap } from "@jridgewell/trace-mapping";
import { transform } from "esbuild";

const code = "one();helper();two();\n";
const compiled = {
  version: 3,
  sources: ["a.ts", "b.ts"],
  names: ["uno"],
  ignoreList: [1],
  // Columns 0 (a.ts:10:0, called `uno`), 6 (nothing) and 15 (b.ts:20:4).
  mappings: encode([[[0, 0, 9, 0, 0], [6], [15, 1, 19, 4]]]),
};
const comment = `//# sourceMappingURL=data:application/json;base64,${Buffer.from(JSON.stringify(compiled)).toString("base64")}\n`;

function places(output, map) {
  const traced = new TraceMap(map);
  const places = ["one", "helper", "two"].map((name) => {
    const lines = output.slice(0, output.indexOf(name)).split("\n");
    const { source, line, column, name: original } = originalPositionFor(traced, { line: lines.length, column: lines.at(-1).length });
    return source === null ? "nothing" : [source, line, column, original].filter((part) => part !== null).join(":");
  });
  return [...places, `ignored: ${map.ignoreList ?? "none"}`].join(" ");
}

const options = { sourcemap: "external", sourcefile: "compiled.js" };
const seen = {};
for (const minify of [false, true]) {
  const composed = await transform(code + comment, { ...options, minify });
  seen[minify ? "esbuild, minified" : "esbuild"] = places(composed.code, JSON.parse(composed.map));
  const own = await transform(code, { ...options, minify });
  const remapped = remapping(JSON.parse(own.map), (file) => (file === "compiled.js" ? compiled : null));
  seen[minify ? "remapping, minified" : "remapping"] = places(own.code, JSON.parse(remapped.toString()));
}
console.log(seen);
const asEsbuild = "a.ts:10:0:uno a.ts:10:0:uno b.ts:20:4 ignored: none";
const asRemapping = "a.ts:10:0:uno nothing b.ts:20:4 ignored: 1";
assert.deepEqual(seen, {
  esbuild: asEsbuild,
  "esbuild, minified": asEsbuild,
  remapping: asRemapping,
  "remapping, minified": asRemapping,
});
JS
timeout 60 node probe.mjs
echo "as found"
