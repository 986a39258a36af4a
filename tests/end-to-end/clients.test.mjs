// Servers and programs of other languages: the official Python client within a FastAPI app, and both the Python and the Rust
// client over a kill and a restart. What single calls answer is in conformance.test.mjs.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { whenOver } from "./harness/cleanup.mjs";
import { CLIENTS, python } from "./harness/clients.mjs";
import { CLIENT_ID, newKey, signToken, startProvider } from "./harness/oidc.mjs";
import { createProject, pushApp } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const LIMIT = { timeout: 300_000 };
const clients = new URL("./clients", import.meta.url).pathname;

/** Starts the app server; its URL. */
async function startAppServer(context, tidemark) {
  const server = spawn(python, ["-m", "uvicorn", "app_server:app", "--host", "127.0.0.1", "--port", "0"], {
    cwd: clients,
    env: { ...process.env, CONVEX_URL: tidemark.url, PYTHONUNBUFFERED: "1", PYTHONDONTWRITEBYTECODE: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [server.stdout, server.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => (output += text));
  }
  whenOver(context, async () => {
    server.kill("SIGKILL");
    await once(server, "close");
  });
  for (;;) {
    const url = /running on (http:\S+)/.exec(output)?.[1];
    if (url) {
      return url;
    }
    assert.equal(server.exitCode, null, `the app server has ended:\n${output}`);
    await sleep(50);
  }
}

test("a FastAPI app queries, mutates, streams what changes, and asks in a user's name", LIMIT, async (context) => {
  const key = await newKey("RS256", "first");
  const provider = await startProvider(context, key);
  const tidemark = await startTidemark(context);
  const project = await createProject(context, tidemark, { app: "conformance" });
  const config = { domain: provider.issuer, applicationID: CLIENT_ID };
  await project.write("convex/auth.config.ts", `export default { providers: [${JSON.stringify(config)}] };`);
  await project.mustRun("deploy", "--typecheck", "disable");
  const url = await startAppServer(context, tidemark);
  const ask = async (path, options) => {
    const response = await fetch(url + path, options);
    return { status: response.status, body: await response.json() };
  };

  assert.deepEqual(await ask("/sets/a"), { status: 200, body: { count: 0 } });
  const changes = (await fetch(`${url}/sets/a/changes`)).body.pipeThrough(new TextDecoderStream()).getReader();
  // The client tells what it has again after each message (docs/reference/clients.md).
  let told = "";
  const tells = async (count) => {
    while (!told.endsWith(`${count}\n`)) {
      told += (await changes.read()).value;
    }
  };
  await tells(0);
  assert.deepEqual(await ask("/sets/a", { method: "POST" }), { status: 201, body: { count: 1 } });
  await tells(1);
  assert.match(told, /^(0\n)+(1\n)+$/);
  await changes.cancel();

  const many = await Promise.all(Array.from({ length: 20 }, () => ask("/sets/b", { method: "POST" })));
  const counts = many.map(({ body }) => body.count).sort((one, other) => one - other);
  assert.deepEqual(counts, Array.from({ length: 20 }, (_, index) => index + 1), "each request did its own mutation, once");

  const claims = { iss: provider.issuer, aud: CLIENT_ID, sub: "ann" };
  const as = (token) => ({ headers: { Authorization: `Bearer ${token}` } });
  assert.deepEqual(await ask("/me", as(await signToken(key, claims))), { status: 200, body: { subject: "ann" } });
  assert.deepEqual(await ask("/sets/a"), { status: 200, body: { count: 1 } }, "the shared client is still nobody's");
  assert.deepEqual(await ask("/refused"), { status: 422, body: { data: { code: 7 } } });
});

for (const name of ["Python", "Rust"]) {
  test(`a live query and mutations of the ${name} client go on over a kill and a restart`, LIMIT, async (context) => {
    const tidemark = await startTidemark(context);
    await pushApp(context, tidemark, "conformance");
    const [watching, writing] = [await CLIENTS[name](context, tidemark.url), await CLIENTS[name](context, tidemark.url)];
    const subscription = await watching.subscribe("live:count", { set: "a" });
    assert.deepEqual(await subscription.next(), { value: 0 });
    let last = 0;
    const shows = async (count) => {
      while (last < count) {
        const { value } = await subscription.next();
        assert.ok(value >= last, `${value} after ${last}`);
        last = value;
      }
    };
    for (let round = 1; round <= 3; round++) {
      assert.deepEqual(await writing.call("mutation", "live:add", { set: "a" }), { value: 2 * round - 1 });
      await shows(2 * round - 1);
      await tidemark.kill();
      const duringOutage = writing.call("mutation", "live:add", { set: "a" });
      await tidemark.start();
      // The client gives up a call whose connection breaks while it is written; what it has sent again takes effect all the same.
      const { value, error } = await duringOutage;
      assert.ok(value === 2 * round || error === "channel closed", `${value} ${error}`);
      await shows(2 * round);
    }
  });
}
