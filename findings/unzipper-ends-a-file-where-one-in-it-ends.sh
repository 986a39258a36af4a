#!/usr/bin/env bash
# npm unzipper 0.12.5 (`Parse`, also behind `Extract`): of an archive in an archive 326 of 414 bytes arrive, and of the file after it nothing; no error
# says so.
#
# The guess: a streaming reader finds the end of a file by its size. Where the size only follows (a "data descriptor", which whoever writes to a pipe needs) and
# the file is stored, not deflated, it compares size and CRC-32 there before it believes the signature, as zip.js and unzip-stream do, or refuses.
# What happens: the first four bytes PK\7\8 end the file. Where the stored file is itself such an archive, that is the end of its own first file. What comes next is
# the inner archive's directory, which is taken for the outer one's, and with it the whole is over.
# What follows: read with `Open`, which uses the sizes of the directory at the end; compare the number of files where there is only a stream.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error unzipper@0.12.5 @zip.js/zip.js@2.24.0 unzip-stream@0.3.4 >/dev/null
cat > write.py <<'PY'
# To a pipe: the sizes follow each file.
import sys, zipfile

archive = zipfile.ZipFile(sys.stdout.buffer, "w", zipfile.ZIP_STORED)
for path in sys.argv[1:]:
    archive.write(path)
archive.close()
PY
seq 100 > text
echo "the last file" > last
python3 write.py text | cat > inner.zip
python3 write.py inner.zip last | cat > outer.zip
python3 -m zipfile --test outer.zip
cat > read.mjs <<'JS'
import assert from "node:assert/strict";
import { createReadStream, readFileSync } from "node:fs";
import { Readable } from "node:stream";
import { ZipReaderStream } from "@zip.js/zip.js";
import unzipStream from "unzip-stream";
import unzipper from "unzipper";

const length = async (chunks) => {
  let sum = 0;
  for await (const chunk of chunks) sum += chunk.length;
  return sum;
};
const file = () => createReadStream("outer.zip");
const seen = { "unzipper.Parse": {}, "unzipper.Open": {}, "zip.js": {}, "unzip-stream": {} };
for await (const entry of file().pipe(unzipper.Parse({ forceStream: true }))) seen["unzipper.Parse"][entry.path] = await length(entry);
for (const entry of (await unzipper.Open.file("outer.zip")).files) seen["unzipper.Open"][entry.path] = await length(entry.stream());
for await (const entry of Readable.toWeb(file()).pipeThrough(new ZipReaderStream())) seen["zip.js"][entry.filename] = await length(entry.readable);
await new Promise((resolve, reject) =>
  file()
    .pipe(unzipStream.Parse())
    .on("entry", async (entry) => (seen["unzip-stream"][entry.path] = await length(entry)))
    .on("close", resolve)
    .on("error", reject),
);
console.log(seen);
const all = Object.fromEntries(["inner.zip", "last"].map((name) => [name, readFileSync(name).length]));
assert.deepEqual(seen["unzipper.Open"], all);
assert.deepEqual(seen["zip.js"], all);
assert.deepEqual(seen["unzip-stream"], all);
// Local header, name and contents of the inner file: what comes before its descriptor.
assert.deepEqual(seen["unzipper.Parse"], { "inner.zip": 30 + "text".length + readFileSync("text").length });
JS
timeout 60 node read.mjs
echo "as found"
