// Runs the cases with both implementations of crypto.subtle and says where they differ. Questions to the host go to standard
// output and answers come from standard input, a line of JSON each; what people read goes to standard error.
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { exchanges } from "./exchanges.mjs";
import { cases, deviations, rows } from "./cases.mjs";
import { phaseProblems } from "./phases.mjs";

const [platform, reference, scratch, seed] = process.argv.slice(2);

// Before, Node.js had other names for many errors.
const hasNames = Number(process.versions.node.split(".")[0]) >= 22;

// Node.js 22 lacks what the isolates' engine has.
if (!Uint8Array.fromBase64) {
  Uint8Array.fromBase64 = (text) => new Uint8Array(Buffer.from(text, "base64"));
  Uint8Array.prototype.toBase64 = function () {
    return Buffer.from(this.buffer, this.byteOffset, this.byteLength).toString("base64");
  };
}

let unread = "";
function ask(question) {
  fs.writeSync(1, JSON.stringify(question) + "\n");
  const buffer = Buffer.alloc(1 << 16);
  while (!unread.includes("\n")) {
    const length = fs.readSync(0, buffer);
    if (length === 0) {
      throw new Error("the host has gone");
    }
    unread += buffer.toString("latin1", 0, length);
  }
  const end = unread.indexOf("\n");
  const line = unread.slice(0, end);
  unread = unread.slice(end + 1);
  return JSON.parse(line);
}

// What the host answers request 4 with in an isolate.
globalThis.hostOfTests = {
  phase: "action",
  request(kind, operation, data) {
    if (kind !== 4) {
      throw new Error(`no request of kind ${kind} was expected`);
    }
    const bytes = typeof data === "string" ? Buffer.from(data) : Buffer.from(data);
    const { answer, error, malformed } = ask({ operation, data: bytes.toString("base64") });
    if (malformed !== undefined) {
      throw new Error(`malformed: ${malformed}: ${operation}`);
    }
    if (error !== undefined) {
      throw this.syscallError(error);
    }
    return answer;
  },
};

// The platform's modules, with what they import from the engine put in its place.
async function load() {
  const folder = fs.mkdtempSync(path.join(scratch, "platform-"));
  const stubs = {
    host: `export const request = (...given) => hostOfTests.request(...given);
      export const frames = () => "";
      export const encodeUtf8 = (text) => new Uint8Array(Buffer.from(text));
      export const decodeUtf8 = (buffer, offset, length) => Buffer.from(buffer, offset, length).toString();`,
    inspect: "export const inspect = String;",
    phase: `export const phase = () => hostOfTests.phase;
      export const isDeterministic = () => ["query", "mutation"].includes(hostOfTests.phase);`,
  };
  const sources = new Map(Object.entries(stubs));
  const add = (name) => {
    if (!sources.has(name)) {
      const source = fs.readFileSync(path.join(platform, `${name}.js`), "utf8");
      sources.set(name, source);
      Array.from(source.matchAll(/from "tidemark:([a-z-]+)"/g), ([, imported]) => add(imported));
    }
  };
  ["subtle", "crypto-key", "errors"].forEach(add);
  for (const [name, source] of sources) {
    fs.writeFileSync(path.join(folder, `${name}.mjs`), source.replaceAll(/"tidemark:([a-z-]+)"/g, '"./$1.mjs"'));
  }
  const module = (name) => import(pathToFileURL(path.join(folder, `${name}.mjs`)));
  globalThis.hostOfTests.syscallError = (await module("errors")).syscallError;
  const { subtle } = await module("subtle");
  const { CryptoKey } = await module("crypto-key");
  fs.rmSync(folder, { recursive: true });
  return { subtle, CryptoKey };
}

function show(value) {
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) {
    return Buffer.from(value.buffer ?? value, value.byteOffset ?? 0, value.byteLength).toString("hex");
  }
  if (Array.isArray(value)) {
    return `[${value.map(show).join(", ")}]`;
  }
  if (typeof value === "object" && value !== null) {
    const shown = Object.keys(value).sort().map((key) => `${key}: ${show(value[key])}`);
    return `{${shown.join(", ")}}`;
  }
  return String(value);
}

const outcome = async (run, implementation) => {
  try {
    return show(await run(implementation));
  } catch (error) {
    if (!hasNames) {
      return "an error";
    }
    return error instanceof DOMException || error instanceof TypeError ? error.name : `${error.name}: ${error.stack}`;
  }
};

const ours = await load();
const theirs = { subtle: globalThis.crypto.subtle, CryptoKey: globalThis.CryptoKey };
const differences = [];

let compared = 0;
for (const [name, run] of cases) {
  const [got, expected] = [await outcome(run, ours), await outcome(run, theirs)];
  compared++;
  const said = deviations.get(name);
  const isAsSaid = said === undefined ? got === expected : !hasNames || (got === said && got !== expected);
  if (!isAsSaid) {
    differences.push(`${name}\n  Node.js: ${expected}\n  isolate: ${got}\n  said to be: ${said ?? "the same"}`);
  }
}
for (const name of deviations.keys()) {
  if (!cases.some(([known]) => known === name)) {
    differences.push(`${name}: is listed as differing and is no case`);
  }
}
const table = fs.readFileSync(reference, "utf8").split("## What differs")[1].split("\n## ")[0];
const said = Array.from(table.matchAll(/^\| ([^|]+) \|.*\|$/gm), ([, call]) => call).filter((call) => call !== "call");
for (const row of new Set([...rows, ...said])) {
  if (!rows.includes(row) || !said.includes(row)) {
    differences.push(`${row}: stands in only one of ${reference} and cases.mjs`);
  }
}

let exchanged = 0;
for (const [first, second, direction] of [
  [ours, theirs, "isolate to Node.js"],
  [theirs, ours, "Node.js to isolate"],
]) {
  for (const [name, run] of exchanges(Number(seed))) {
    exchanged++;
    try {
      const problem = await run(first, second);
      if (problem) {
        differences.push(`${direction}: ${name}: ${problem}`);
      }
    } catch (error) {
      differences.push(`${direction}: ${name}: ${error.stack}`);
    }
  }
}

differences.push(...(await phaseProblems(ours, (phase) => (globalThis.hostOfTests.phase = phase))));

console.error(`${process.version}: ${compared} calls compared, ${exchanged} exchanges, ${differences.length} differences`);
for (const difference of differences) {
  console.error(difference);
}
process.exit(differences.length > 0 ? 1 : 0);
