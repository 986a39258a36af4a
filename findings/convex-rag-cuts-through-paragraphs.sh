#!/usr/bin/env bash
# npm @convex-dev/rag 0.7.6 (client/defaultChunker.ts): text is cut wherever 1,000 characters are full, in the middle of paragraphs; three of the chunker's five
# options change nothing.
#
# The guess: "by default, it will chunk into paragraphs": of paragraphs of 800, 500 and 900 characters each becomes a chunk, by `delimiter` (an empty line) and
# under the soft limit; with `minCharsSoftLimit` or `minLines` short ones are joined.
# What happens: the place where paragraphs are looked at is reached only when a line does not fit any more, and that was handled just before: the chunk ends at
# whatever line is the last to fit. `delimiter`, `minLines` and `minCharsSoftLimit` have no influence at all.
# What follows for an app: split at paragraphs yourself and pass `chunks`; else what is embedded is the end of one thought and the beginning of the next.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.48.0 convex-helpers@0.1.135 @convex-dev/workpool@0.4.16 @convex-dev/rag@0.7.6 \
  ai@7.0.173 zod@4.6.7 >/dev/null
cat > probe.mjs <<'JS'
import assert from "node:assert";
import { defaultChunker } from "@convex-dev/rag";

// Lines of 100 characters, "A1 xxx…"; a paragraph of eight, one of five, one of nine.
const line = (name) => `${name} `.padEnd(99, "x");
const paragraph = (letter, lines) => Array.from({ length: lines }, (_, index) => line(`${letter}${index + 1}`)).join("\n");
const text = [paragraph("A", 8), paragraph("B", 5), paragraph("C", 9)].join("\n\n");
const chunks = (options) => defaultChunker(text, options).map((chunk) => chunk.match(/[A-C]\d/g).join(" "));

const found = chunks();
console.log(found);
assert.deepEqual(found, ["A1 A2 A3 A4 A5 A6 A7 A8 B1 B2", "B3 B4 B5 C1 C2 C3 C4 C5 C6 C7", "C8 C9"]);
let options = 0;
for (const delimiter of ["\n\n", "\n", "\n---\n", "\n\n\n"]) {
  for (const minLines of [1, 5, 8, 100]) {
    for (const minCharsSoftLimit of [0, 100, 500, 900]) {
      assert.deepEqual(chunks({ delimiter, minLines, minCharsSoftLimit }), found);
      options++;
    }
  }
}
console.log("the same with", options, "other options");
assert.notDeepEqual(chunks({ maxCharsSoftLimit: 500 }), found);
JS
timeout 60 node probe.mjs
echo "as found"
