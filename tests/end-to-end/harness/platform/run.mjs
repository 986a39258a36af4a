// Evaluates expressions in Node.js itself and in the isolate's platform, whose modules it loads into a context of its
// own. Reads JSON text of `{ prelude, lines, phase }[]`, writes JSON text of `{ node, platform }[]`: a text for each
// line. Needs --experimental-vm-modules. A promise that is rejected and never looked at ends it, as it would
// fail a call in the isolate.
import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import vm from "node:vm";

const isolate = new URL("../../../../crates/isolate/", import.meta.url);
const read = (path) => readFileSync(new URL(path, isolate), "utf8");
const evaluate = read("tests/as_in_node/evaluate.js");

const attempt = (act) => {
  try {
    return act();
  } catch {
    return undefined;
  }
};

const urlParts = "href origin protocol username password host hostname port pathname search hash".split(" ");
const partsOf = (url) => JSON.stringify(Object.fromEntries(urlParts.map((name) => [name, url[name]])));
const native = {
  atob: (data) => attempt(() => atob(data)),
  btoa: (data) => attempt(() => btoa(data)),
  base64: (bytes) => Buffer.from(bytes).toString("base64"),
  hex: (bytes) => Buffer.from(bytes).toString("hex"),
  fromHex: (text) => Buffer.from(text, "hex"),
  fromBase64: (text) => Buffer.from(text, "base64"),
  parseUrl: (input, base) => attempt(() => partsOf(base === "" ? new URL(input) : new URL(input, base))),
  setUrlPart: (href, part) => {
    const url = new URL(href);
    const [name, value] = JSON.parse(part);
    url[name] = value;
    return partsOf(url);
  },
  // Of crypto.subtle, only this; crates/web-crypto compares the rest.
  digest: (text, bytes) => {
    const { operation, hash } = JSON.parse(text);
    return operation === "digest"
      ? createHash(hash.replace("-", "")).update(Buffer.from(bytes)).digest("base64")
      : undefined;
  },
  now: () => Date.now(),
  random: () => Math.random(),
  randomBytes: (length) => randomBytes(length),
  encode: (text) => new TextEncoder().encode(text),
  decode: (buffer, offset, length, fatal) =>
    attempt(() => new TextDecoder("utf-8", { fatal, ignoreBOM: true }).decode(new Uint8Array(buffer, offset, length))),
  startTimer: (callback, delay) => setTimeout(callback, delay),
};

const sourceOf = (name) =>
  read(name === "web-streams" ? "node_modules/web-streams-polyfill/dist/ponyfill.mjs" : `src/platform/${name}.js`);

// A context with the platform; `evaluate` evaluates the source of a script in it.
async function loadPlatform() {
  const context = vm.createContext();
  const exportsOf = (identifier, values) => {
    const names = Object.keys(values);
    const fill = function () {
      names.forEach((name) => this.setExport(name, values[name]));
    };
    return new vm.SyntheticModule(names, fill, { identifier, context });
  };
  const host = vm.runInContext(readFileSync(new URL("host.js", import.meta.url), "utf8"), context)(native);
  const modules = new Map([["tidemark:host", exportsOf("tidemark:host", host)]]);
  const load = (specifier) => {
    if (!modules.has(specifier)) {
      const source = sourceOf(specifier.replace(/^tidemark:/, ""));
      modules.set(specifier, new vm.SourceTextModule(source, { identifier: specifier, context }));
    }
    return modules.get(specifier);
  };
  const main = load("tidemark:main");
  await main.link(load);
  await main.evaluate();
  return { evaluate: (script) => vm.runInContext(script, context), phase: load("tidemark:phase").namespace };
}

// Timers of signals alone would let Node.js end, open ports would never.
setInterval(() => {}, 60_000);
const results = [];
for (const { prelude, lines, phase } of JSON.parse(readFileSync(0, "utf8"))) {
  const cases = `${prelude}\nconst cases = [${lines.map((line) => `async () => (${line}),\n`).join("")}];\n${evaluate}`;
  const platform = await loadPlatform();
  platform.phase.beginCall(phase);
  results.push({
    node: await vm.runInThisContext(`(() => {${cases}; return all(); })()`),
    platform: await platform.evaluate(`(() => {${cases}; return all(); })()`),
  });
}
process.stdout.write(JSON.stringify(results), () => setImmediate(() => process.exit()));
