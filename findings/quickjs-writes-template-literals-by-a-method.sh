#!/usr/bin/env bash
# QuickJS-NG 0.12.1 (npm @jitl/quickjs-ng-wasmfile-release-sync 0.32.0): a template literal calls whatever `String.prototype.concat` is at that moment.
#
# The guess: a template literal is syntax, as `"a" + b` is: no method has a part in it, and nothing that an app replaces changes it. So it is in V8.
# What happens: `${…}` is compiled to a call of the method `concat` of the first piece. Where a script has wrapped that method, every template
# literal runs through its code; where it was deleted, template literals throw "not a function". Sums of strings do not.
# What follows: native code that looks whether built-ins are what they were has to count `concat` among those that syntax depends on; and a
# script that hardens or counts built-ins meets far more calls than it would in a browser.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error \
  quickjs-emscripten-core@0.32.0 @jitl/quickjs-ng-wasmfile-release-sync@0.32.0 >/dev/null
cat > probe.mjs <<'JS'
import assert from "node:assert";
import vm from "node:vm";
import variant from "@jitl/quickjs-ng-wasmfile-release-sync";
import { newQuickJSWASMModuleFromVariant } from "quickjs-emscripten-core";

const quickJs = await newQuickJSWASMModuleFromVariant(variant);
const inQuickJs = (code) => {
  const context = quickJs.newContext();
  const result = context.evalCode(code, "app.js");
  return result.error ? context.dump(result.error).message : context.dump(result.value);
};
const inV8 = (code) => vm.runInNewContext(code);
const counted = `
  let calls = 0;
  const concat = String.prototype.concat;
  String.prototype.concat = function (...texts) {
    calls++;
    return concat.apply(this, texts);
  };
  const name = "Ada";`;
const scripts = {
  "three literals": `${counted} [\`\${name}!\`, \`\${1}\${2}\`, \`plain\`, \`a\${name}\`].length + " made, " + calls + " calls"`,
  "three sums": `${counted} [name + "!", 1 + "" + 2, "a" + name].length + " made, " + calls + " calls"`,
  "without the method": "delete String.prototype.concat; `Hello, ${'Ada'}`",
};
const seen = Object.fromEntries(
  Object.entries(scripts).map(([name, code]) => [name, { quickJs: inQuickJs(code), v8: inV8(code) }]),
);
console.log(seen);
assert.deepEqual(seen, {
  "three literals": { quickJs: "4 made, 3 calls", v8: "4 made, 0 calls" },
  "three sums": { quickJs: "3 made, 0 calls", v8: "3 made, 0 calls" },
  "without the method": { quickJs: "not a function", v8: "Hello, Ada" },
});
JS
timeout 60 node probe.mjs
echo "as found"
