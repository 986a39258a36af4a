// Three zones in network namespaces of their own, under load and a few faults, judged by the program of tests/chaos. SEED=n repeats a
// run's choices. `make chaos` runs longer, with every kind of fault alone and at once.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { whenOver } from "./harness/cleanup.mjs";
import { tidemarkBinary } from "./harness/tidemark.mjs";

const LIMIT = { timeout: 900_000 };
/** The program's answer where there are no namespaces, or nobody may make them. */
const IMPOSSIBLE = 77;
const root = new URL("../..", import.meta.url).pathname;

test("three zones keep what they promise under faults", LIMIT, async (context) => {
  const program = process.env.CHAOS;
  assert.ok(program, "CHAOS names the program of tests/chaos; `xtask end-to-end` builds it");
  const words = ["--tidemark", tidemarkBinary(), "--root", root, "--short"];
  const seed = process.env.SEED ? ["--seed", process.env.SEED] : [];
  const chaos = spawn(program, [...words, ...seed], { stdio: ["ignore", "pipe", "pipe"] });
  whenOver(context, () => chaos.kill("SIGINT"));
  let output = "";
  for (const stream of [chaos.stdout, chaos.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      output += text;
    });
  }
  const [code] = await once(chaos, "close");
  if (code === IMPOSSIBLE) {
    context.skip(output.trim());
    return;
  }
  context.diagnostic(output);
  assert.equal(code, 0, output);
});
