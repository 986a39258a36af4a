#!/usr/bin/env bash
# QuickJS-NG 0.12.1 (npm @jitl/quickjs-ng-wasmfile-release-sync 0.32.0): in a stack, the place of a call that takes several lines is that of
# something within its arguments, and which one depends on what the arguments are.
#
# The guess: the place is where the call begins, or its opening bracket, as in V8: one place, whatever is passed.
# What happens: the compiler notes a place per token that it generates code for and leaves the last one noted to the call. Without
# arguments it is the closing bracket; with plain values the first of them; if an argument is a call or a sum, what that one noted last.
# What follows: through a source map such a frame can lead to another file's line, where a bundler has put arguments of several modules
# into one call; and a stack of QuickJS-NG can't be compared by lines with one of V8.
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

const context = (await newQuickJSWASMModuleFromVariant(variant)).newContext();
const inQuickJs = (code) => {
  const result = context.unwrapResult(context.evalCode(code, "app.js"));
  const text = context.dump(result);
  result.dispose();
  return text;
};
const inV8 = (code) => vm.runInThisContext(code, "app.js");
const calls = ["where(1, 2)", "where(\n)", "where(\n1,\n2)", "where(\nString(\n1),\n2)", "where(\n1 +\n2)"];
// The call begins on the fifth line in each.
const lines = (run) =>
  calls.map((call) =>
    Number(
      run(`function where() {
  return new Error("here").stack;
}
function outer() {
  return ${call};
}
outer()`).match(/outer \(app.js:(\d+):/)[1],
    ),
  );
const seen = { calls, quickjs: lines(inQuickJs), v8: lines(inV8) };
console.log(seen);
assert.deepEqual(seen.quickjs, [5, 6, 6, 7, 7]);
assert.deepEqual(seen.v8, [5, 5, 5, 5, 5]);
JS
timeout 60 node probe.mjs
echo "as found"
