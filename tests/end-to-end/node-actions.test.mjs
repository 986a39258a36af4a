// Actions in Node.js by the official command line and clients: what they can do, what they are kept from, and how they end.
import assert from "node:assert/strict";
import { createHash, createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ConvexClient, ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";
import { ConvexError } from "convex/values";
import { whenOver } from "./harness/cleanup.mjs";
import { asAdmin, callFunction } from "./harness/functions.mjs";
import { processesOf } from "./harness/processes.mjs";
import { createProject } from "./harness/project.mjs";
import { startRegistry } from "./harness/registry.mjs";
import { startTidemark, temporaryFolder } from "./harness/tidemark.mjs";

const LIMIT = { timeout: 300_000 };
const WAIT_MS_MAX = 90_000;
const { harbour, machine, notes } = anyApi;

const TIDE_TABLE = {
  "package.json": JSON.stringify({ name: "tide-table", version: "2.0.1", dependencies: { "tide-names": "^1.0.0" } }),
  "index.js": `const names = require("tide-names"); exports.today = () => names.map((name) => name + " water");`,
};
const TIDE_NAMES = {
  "package.json": JSON.stringify({ name: "tide-names", version: "1.4.0" }),
  "index.js": `module.exports = ["high", "low"];`,
};
const packages = { "tide-table": TIDE_TABLE };

/** A server that gets packages from a registry on this machine, with the app pushed. */
async function start(context, { limits = "", ...options } = {}) {
  const registry = await startRegistry(context, { "tide-table": TIDE_TABLE, "tide-names": TIDE_NAMES });
  const file = join(await temporaryFolder(context), "tidemark.toml");
  await writeFile(file, `[node]\nregistry = "${registry.url}"\n[limits.node]\n${limits}\n`);
  const environment = { TIDEMARK_CONFIG: file };
  const tidemark = await startTidemark(context, { environment, ...options });
  const project = await createProject(context, tidemark, { app: "node-actions", packages });
  await project.mustRun("dev", "--once", "--typecheck", "disable");
  return { tidemark, project, registry, environment };
}

/** What a function that only administrators may call has thrown. */
async function failureOf(tidemark, path, args = {}) {
  const { body } = await callFunction(tidemark, "action", path, args, asAdmin(tidemark));
  assert.equal(body.status, "error", JSON.stringify(body));
  return body.errorMessage;
}

async function until(condition, what) {
  const deadline = Date.now() + WAIT_MS_MAX;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, `not within ${WAIT_MS_MAX} ms: ${what}`);
    await sleep(20);
  }
}

const shared = await start({ after });
const http = new ConvexHttpClient(shared.tidemark.url, { logger: false });

test("an action uses the modules of Node.js, over HTTP, a socket and the command line", LIMIT, async (context) => {
  const { tidemark, project } = shared;
  const digest = createHash("sha256").update("flood").digest("hex");
  assert.equal(await http.action(machine.digest, { text: "flood" }), digest);
  const client = new ConvexClient(tidemark.url, { logger: false });
  whenOver(context, () => client.close());
  const [text, key] = ["ebb ".repeat(1_000), new Uint8Array([1, 2, 3])];
  const packed = await client.action(machine.packed, { text, key: key.buffer });
  assert.equal(packed.text, text);
  assert.equal(packed.mac.byteLength, createHmac("sha256", key).digest().length);
  const run = await project.mustRun("run", "machine:packed", JSON.stringify({ text: "ebb", key: { $bytes: "AQID" } }));
  assert.match(run.output, /'packed' \{ from: 3, to: \d+ \}/);
});

test("an isolate calls into Node.js, and Node.js calls functions of all kinds", LIMIT, async () => {
  const { tidemark, project } = shared;
  const digest = createHash("sha256").update("flood").digest("hex");
  assert.equal(await http.action(notes.fingerprint, { text: "flood" }), `sha256:${digest}`);
  const before = await http.query(notes.list, {});
  assert.deepEqual(await http.action(machine.collect, { text: "driftwood" }), {
    count: before.length + 1,
    doubled: 2 * (before.length + 1),
    user: null,
    name: "node",
  });
  assert.deepEqual(await http.query(notes.list, {}), [...before, "driftwood"]);
  const identity = JSON.stringify({ subject: "ada", issuer: "https://x.example" });
  const run = await project.mustRun("run", "machine:collect", '{"text":"shells"}', "--identity", identity);
  assert.match(run.output, /"user": "ada"/);
  assert.match(run.output, /\[WARN\] 'collected' 'shells'/);
  const page = await fetch(`${tidemark.url}/api/stream_function_logs?cursor=0`, asAdmin(tidemark));
  const entries = (await page.json()).entries.map(({ udfType, identifier, caller }) => `${udfType} ${identifier} ${caller}`);
  assert.deepEqual(entries.slice(-4), [
    "Mutation notes:add Action",
    "Query notes:count Action",
    "Action notes:double Action",
    "Action machine:collect HttpApi",
  ]);
});

test("an action stores and reads files, and schedules", LIMIT, async () => {
  const text = "wrack ".repeat(200_000);
  const kept = await http.action(machine.keepAway, { text });
  assert.ok(kept.text === text, "it reads what it has stored");
  assert.equal(kept.none, null);
  const response = await fetch(kept.url);
  assert.equal(response.headers.get("content-type"), "text/plain");
  assert.ok((await response.text()) === text, "so does everybody else");
  await until(async () => (await http.query(notes.list, {})).includes(`${text.length} characters`), "the scheduled function has run");
});

test("external packages come from the registry, with what they need", LIMIT, async () => {
  assert.equal(await http.action(harbour.tidesOfToday, {}), "1. high water\n2. low water");
  const asked = shared.registry.requests.filter((path) => path.endsWith(".tgz")).sort();
  assert.deepEqual(asked, ["/tide-names/-/tide-names-1.4.0.tgz", "/tide-table/-/tide-table-2.0.1.tgz"]);
  const before = shared.registry.requests.length;
  await shared.project.mustRun("dev", "--once", "--typecheck", "disable");
  assert.equal(shared.registry.requests.length, before, "what is known is not asked for again");
});

test("files are kept in a folder of the process, which nobody else sees", LIMIT, async () => {
  const first = await http.action(machine.keepFile, { text: "one" });
  assert.deepEqual(first, { before: null, after: "one", isPrivate: true, isOwnFolder: true });
});

test("environment variables are the deployment's, and nothing of the server's", LIMIT, async () => {
  const { tidemark, project } = shared;
  await project.mustRun("env", "set", "TIDE_KEY", "s3cret");
  const seen = await http.action(machine.environment, {});
  const { HOME, TIDEMARK_NODE_PROCESS, TMPDIR, ...rest } = seen;
  assert.deepEqual(rest, {
    CONVEX_CLOUD_URL: tidemark.url,
    CONVEX_SITE_URL: `http://127.0.0.1:${new URL(seen.CONVEX_SITE_URL).port}`,
    NODE_ENV: "production",
    PATH: "/usr/local/bin:/usr/bin:/bin",
    TIDE_KEY: "s3cret",
  });
  assert.ok(HOME.startsWith(join(tidemark.dataFolder, "node", "homes")), HOME);
  assert.deepEqual([TIDEMARK_NODE_PROCESS, TMPDIR], [HOME, HOME]);
  await project.mustRun("env", "set", "TIDE_KEY", "other");
  assert.equal((await http.action(machine.environment, {})).TIDE_KEY, "other");
});

test("what is thrown comes with its place in the app's files, and with its data", LIMIT, async () => {
  const message = await failureOf(shared.tidemark, "machine:fails");
  const source = readFileSync(new URL("apps/node-actions/convex/shared.ts", import.meta.url), "utf8").split("\n");
  const line = source.findIndex((text) => text.includes("throw new RangeError")) + 1;
  assert.match(message, /Uncaught RangeError: no tide today\n/);
  assert.match(message, new RegExp(`at refuse \\(\\.\\./convex/shared\\.ts:${line}:\\d+\\)\\n    at .*\\.\\./convex/machine\\.ts:\\d+:\\d+`));
  assert.doesNotMatch(message, /node:internal|registration_impl|\/code\//);
  await assert.rejects(http.action(machine.throwsData, {}), (error) => {
    assert.ok(error instanceof ConvexError, `${error}`);
    assert.deepEqual(error.data, { reason: "full", at: 7n });
    return true;
  });
  await assert.rejects(http.action(machine.digest, { text: 1 }), /ArgumentValidationError/);
  await assert.rejects(http.action(machine.wrongResult, {}), /ReturnsValidationError/);
  await assert.rejects(http.action(machine.exits, {}), /Could not find function/, "it is internal");
  await assert.rejects(http.query(machine.digest, { text: "" }), /is an action and can't be called as a query/);
  assert.deepEqual(await http.action(notes.catches, {}), [
    "Uncaught RangeError: no tide today",
    "NodeProcessEnded: the process that ran the action ended itself with exit code 3 before the action had a result.",
  ]);
});

test("a process that ends, that takes too much memory or that loops fails its own action and no other", LIMIT, async (context) => {
  const limits = "memory_bytes_max = 201326592\nrest_memory_bytes_max = 134217728\naction_ms_max = 20000";
  const { tidemark, project } = await start(context, { limits });
  const beside = new ConvexHttpClient(tidemark.url, { logger: false });
  const failures = Promise.all([
    failureOf(tidemark, "machine:exits"),
    failureOf(tidemark, "machine:leaks"),
    failureOf(tidemark, "machine:loops"),
  ]);
  const digest = createHash("sha256").update("beside them").digest("hex");
  assert.equal(await beside.action(machine.digest, { text: "beside them" }), digest);
  const [exits, leaks, loops] = await failures;
  assert.match(exits, /NodeProcessEnded: .*exit code 3/);
  assert.match(leaks, /FunctionOutOfMemory: the function used more than 192 MiB of memory/);
  assert.match(loops, /Function execution timed out \(maximum duration: 20 s\)/);
  const logs = await fetch(`${tidemark.url}/api/stream_function_logs?cursor=0`, asAdmin(tidemark));
  const looping = (await logs.json()).entries.find(({ identifier }) => identifier === "machine:loops");
  assert.match(JSON.stringify(looping.logLines), /round and round/);
  assert.equal(await beside.action(machine.digest, { text: "beside them" }), digest);
  const run = await project.convex("run", "machine:exits");
  assert.equal(run.code, 1, run.output);
  assert.match(run.output, /NodeProcessEnded/);
});

test("processes end with the server, also with one that is killed, and packages are there without the registry", LIMIT, async (context) => {
  const allowedInLog = [/cancelled actions that were under way/];
  const { tidemark, registry, environment } = await start(context, { allowedInLog });
  registry.close();
  const client = () => new ConvexHttpClient(tidemark.url, { logger: false });
  const waits = (text) => callFunction(tidemark, "action", "machine:waits", { text }, asAdmin(tidemark)).catch((error) => error);
  const hasBegun = (text) => until(async () => (await client().query(notes.list, {})).includes(text), `${text} has begun`);
  const homes = join(tidemark.dataFolder, "node", "homes");
  const killed = waits("before the kill");
  await hasBegun("before the kill");
  assert.ok(processesOf(homes).length > 0);
  await tidemark.kill();
  await killed;
  await until(() => processesOf(homes).length === 0, "the end of the processes of a killed server");

  // The code and the packages that were installed are made again.
  await rm(join(tidemark.dataFolder, "node", "packages", "installed"), { recursive: true });
  await tidemark.start(environment);
  assert.equal(await client().action(harbour.tidesOfToday, {}), "1. high water\n2. low water");
  assert.deepEqual(await client().query(notes.list, {}), ["before the kill"], "an action runs at most once");

  const stopped = waits("before the stop");
  await hasBegun("before the stop");
  assert.equal(await tidemark.stop(), 0);
  const { status } = await stopped;
  assert.ok(status === undefined || status === 503, `${status}`);
  await until(() => processesOf(homes).length === 0, "the end of the processes of a stopped server");
  assert.deepEqual(await readdir(homes), [], "what actions have written is gone");
});

// What can't be served is refused when it is pushed, and changes nothing.
const REFUSED = {
  "a query for Node.js": {
    says: [/`list` defined in `native\.js` is a Query function\. Only actions can be defined in Node\.js/],
    files: {
      "convex/native.ts": `"use node";
        import { query } from "./_generated/server";
        export const list = query({ args: {}, handler: () => null });`,
    },
  },
  "a module that throws while it is imported": {
    says: [/native\.js: Uncaught TypeError: not today/, /\.\.\/convex\/native\.ts:3/],
    files: {
      "convex/native.ts": `"use node";
        import { platform } from "node:os";
        if (platform().length > 0) throw new TypeError("not today");`,
    },
  },
  "a version of Node.js that there is not": {
    says: [/nodeVersion/, /"20"/, /"22"/],
    files: {
      "convex.json": `{ "node": { "nodeVersion": "20" } }`,
      "convex/native.ts": `"use node";
        import { action } from "./_generated/server";
        export const run = action({ args: {}, handler: async () => null });`,
    },
  },
  "a package that the registry does not have": {
    says: [/npm could not install nowhere@1\.0\.0/],
    packages: { nowhere: { "package.json": `{"name":"nowhere","version":"1.0.0"}`, "index.js": "exports.x = 1;" } },
    files: {
      "convex.json": `{ "node": { "externalPackages": ["*"] } }`,
      "convex/native.ts": `"use node";
        import { x } from "nowhere";
        import { action } from "./_generated/server";
        export const run = action({ args: {}, handler: async () => x });`,
    },
  },
};

for (const [what, { files, packages = {}, says }] of Object.entries(REFUSED)) {
  test(`${what} is refused when it is pushed`, LIMIT, async (context) => {
    const project = await createProject(context, shared.tidemark, { files, packages });
    const push = await project.convex("deploy", "--typecheck", "disable");
    assert.equal(push.code, 1, push.output);
    for (const words of says) {
      assert.match(push.output, words);
    }
    assert.equal((await http.action(machine.digest, { text: "" })).length, 64, "the app that was there serves on");
  });
}

test("the command line sees what is deployed, and modules that are gone are gone", LIMIT, async () => {
  const { tidemark, project } = shared;
  const hashes = await fetch(`${tidemark.url}/api/get_config_hashes`, {
    method: "POST",
    headers: { "content-type": "application/json", ...asAdmin(tidemark).headers },
    body: JSON.stringify({ version: "1.48.0", adminKey: tidemark.adminKey }),
  });
  const { moduleHashes, nodeDependencies, nodeVersion } = await hashes.json();
  const paths = (environment) => moduleHashes.filter((module) => module.environment === environment).map(({ path }) => path);
  assert.deepEqual([nodeDependencies, nodeVersion], [[{ name: "tide-table", version: "2.0.1" }], "22"]);
  const node = paths("node");
  assert.ok(node.includes("machine.js") && node.includes("harbour.js") && node.some((path) => path.startsWith("_deps/node/")), `${node}`);
  assert.ok(paths("isolate").includes("notes.js"));
  const spec = await project.mustRun("function-spec");
  assert.match(spec.stdout, /machine\.js:digest/);

  await project.remove("convex/harbour.ts");
  await project.write("convex.json", "{}");
  await project.mustRun("deploy", "--typecheck", "disable");
  await assert.rejects(http.action(harbour.tidesOfToday, {}), /Could not find function/);
  assert.equal((await http.action(machine.digest, { text: "" })).length, 64);
});

test("a server without Node.js says so to whoever pushes", LIMIT, async (context) => {
  const tidemark = await startTidemark(context, { environment: { TIDEMARK_NODE: "/nowhere/node" } });
  const project = await createProject(context, tidemark, { files: REFUSED["a query for Node.js"].files });
  const push = await project.convex("deploy", "--typecheck", "disable");
  assert.equal(push.code, 1, push.output);
  assert.match(push.output, /NodeNotFound|Node\.js 22 is needed for "use node"/);
});
