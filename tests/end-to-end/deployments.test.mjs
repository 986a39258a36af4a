// Several deployments in one server: each with its own data, addresses and keys; previews of the official command line.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ConvexClient, ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";
import { WebSocket } from "ws";
import { whenOver } from "./harness/cleanup.mjs";
import { asAdmin, callFunction, post } from "./harness/functions.mjs";
import { createProject } from "./harness/project.mjs";
import { startTidemark, tidemarkBinary } from "./harness/tidemark.mjs";

const { notes } = anyApi;
const LIMIT = { timeout: 600_000 };
/** What is deleted goes at once: nothing is under way in these tests that needs time to end. */
const AT_ONCE = { removal_grace_ms: 1, removal_retry_ms: 100, expiry_check_ms: 100 };
/** How many deployments one server has in the last test. */
const MANY = Number(process.env.MANY_DEPLOYMENTS ?? 60);
const VERSIONS = ["convex", "convex-1-49"];

const APP = {
  "convex/schema.ts": `
    import { defineSchema, defineTable } from "convex/server";
    import { v } from "convex/values";
    export default defineSchema({ notes: defineTable({ text: v.string() }).index("by_text", ["text"]) });`,
  "convex/notes.ts": `
    import { v } from "convex/values";
    import { internal } from "./_generated/api";
    import { action, internalMutation, mutation, query } from "./_generated/server";
    export const add = mutation({ args: { text: v.string() }, handler: (ctx, args) => ctx.db.insert("notes", args) });
    export const list = query({
      args: {},
      handler: async (ctx) => (await ctx.db.query("notes").withIndex("by_text").collect()).map(({ text }) => text),
    });
    export const later = mutation({
      args: { text: v.string(), ms: v.number() },
      handler: async (ctx, { text, ms }) => { await ctx.scheduler.runAfter(ms, internal.notes.addLater, { text }); },
    });
    export const addLater = internalMutation({ args: { text: v.string() }, handler: (ctx, args) => ctx.db.insert("notes", args) });
    export const uploadUrl = mutation({ args: {}, handler: (ctx) => ctx.storage.generateUploadUrl() });
    export const fileUrl = query({ args: { id: v.id("_storage") }, handler: (ctx, { id }) => ctx.storage.getUrl(id) });
    export const where = query({
      args: {},
      handler: () => ({ cloud: process.env.CONVEX_CLOUD_URL, site: process.env.CONVEX_SITE_URL, greeting: process.env.GREETING ?? null }),
    });
    export const waits = action({ args: {}, handler: () => new Promise((resolve) => setTimeout(resolve, 60_000)) });
    export const seed = mutation({ args: {}, handler: async (ctx) => { await ctx.db.insert("notes", { text: "seed" }); } });`,
  "convex/http.ts": `
    import { httpRouter } from "convex/server";
    import { httpAction } from "./_generated/server";
    import { api } from "./_generated/api";
    const http = httpRouter();
    http.route({ path: "/notes", method: "GET", handler: httpAction(async (ctx) => Response.json(await ctx.runQuery(api.notes.list, {}))) });
    export default http;`,
};

/** Runs `tidemark deployment …` beside a server. */
async function operate(tidemark, ...words) {
  const child = spawn(tidemarkBinary(), ["deployment", "--data-dir", tidemark.dataFolder, ...words], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
  const [code] = await once(child, "close");
  return { code, stdout, stderr };
}

async function mustOperate(tidemark, ...words) {
  const { code, stdout, stderr } = await operate(tidemark, ...words);
  assert.equal(code, 0, `tidemark deployment ${words.join(" ")}: ${stderr}`);
  return stdout;
}

/** Creates a deployment and returns how to reach it. */
async function create(tidemark, name, ...words) {
  const printed = await mustOperate(tidemark, "create", name, ...words);
  const find = (pattern) => pattern.exec(printed)?.[1];
  const deployment = { name, url: find(/API +(\S+)/), siteUrl: find(/Site +(\S+)/), adminKey: find(/Admin key +(\S+)/) };
  assert.ok(deployment.url && deployment.siteUrl && deployment.adminKey, printed);
  return deployment;
}

async function push(context, deployment, { convex = "convex", files = APP } = {}) {
  const project = await createProject(context, deployment, { convex, files });
  await project.mustRun("deploy", "--typecheck", "disable");
  return project;
}

/** Asks with another host name than that of the address. */
function ask(tidemark, host, path, { method = "GET", headers = {}, body } = {}) {
  return new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port: tidemark.port, path, method, headers: { ...headers, Host: host }, agent: false };
    const sent = request(options, async (response) => {
      let text = "";
      for await (const chunk of response.setEncoding("utf8")) {
        text += chunk;
      }
      resolve({ status: response.statusCode, text });
    });
    sent.on("error", reject).end(body);
  });
}

const list = (deployment) => new ConvexHttpClient(deployment.url).query(notes.list, {});
const add = (deployment, text) => new ConvexHttpClient(deployment.url).mutation(notes.add, { text });

async function code(response) {
  return `${response.status} ${(await response.json()).code}`;
}

async function until(holds, what) {
  const deadline = Date.now() + 120_000;
  while (!(await holds())) {
    assert.ok(Date.now() < deadline, `in vain: ${what}`);
    await sleep(50);
  }
}

/** The objects of files that a server keeps for a deployment. */
async function objectFiles(tidemark) {
  const names = await readdir(join(tidemark.dataFolder, "blobs"), { recursive: true, withFileTypes: true });
  return names.filter((entry) => entry.isFile() && /objects/.test(entry.parentPath)).map(({ name }) => name);
}

test("two deployments have nothing of each other", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const shop = await create(tidemark, "shop");
  tidemark.secrets.push(shop.adminKey.split("|")[1]);
  assert.equal(shop.url, `${tidemark.url}/d/shop`);
  const [project] = [await push(context, shop), await push(context, tidemark)];

  // Documents and live queries.
  const live = new ConvexClient(shop.url, { webSocketConstructor: WebSocket });
  whenOver(context, () => live.close());
  const seen = [];
  live.onUpdate(notes.list, {}, (texts) => seen.push(texts));
  await Promise.all([add(shop, "of the shop"), add(tidemark, "of the default")]);
  assert.deepEqual(await list(shop), ["of the shop"]);
  assert.deepEqual(await list(tidemark), ["of the default"]);
  await until(() => seen.at(-1)?.length === 1, "the live query");
  assert.deepEqual(seen.at(-1), ["of the shop"]);

  // What functions see of themselves, and variables, which the command line sets over HTTP and reads over the WebSocket.
  await project.mustRun("env", "set", "GREETING", "ahoy");
  assert.match((await project.mustRun("env", "list")).stdout, /GREETING=ahoy/);
  const where = (deployment) => new ConvexHttpClient(deployment.url).query(notes.where, {});
  assert.deepEqual(await where(shop), { cloud: shop.url, site: shop.siteUrl, greeting: "ahoy" });
  assert.equal((await where(tidemark)).greeting, null);
  assert.equal((await where(tidemark)).cloud, tidemark.url);
  assert.match((await project.mustRun("data", "notes")).stdout, /of the shop/);
  assert.match((await project.mustRun("run", "notes:list")).stdout, /of the shop/);

  // Schedules.
  await new ConvexHttpClient(shop.url).mutation(notes.later, { text: "later", ms: 1 });
  await until(async () => (await list(shop)).includes("later"), "the scheduled function");
  assert.deepEqual(await list(tidemark), ["of the default"]);

  // Files: addresses lead to their own deployment, and an id of one is nothing in the other.
  const url = await new ConvexHttpClient(shop.url).mutation(notes.uploadUrl, {});
  assert.ok(url.startsWith(`${shop.url}/api/storage/upload?token=`), url);
  const stored = await fetch(url, { method: "POST", body: "bytes" });
  const { storageId: id } = await stored.json();
  const fileUrl = await new ConvexHttpClient(shop.url).query(notes.fileUrl, { id });
  assert.equal(await (await fetch(fileUrl)).text(), "bytes");
  assert.equal((await fetch(fileUrl.replace("/d/shop", ""))).status, 404);
  assert.equal(await new ConvexHttpClient(tidemark.url).query(notes.fileUrl, { id }), null);
  assert.equal(await code(await fetch(url.replace("/d/shop", ""), { method: "POST", body: "bytes" })), "401 StorageTokenInvalid");

  // HTTP actions.
  assert.deepEqual(await (await fetch(`${shop.siteUrl}/notes`)).json(), ["later", "of the shop"]);
  assert.deepEqual(await (await fetch(`${shop.url}/http/notes`)).json(), ["later", "of the shop"]);
  assert.deepEqual(await (await fetch(`${tidemark.url}/http/notes`)).json(), ["of the default"]);

  // Keys.
  const hashes = (at, key) => post({ url: at }, "/api/get_config_hashes", "{}", { headers: { Authorization: `Convex ${key}` } });
  assert.equal(await code(await hashes(shop.url, tidemark.adminKey)), "403 BadDeployKey");
  const renamed = `shop|${tidemark.adminKey.split("|")[1]}`;
  assert.equal(await code(await hashes(tidemark.url, renamed)), "403 BadDeployKey");
  assert.equal((await hashes(tidemark.url, shop.adminKey)).status, 200, "a key says which deployment is meant");
  assert.equal(await (await fetch(`${shop.url}/instance_name`)).text(), "shop");
  assert.equal(await (await fetch(`${tidemark.url}/instance_name`)).text(), "dev");
  assert.equal(await code(await fetch(`${tidemark.url}/d/nobody/version`)), "404 DeploymentNotFound");

  // All of it outlives a kill.
  await tidemark.kill();
  await tidemark.start();
  assert.deepEqual(await list(shop), ["later", "of the shop"]);
  assert.deepEqual(await list(tidemark), ["of the default"]);
  await add(shop, "after");
  assert.match(await mustOperate(tidemark, "list"), /^ *shop +prod +shop +1 +- +http/m);
});

test("a deployment can have host names of its own", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const shop = await create(tidemark, "shop", "--url", "https://shop.example", "--site-url", "https://shop.site.example");
  assert.equal(shop.url, "https://shop.example");
  await push(context, { url: tidemark.url, adminKey: shop.adminKey });
  const query = { method: "POST", body: JSON.stringify({ path: "notes:where", args: {} }), headers: { "Content-Type": "application/json" } };
  const { status, text } = await ask(tidemark, "SHOP.example:443", "/api/query", query);
  assert.equal(status, 200, text);
  assert.deepEqual(JSON.parse(text).value, { cloud: "https://shop.example", site: "https://shop.site.example", greeting: null });
  assert.equal((await ask(tidemark, "shop.site.example", "/notes")).text, "[]");
  assert.equal((await ask(tidemark, "shop.example", "/instance_name")).text, "shop");
  assert.equal((await ask(tidemark, "other.example", "/instance_name")).text, "dev");
  const { code: exit, stderr } = await operate(tidemark, "create", "other", "--url", "https://shop.example");
  assert.equal(exit, 1);
  assert.match(stderr, /DeploymentUrlTaken/);
});

test("a pattern gives each deployment a host name", LIMIT, async (context) => {
  const environment = {
    TIDEMARK_DEPLOYMENT_URL: "https://{name}.api.example",
    TIDEMARK_DEPLOYMENT_SITE_URL: "https://{name}.site.example",
  };
  const tidemark = await startTidemark(context, { environment });
  const shop = await create(tidemark, "shop");
  assert.deepEqual([shop.url, shop.siteUrl], ["https://shop.api.example", "https://shop.site.example"]);
  assert.equal((await ask(tidemark, "shop.api.example", "/instance_name")).text, "shop");
});

test("a server that has another address for its clients is asked at the one on this machine", LIMIT, async (context) => {
  const tidemark = await startTidemark(context, { environment: { TIDEMARK_CLOUD_URL: "https://api.example" } });
  assert.equal(tidemark.url, "https://api.example");
  assert.match(await mustOperate(tidemark, "list"), /^ *dev +dev +dev +1 +- +https:\/\/api\.example$/m);
});

test("a deleted deployment ends what is under way, and its data goes", LIMIT, async (context) => {
  const tidemark = await startTidemark(context, {
    limits: { directory: AT_ONCE },
    // It has one under way that waits.
    allowedInLog: [/cancelled actions that were under way actions=1/],
  });
  const shop = await create(tidemark, "shop");
  await push(context, shop);
  await push(context, tidemark);
  for (const deployment of [shop, tidemark]) {
    await add(deployment, "note");
    const url = await new ConvexHttpClient(deployment.url).mutation(notes.uploadUrl, {});
    assert.equal((await fetch(url, { method: "POST", body: "bytes" })).status, 200);
  }
  await new ConvexHttpClient(shop.url).mutation(notes.later, { text: "never", ms: 3_600_000 });
  assert.equal((await objectFiles(tidemark)).length, 2);

  const socket = new WebSocket(`${shop.url.replace("http", "ws")}/api/1.48.0/sync`);
  await once(socket, "open");
  const sessionId = "0b1a2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d";
  const connect = { type: "Connect", sessionId, connectionCount: 0, lastCloseReason: null, clientTs: 0 };
  socket.send(JSON.stringify(connect));
  const closed = once(socket, "close");
  const running = callFunction(shop, "action", "notes:waits");
  await sleep(500);

  await mustOperate(tidemark, "delete", "shop");
  const [closeCode, reason] = await closed;
  assert.equal(closeCode, 1000);
  assert.match(`${reason}`, /^DeploymentNotFound/);
  const { status, body } = await running;
  assert.deepEqual([status, body.code], [404, "DeploymentNotFound"]);
  assert.equal(await code(await post(shop, "/api/query", "{}")), "404 DeploymentNotFound");
  assert.equal((await operate(tidemark, "delete", "shop")).code, 1);
  const { stderr } = await operate(tidemark, "delete", "dev");
  assert.match(stderr, /DefaultDeployment/);

  await until(async () => (await objectFiles(tidemark)).length === 1, "the bytes of its file go");
  // The name is free again when all is gone, and nothing of before is there.
  await until(async () => (await operate(tidemark, "create", "shop")).code === 0, "the name is free again");
  const key = /Admin key +(\S+)/.exec(await mustOperate(tidemark, "keys", "shop"))[1];
  assert.notEqual(key, shop.adminKey);
  const again = { ...shop, adminKey: key };
  await push(context, again);
  assert.deepEqual(await list(again), []);
  assert.deepEqual(await list(tidemark), ["note"]);
});

for (const convex of VERSIONS) {
  test(`deploy keys open what they are for, with ${convex}`, LIMIT, async (context) => {
    const tidemark = await startTidemark(context);
    const shop = await create(tidemark, "shop");
    const withKey = (key) => ({
      url: shop.url,
      environment: { CONVEX_DEPLOY_KEY: key, CONVEX_PROVISION_HOST: tidemark.url, CONVEX_VERSION_API_ORIGIN: tidemark.url },
    });
    // A key of the deployment.
    const key = (await mustOperate(tidemark, "keys", "shop", "--create", "ci")).trim();
    assert.match(key, /^prod:shop\|02[0-9a-f]{64}$/);
    tidemark.secrets.push(key.split("|")[1]);
    await push(context, withKey(key), { convex });
    await add(shop, "by key");
    const project = await createProject(context, withKey(key), { convex, files: APP });
    assert.match((await project.mustRun("run", "notes:list")).stdout, /by key/);
    assert.match((await project.mustRun("data", "notes")).stdout, /by key/);

    // A key of the project: it opens its production deployment, and creates what is missing.
    const ofProject = (await mustOperate(tidemark, "keys", "--project", "shop", "--create", "ci")).trim();
    await push(context, withKey(ofProject), { convex, files: { ...APP, "convex/more.ts": `export const one = 1;` } });
    assert.deepEqual(await list(shop), ["by key"]);
    const ofOther = (await mustOperate(tidemark, "keys", "--project", "blog", "--create", "ci")).trim();
    await push(context, withKey(ofOther), { convex });
    assert.match(await mustOperate(tidemark, "list"), /^ *blog +prod +blog /m);
    assert.deepEqual(await list({ url: `${tidemark.url}/d/blog` }), []);

    // What was deleted opens nothing any more.
    await mustOperate(tidemark, "keys", "shop", "--delete", "ci");
    const refused = await (await createProject(context, withKey(key), { convex, files: APP })).convex("deploy", "--typecheck", "disable");
    assert.notEqual(refused.code, 0);
    assert.match(refused.output, /BadAccessToken|The key is none that this cluster knows/);
  });

  test(`previews are created, reused, made anew and expire, with ${convex}`, LIMIT, async (context) => {
    const age = { preview_age_ms: 3_600_000 };
    const tidemark = await startTidemark(context, { limits: { directory: { ...AT_ONCE, ...age } } });
    const shop = await create(tidemark, "shop");
    await push(context, shop);
    const key = (await mustOperate(tidemark, "keys", "--previews", "shop", "--create", "ci")).trim();
    assert.match(key, /^preview:tidemark:shop\|/);
    const environment = { CONVEX_DEPLOY_KEY: key, CONVEX_PROVISION_HOST: tidemark.url, CONVEX_VERSION_API_ORIGIN: tidemark.url };
    const project = await createProject(context, { url: shop.url, environment }, { convex, files: APP });
    const deploy = (...words) => project.mustRun("deploy", "--typecheck", "disable", ...words);
    const urls = async () => [...(await mustOperate(tidemark, "list")).matchAll(/^ *shop-feature-a-\d+ +preview .* (http\S+)$/gm)].map(([, url]) => url);

    const created = await deploy("--preview-create", "feature/a", "--preview-run", "notes:seed");
    const [first] = await urls();
    assert.match(created.output, new RegExp(`Deployed Convex functions to ${first}`));
    assert.deepEqual(await list({ url: first }), ["seed"]);

    // Under its name it is reused, and what runs for new ones does not run.
    await deploy("--preview-name", "feature/a", "--preview-run", "notes:seed");
    assert.deepEqual(await urls(), [first]);
    assert.deepEqual(await list({ url: first }), ["seed"]);
    assert.match((await project.mustRun("run", "--preview-name", "feature/a", "notes:list")).stdout, /seed/);

    // Created again it is empty.
    await deploy("--preview-create", "feature/a");
    const [second, ...others] = await urls();
    assert.deepEqual(others, []);
    assert.notEqual(second, first);
    assert.deepEqual(await list({ url: second }), []);
    assert.deepEqual(await list(shop), [], "the project's other deployments are as they were");

    // The key opens nothing else.
    const authorize = await fetch(`${tidemark.url}/api/deployment/provision_and_authorize`, {
      method: "POST",
      headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
      body: JSON.stringify({ teamSlug: "tidemark", projectSlug: "shop", deploymentType: "prod" }),
    });
    assert.equal(await code(authorize), "403 OperationNotPermitted");
  });
}

test("a preview goes when its time is over, with all that it had", LIMIT, async (context) => {
  const limits = { directory: { ...AT_ONCE, preview_age_ms: 4_000 } };
  const tidemark = await startTidemark(context, { limits });
  const preview = await create(tidemark, "short-lived", "--kind", "preview");
  await until(async () => !(await mustOperate(tidemark, "list")).includes("short-lived"), "it goes");
  assert.equal(await code(await fetch(`${preview.url}/version`)), "404 DeploymentNotFound");
  await until(async () => (await operate(tidemark, "create", "short-lived")).code === 0, "its name is free again");
});

test("a push moves on the time at which a preview goes", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const operator = `Bearer ${(await mustOperate(tidemark, "operator-key")).trim()}`;
  const expiresMs = async () => {
    const { deployments } = await (await fetch(`${tidemark.url}/v1/tidemark/deployments`, { headers: { Authorization: operator } })).json();
    return Object.fromEntries(deployments.map(({ name, expiresMs }) => [name, expiresMs]));
  };
  const preview = await create(tidemark, "branch", "--kind", "preview");
  const chosen = await create(tidemark, "chosen", "--kind", "preview", "--expires-in-days", "3");
  const before = await expiresMs();
  for (const deployment of [preview, chosen]) await push(context, deployment);
  await until(async () => (await expiresMs()).branch > before.branch, "the push counts");
  assert.equal((await expiresMs()).chosen, before.chosen, "somebody has chosen it");
});

test("what a project lacks is created once, whoever asks for it at the same time", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = "p".repeat(40);
  const key = (await mustOperate(tidemark, "keys", "--project", project, "--create", "ci")).trim();
  const provision = async () => {
    const response = await fetch(`${tidemark.url}/api/deployment/provision_and_authorize`, {
      method: "POST",
      headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
      body: JSON.stringify({ teamSlug: "tidemark", projectSlug: project, deploymentType: "dev" }),
    });
    assert.equal(response.status, 200, await response.clone().text());
    return (await response.json()).deploymentName;
  };
  const names = new Set(await Promise.all([1, 2, 3, 4].map(provision)));
  assert.equal(names.size, 1, `${[...names]}`);
  assert.match([...names][0], /^p+-dev-\d+$/);
});

test("the control plane lets nobody in without a key", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const shop = await create(tidemark, "shop");
  const asked = (method, path, authorization, body) =>
    fetch(tidemark.url + path, { method, body, headers: { "Content-Type": "application/json", ...(authorization && { Authorization: authorization }) } });
  const operator = `Bearer ${(await mustOperate(tidemark, "operator-key")).trim()}`;
  const paths = [
    ["GET", "/v1/tidemark/deployments"],
    ["POST", "/v1/tidemark/deployments", JSON.stringify({ name: "x" })],
    ["DELETE", "/v1/tidemark/deployments/shop"],
    ["GET", "/v1/tidemark/keys?deployment=shop"],
    ["POST", "/v1/tidemark/keys", JSON.stringify({ owner: "deployment", of: "shop", name: "x" })],
    ["DELETE", "/v1/tidemark/keys?deployment=shop&name=x"],
    ["GET", "/api/teams"],
    ["POST", "/api/claim_preview_deployment", "{}"],
    ["POST", "/api/deployment/provision_and_authorize", "{}"],
    ["GET", "/api/deployment/shop/team_and_project"],
  ];
  for (const [method, path, body] of paths) {
    assert.equal(await code(await asked(method, path, undefined, body)), "401 MissingAccessToken", path);
    assert.equal(await code(await asked(method, path, "Bearer operator-01", body)), "401 BadAccessToken", path);
    assert.equal(await code(await asked(method, path, "Bearer shop|01ff", body)), "401 BadAccessToken", path);
    if (path.startsWith("/v1/tidemark/")) {
      assert.equal(await code(await asked(method, path, `Bearer ${shop.adminKey}`, body)), "403 OperationNotPermitted", path);
    }
  }
  const created = (body) => asked("POST", "/v1/tidemark/deployments", operator, body);
  for (const [body, refusal] of [
    ["{", "400 InvalidJson"],
    [JSON.stringify({ name: "A" }), "400 InvalidDeploymentName"],
    [JSON.stringify({ name: "shop" }), "409 DeploymentExists"],
    [JSON.stringify({ name: "x", kind: "test" }), "400 InvalidDeploymentType"],
    [JSON.stringify({ name: "x", unknown: 1 }), "400 InvalidJson"],
    [JSON.stringify({ name: "x", shareWeight: 0 }), "400 InvalidShare"],
  ]) {
    assert.equal(await code(await created(body)), refusal, body);
  }
  assert.equal(await code(await asked("DELETE", "/v1/tidemark/deployments/%ff", operator)), "400 BadRequest");
  assert.equal(await code(await asked("PUT", "/v1/tidemark/deployments", operator, "{}")), "405 MethodNotAllowed");
  const keyless = await asked("POST", "/v1/tidemark/keys", operator, JSON.stringify({ owner: "team", of: "x", name: "x" }));
  assert.equal(await code(keyless), "400 KeyOwnerNotNamed");
  assert.equal(await code(await asked("POST", "/api/deployment/url_for_key", undefined, JSON.stringify({ deployKey: "prod:shop|00" }))), "401 BadAccessToken");
  const { deployments } = await (await asked("GET", "/v1/tidemark/deployments", operator)).json();
  assert.deepEqual(deployments.map(({ name }) => name), ["dev", "shop"]);
  assert.ok(!JSON.stringify(deployments).includes(shop.adminKey.split("|")[1]), "a list has no keys");
});

test("many deployments come and go in one server", LIMIT, async (context) => {
  const tidemark = await startTidemark(context, { limits: { directory: AT_ONCE } });
  const operator = `Bearer ${(await mustOperate(tidemark, "operator-key")).trim()}`;
  const headers = { Authorization: operator, "Content-Type": "application/json" };
  const names = Array.from({ length: MANY }, (_, index) => `d-${index}`);
  const made = new Map();
  const fourAtOnce = async (work) => {
    const left = [...names];
    await Promise.all([1, 2, 3, 4].map(async () => {
      for (let name = left.pop(); name; name = left.pop()) {
        await work(name);
      }
    }));
  };
  await fourAtOnce(async (name) => {
    const response = await fetch(`${tidemark.url}/v1/tidemark/deployments`, { method: "POST", headers, body: JSON.stringify({ name }) });
    assert.equal(response.status, 200, await response.clone().text());
    made.set(name, await response.json());
  });
  const numbers = new Set([...made.values()].map(({ number }) => number));
  assert.equal(numbers.size, MANY, "each has a number of its own");
  await fourAtOnce(async (name) => {
    const deployment = made.get(name);
    assert.equal(await (await fetch(`${deployment.cloudUrl}/instance_name`)).text(), name);
    const key = { headers: { Authorization: `Convex ${deployment.adminKey}` } };
    assert.equal((await post({ url: tidemark.url }, "/api/get_config_hashes", "{}", key)).status, 200);
  });
  await fourAtOnce(async (name) => {
    const response = await fetch(`${tidemark.url}/v1/tidemark/deployments/${name}`, { method: "DELETE", headers });
    assert.equal(response.status, 200, await response.clone().text());
  });
  const { deployments } = await (await fetch(`${tidemark.url}/v1/tidemark/deployments`, { headers })).json();
  assert.deepEqual(deployments.map(({ name }) => name), ["dev"]);
});
