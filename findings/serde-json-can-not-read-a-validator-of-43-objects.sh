#!/usr/bin/env bash
# npm convex 1.48.0 and crate serde_json 1.0.154: a validator of objects nested 43 deep, as the client library writes it, can't be parsed by serde_json
# into a `Value`; the values that it describes can.
#
# The guess: whatever describes a value that nests 64 deep, which is what values may, nests about as deep as it.
# What happens: each `v.object` is three levels of JSON: the validator, its `value`, and the field with its `fieldType`. serde_json gives up at 128
# levels (`recursion limit exceeded`), so the 43rd object is one too many.
# What follows for a server in Rust: a schema that is deployed may be unreadable in another place that wraps its JSON once more. Whoever
# stores it must check its depth as JSON, with room for what will be wrapped around it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.48.0 >/dev/null
cat > write.mjs <<'JS'
import { writeFileSync } from "node:fs";
import { v } from "convex/values";

for (const depth of [42, 43, 64]) {
  let validator = v.string();
  let value = "text";
  for (let level = 0; level < depth; level++) {
    validator = v.object({ a: validator });
    value = { a: value };
  }
  writeFileSync(`validator-${depth}.json`, JSON.stringify(validator.json));
  writeFileSync(`value-${depth}.json`, JSON.stringify(value));
}
JS
node write.mjs
mkdir -p probe/src
cat > probe/Cargo.toml <<'TOML'
[package]
name = "probe"
version = "0.0.0"
edition = "2021"
[dependencies]
serde_json = "=1.0.154"
TOML
cat > probe/src/main.rs <<'RS'
fn main() {
    for path in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&path).expect("the file is there");
        match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(_) => println!("{path}: read"),
            Err(error) => println!("{path}: {}", error.to_string().split(" at ").next().unwrap()),
        }
    }
}
RS
(cd probe && CARGO_TARGET_DIR="$folder/target" cargo build --quiet)
target/debug/probe validator-42.json validator-43.json value-43.json value-64.json | tee output
diff output - <<'OUTPUT'
validator-42.json: read
validator-43.json: recursion limit exceeded
value-43.json: read
value-64.json: read
OUTPUT
echo "as found"
