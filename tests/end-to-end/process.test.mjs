// `tidemark dev` as a process: how it starts, what it refuses, how it stops.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readdir, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { WebSocket } from "ws";
import { whenOver } from "./harness/cleanup.mjs";
import { alarmingLines, startTidemark, temporaryFolder, tidemarkBinary } from "./harness/tidemark.mjs";

const PRINT_MS_MAX = 60_000;
const LIMIT = { timeout: 300_000 };
/** As long as a start takes, and longer. */
const STARTING_MS = 1_000;

function runToEnd(...words) {
  const { status, stdout, stderr } = spawnSync(tidemarkBinary(), words, { encoding: "utf8", timeout: 120_000 });
  return { code: status, output: stdout + stderr };
}

async function occupiedPort(context) {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  whenOver(context, () => server.close());
  return server.address().port;
}

test("the env file is readable by its owner only, and what it names serves", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const { mode } = await stat(join(tidemark.dataFolder, "env"));
  assert.equal((mode & 0o777).toString(8), "600");
  assert.equal((await fetch(`${tidemark.url}/version`)).status, 200);
  assert.match(tidemark.url, /^http:\/\/127\.0\.0\.1:\d+$/);
});

test("one screen says what is served where", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  // It serves before it says so.
  for (const text of [tidemark.url, tidemark.dataFolder]) {
    for (const deadline = Date.now() + PRINT_MS_MAX; !tidemark.log.includes(text); await sleep(20)) {
      assert.ok(Date.now() < deadline, `${text} is not in\n${tidemark.log}`);
    }
  }
  assert.ok(tidemark.log.split("\n").length <= 25, `more than a screen:\n${tidemark.log}`);
});

test("a restart keeps the admin key and writes the env file again", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const { adminKey, url } = tidemark;
  assert.equal(await tidemark.stop(), 0);
  await tidemark.start();
  assert.deepEqual([tidemark.adminKey, tidemark.url], [adminKey, url]);
});

test("two folders have different admin keys", LIMIT, async (context) => {
  const [one, other] = await Promise.all([startTidemark(context), startTidemark(context)]);
  assert.notEqual(one.adminKey, other.adminKey);
});

for (const signal of ["SIGINT", "SIGTERM"]) {
  test(`${signal} stops it cleanly, with a client connected`, LIMIT, async (context) => {
    const tidemark = await startTidemark(context);
    const socket = new WebSocket(`${tidemark.url.replace("http", "ws")}/api/1.48.0/sync`);
    await new Promise((resolve) => socket.once("open", resolve));
    // One that takes longer than a stop may is killed, and has no code.
    assert.equal(await tidemark.stop(signal), 0, tidemark.log);
    assert.ok(!existsSync(join(tidemark.dataFolder, "env")), "the env file says that it still serves");
    socket.terminate();
  });
}

test("a signal while it starts ends it, and nothing alarms anybody", LIMIT, async (context) => {
  const folder = await temporaryFolder(context);
  for (let delay = 0; delay < STARTING_MS; delay += 25) {
    const child = spawn(tidemarkBinary(), ["dev", "--data-dir", join(folder, "data"), "--port", "0", "--site-port", "0"]);
    let log = "";
    [child.stdout, child.stderr].forEach((stream) => stream.setEncoding("utf8").on("data", (text) => (log += text)));
    const closed = once(child, "close");
    await sleep(delay);
    child.kill("SIGTERM");
    const [code, signal] = await closed;
    // Before it listens for signals there is nothing that it could do in order.
    assert.ok(code === 0 || (signal === "SIGTERM" && log === ""), `after ${delay} ms: ${code} ${signal}\n${log}`);
    assert.deepEqual(alarmingLines(log), [], `after ${delay} ms`);
  }
});

for (const option of ["--port", "--site-port"]) {
  test(`a used ${option} is refused with exit code 2, naming it and who has it`, LIMIT, async (context) => {
    const folder = await temporaryFolder(context);
    const port = await occupiedPort(context);
    const ports = { "--port": 0, "--site-port": 0, [option]: port };
    const words = Object.entries(ports).flatMap(([name, value]) => [name, `${value}`]);
    const { code, output } = runToEnd("dev", "--data-dir", join(folder, "data"), ...words);
    assert.equal(code, 2, output);
    assert.ok(output.includes(`${port}`), output);
    assert.ok(output.includes(`${process.pid}`), `the process ${process.pid} is not named in\n${output}`);
    assert.ok(!existsSync(join(folder, "data", "env")), "the env file says that it serves");
  });
}

test("a used folder is refused with exit code 2, naming it and who has it", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const { code, output } = runToEnd("dev", "--data-dir", tidemark.dataFolder, "--port", "0", "--site-port", "0");
  assert.equal(code, 2, output);
  assert.ok(output.includes(tidemark.dataFolder), output);
  assert.ok(output.includes(`${tidemark.processId}`), `the process ${tidemark.processId} is not named in\n${output}`);
  assert.equal((await fetch(`${tidemark.url}/version`)).status, 200, "the first one no longer serves");
});

test("a folder that holds something else is refused and left as it is", LIMIT, async (context) => {
  const folder = await temporaryFolder(context);
  await writeFile(join(folder, "notes.txt"), "not Tidemark's");
  const { code, output } = runToEnd("dev", "--data-dir", folder, "--port", "0", "--site-port", "0");
  assert.ok(code !== 0 && code !== null, output);
  assert.ok(output.includes(folder), output);
  assert.deepEqual(await readdir(folder), ["notes.txt"]);
});

test("what can't be had is refused with exit code 2, and a damaged store with 70", LIMIT, async (context) => {
  const folder = join(await temporaryFolder(context), "data");
  const dev = (...words) => runToEnd("dev", "--data-dir", folder, "--port", "0", "--site-port", "0", ...words);
  for (const [url, sentence] of [
    ["file://blobs", /behind file:\/\/ it must name a folder in full/],
    ["ftp://blobs", /names no bucket/],
    ["file:///proc/blobs", /the blobs can't be kept where blobs_url says/],
  ]) {
    const { code, output } = dev("--blobs-url", url);
    assert.equal(code, 2, output);
    assert.match(output, sentence);
  }
  await writeFile(join(folder, "state", "CURRENT"), "damaged");
  const { code, output } = dev();
  assert.equal(code, 70, output);
});

test("an unknown option is refused with exit code 2 and the usage", LIMIT, () => {
  const { code, output } = runToEnd("dev", "--prot", "1");
  assert.equal(code, 2, output);
  assert.match(output, /--prot/);
  assert.match(output, /Usage/i);
});
