// Servers and programs of other languages: the official Python client within a FastAPI app, both the Python and the Rust client
// over a kill and a restart, and users who take turns in every client. What single calls answer is in conformance.test.mjs.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
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

/** An app whose users come from a provider; `tokenOf` gives a user's token. */
async function serveApp(context, app) {
  const key = await newKey("RS256", "first");
  const provider = await startProvider(context, key);
  const tidemark = await startTidemark(context);
  const project = await createProject(context, tidemark, { app });
  const config = { domain: provider.issuer, applicationID: CLIENT_ID };
  await project.write("convex/auth.config.ts", `export default { providers: [${JSON.stringify(config)}] };`);
  await project.mustRun("deploy", "--typecheck", "disable");
  const tokenOf = (user) => signToken(key, { iss: provider.issuer, aud: CLIENT_ID, sub: user, jti: randomUUID() });
  return { tidemark, tokenOf };
}

/** What the app server streams of a set: `tells(count)` waits for a count, and `told` are all of them. */
async function followChanges(url, set) {
  const changes = (await fetch(`${url}/sets/${set}/changes`)).body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  const told = () => text.split("\n").slice(0, -1).map(Number);
  const tells = async (count) => {
    while (told().at(-1) !== count) {
      const { value, done } = await changes.read();
      assert.equal(done, false, `the stream has ended after ${text}`);
      text += value;
    }
  };
  return { told, tells, cancel: () => changes.cancel() };
}

test("a FastAPI app queries, mutates, acts, streams what changes, and does all of it in a user's name", LIMIT, async (context) => {
  const { tidemark, tokenOf } = await serveApp(context, "conformance");
  const url = await startAppServer(context, tidemark);
  const ask = async (path, options) => {
    const response = await fetch(url + path, options);
    return { status: response.status, body: await response.json() };
  };

  assert.deepEqual(await ask("/sets/a"), { status: 200, body: { count: 0 } });
  // The client tells what it has again after each message (docs/reference/clients.md).
  const changes = await followChanges(url, "a");
  await changes.tells(0);
  assert.deepEqual(await ask("/sets/a", { method: "POST" }), { status: 201, body: { count: 1 } });
  await changes.tells(1);
  assert.match(changes.told().join(""), /^0+1+$/);
  assert.deepEqual(await ask("/sets/a/several?times=3", { method: "POST" }), { status: 201, body: { by: null, count: 4 } });
  await changes.tells(4);
  await changes.cancel();

  const many = await Promise.all(Array.from({ length: 20 }, () => ask("/sets/b", { method: "POST" })));
  const counts = many.map(({ body }) => body.count).sort((one, other) => one - other);
  assert.deepEqual(counts, Array.from({ length: 20 }, (_, index) => index + 1), "each request did its own mutation, once");

  const as = (token) => ({ headers: { Authorization: `Bearer ${token}` } });
  for (const user of ["ann", "bob"]) {
    const token = await tokenOf(user);
    assert.deepEqual(await ask("/me", as(token)), { status: 200, body: { subject: user } });
    const added = await ask(`/me/sets/${user}`, { method: "POST", ...as(token) });
    assert.deepEqual(added, { status: 201, body: { count: 1, action: { by: user, count: 3 } } });
  }
  assert.deepEqual(await ask("/sets/a/several?times=0", { method: "POST" }), { status: 201, body: { by: null, count: 4 } }, "the shared client is still nobody's");
  assert.deepEqual(await ask("/refused"), { status: 422, body: { data: { code: 7 } } });
});

test("what a FastAPI app streams goes on over a kill and a restart", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  await pushApp(context, tidemark, "conformance");
  const url = await startAppServer(context, tidemark);
  const changes = await followChanges(url, "a");
  await changes.tells(0);
  const add = async () => (await fetch(`${url}/sets/a`, { method: "POST" })).status;
  for (let round = 1; round <= 2; round++) {
    assert.equal(await add(), 201);
    await changes.tells(2 * round - 1);
    await tidemark.kill();
    const duringOutage = add();
    await tidemark.start();
    // The client gives up a call whose connection breaks while it is written; what it has sent again takes effect all the same.
    const status = await duringOutage;
    assert.ok(status === 201 || status === 500, `${status}`);
    await changes.tells(2 * round);
  }
  assert.match(changes.told().join(""), /^0+1+2+3+4+$/);
  assert.deepEqual(await (await fetch(`${url}/sets/a`)).json(), { count: 4 });
  await changes.cancel();
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

/** `shows(board)` waits for what a client shows of it; `users` are those for whom it has shown anything, in turn. */
async function followBoard(client) {
  const users = [];
  const subscription = client.subscribe ? await client.subscribe("who:board", {}) : { next: () => client.call("query", "who:board", {}) };
  const shows = async (me, signatures) => {
    for (;;) {
      const { value, error } = await subscription.next();
      assert.equal(error, undefined);
      if (users.at(-1) !== value.me) {
        users.push(value.me);
      }
      if (value.me === me && value.signatures.length === signatures.length) {
        return assert.deepEqual(value.signatures, signatures);
      }
      assert.ok(client.subscribe, `a query answers ${JSON.stringify(value)}`);
    }
  };
  return { users, shows };
}

for (const [name, connect] of Object.entries(CLIENTS)) {
  test(`users who sign in one after the other, and out, each have their own answers (${name})`, LIMIT, async (context) => {
    const { tidemark, tokenOf } = await serveApp(context, "identity");
    const [client, other] = [await connect(context, tidemark.url), await CLIENTS["npm, HTTP"](context, tidemark.url)];
    const board = await followBoard(client);
    const signatures = [];
    const sign = async (by, who) => {
      assert.deepEqual(await by.call("mutation", "who:sign", {}), { value: null });
      signatures.push(who);
    };
    await board.shows("nobody", signatures);
    for (const user of ["ann", "bob"]) {
      await client.setAuth(await tokenOf(user));
      await board.shows(user, signatures);
      await sign(client, user);
      await board.shows(user, signatures);
    }
    await tidemark.kill();
    await tidemark.start();
    await sign(other, "nobody");
    await board.shows("bob", signatures);
    await client.setAuth(null);
    await board.shows("nobody", signatures);
    await sign(client, "nobody");
    await board.shows("nobody", signatures);
    await client.setAuth(await tokenOf("ann"));
    await board.shows("ann", signatures);
    assert.deepEqual(board.users, ["nobody", "ann", "bob", "nobody", "ann"], "nobody saw what was another's, nor was signed out in between");
  });
}
