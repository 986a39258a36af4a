#!/usr/bin/env bash
# npm @jridgewell/trace-mapping 0.3.31: in a map of sections, code that a section covers without mapping it belongs to the section before.
#
# The guess: a section holds from its offset to the offset of the next one; what it doesn't map is unmapped, as it would be in its own map. A bundler's
# wrapper between two files, a section with an empty map, has no source. So says npm source-map 0.8.0, whose answers this library takes over.
# What happens: the sections are made one list of mappings, and a place belongs to the mapping before it, whichever section that came from: the wrapper is
# said to be in the last line of the file before it. Only a line of its own saves it, since a mapping ends with its line.
# What follows: for whoever writes sections: begin each with a mapping to nothing, [0].
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error source-map@0.8.0 @jridgewell/trace-mapping@0.3.31 \
  @jridgewell/sourcemap-codec@1.6.0 >/dev/null
cat > probe.mjs <<'JS'
import assert from "node:assert";
import { encode } from "@jridgewell/sourcemap-codec";
import { AnyMap, originalPositionFor } from "@jridgewell/trace-mapping";
import sourceMap from "source-map";

const section = (line, column, sources, mappings) => ({
  offset: { line, column },
  map: { version: 3, sources, names: [], mappings: encode(mappings) },
});
// a.js in columns 0 to 30, a wrapper without a source to 60, then b.js, the first four columns of which are no one's.
const joined = (wrapper) => ({
  version: 3,
  sections: [section(0, 0, ["a.js"], [[[0, 0, 0, 0]]]), section(0, 30, [], wrapper), section(0, 60, ["b.js"], [[[4, 0, 0, 0]]])],
});
const columns = [0, 29, 30, 45, 60, 64];
const seen = {};
for (const [name, wrapper] of Object.entries({ "empty wrapper": [], "wrapper with [0]": [[[0]]] })) {
  const consumer = await new sourceMap.SourceMapConsumer(joined(wrapper));
  const traced = new AnyMap(joined(wrapper));
  seen[`${name}: source-map`] = columns.map((column) => consumer.originalPositionFor({ line: 1, column }).source).join(" ");
  seen[`${name}: trace-mapping`] = columns.map((column) => originalPositionFor(traced, { line: 1, column }).source).join(" ");
}
console.log(columns, seen);
assert.deepEqual(seen, {
  // An array's null joins as nothing.
  "empty wrapper: source-map": "a.js a.js    b.js",
  "empty wrapper: trace-mapping": "a.js a.js a.js a.js a.js b.js",
  "wrapper with [0]: source-map": "a.js a.js    b.js",
  "wrapper with [0]: trace-mapping": "a.js a.js    b.js",
});
JS
timeout 60 node probe.mjs
echo "as found"
