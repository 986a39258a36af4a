// `make demo` and `make demo-studio`, as the README promises them: everything starts, messages arrive, and Ctrl-C leaves nothing behind.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { whenOver } from "./harness/cleanup.mjs";
import { studio } from "./harness/project.mjs";
import { startMirror } from "./harness/registry.mjs";
import { alarmingLines, tidemarkBinary } from "./harness/tidemark.mjs";

const LIMIT = { timeout: 300_000 };
const STOP_MS_MAX = 60_000;

async function startDemo(context, { example = "chat", environment = {} } = {}) {
  const program = join(dirname(tidemarkBinary()), "xtask");
  const manifestFolder = new URL("../../xtask", import.meta.url).pathname;
  const demo = spawn(program, ["demo", example], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...environment, CARGO_MANIFEST_DIR: manifestFolder },
  });
  whenOver(context, () => demo.kill("SIGKILL"));
  const ended = once(demo, "exit").then(([code]) => code);
  let output = "";
  demo.stdout.on("data", (text) => (output += text));
  demo.stderr.on("data", (text) => (output += text));

  const prints = async (pattern) => {
    while (!pattern.test(output)) {
      assert.equal(demo.exitCode, null, `the demo ended:\n${output}`);
      await sleep(100);
    }
    return output.match(pattern);
  };
  const [, page] = await prints(/The (?:chat|studio) +(\S+)/);
  const [, backend, folder] = await prints(/Tidemark +(\S+) .*: (\S+)\)/);
  return { demo, page, backend, folder, prints, ended, output: () => output };
}

async function assertNothingServes(...addresses) {
  const deadline = Date.now() + STOP_MS_MAX;
  for (const address of addresses) {
    while (await fetch(address).then(() => true, () => false)) {
      assert.ok(Date.now() < deadline, `${address} is still served`);
      await sleep(100);
    }
  }
}

test("the demo shows messages arriving, and Ctrl-C stops everything", LIMIT, async (context) => {
  const { demo, page, backend, folder, prints, ended, output } = await startDemo(context);
  assert.match(await (await fetch(page)).text(), /<title>Tidemark chat<\/title>/);
  await prints(/Ada +High water was at six/);
  await prints(/Grace +The log says so too/);
  assert.deepEqual(alarmingLines(output()), []);
  demo.kill("SIGINT");
  assert.equal(await ended, 0, output());
  assert.ok(!existsSync(folder), `${folder} is left behind`);
  await assertNothingServes(page, backend);
});

test("the studio's demo brings its services along and stops them again", LIMIT, async (context) => {
  const registry = await startMirror(context, studio, "sharp");
  const environment = { TIDEMARK_NODE_REGISTRY: registry.url };
  const { demo, page, backend, folder, ended, output } = await startDemo(context, { example: "studio", environment });
  assert.match(await (await fetch(page)).text(), /<title>Tidemark studio<\/title>/);
  const [, services] = output().match(/The services listen on (\S+)/);
  assert.deepEqual(await (await fetch(`${services}/letters`)).json(), []);
  assert.deepEqual(alarmingLines(output()), []);
  demo.kill("SIGINT");
  assert.equal(await ended, 0, output());
  assert.ok(!existsSync(folder), `${folder} is left behind`);
  await assertNothingServes(page, backend, services);
});

test("the demo's processes end with it even if it is killed", LIMIT, async (context) => {
  const { demo, page, backend, folder, prints, ended } = await startDemo(context);
  // Its Tidemark may still be closing files.
  whenOver(context, () => rm(folder, { recursive: true, maxRetries: 20 }));
  await prints(/Ada +High water was at six/);
  demo.kill("SIGKILL");
  await ended;
  await assertNothingServes(page, backend);
});
