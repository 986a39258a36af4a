// Log streams: what runs is told to receivers on this machine, signed or with their keys, and again when they fail at first.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { readFile, readdir } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { killLeaders } from "./conformance/cluster.mjs";
import { anywhere, askAsAdmin, valueOf } from "./harness/anywhere.mjs";
import { whenOver } from "./harness/cleanup.mjs";
import { OF_A_LOST_NODE, startCluster } from "./harness/cluster.mjs";
import { asAdmin, callFunction, post, setVariables } from "./harness/functions.mjs";
import { randomFrom } from "./harness/load.mjs";
import { pushApp } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const LIMIT = { timeout: 300_000 };
const EVENTUALLY_MS_MAX = 60_000;
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
/** Events go soon, and what fails is tried again soon. */
const QUICK = { log_streams: { flush_ms_max: 100, look_ms: 100, pause_ms_min: 50, pause_ms_max: 100, answer_ms_max: 30_000 } };

/** A server that takes requests, and answers with what `status` says of each, by its number and path: never, if that is `null`. */
async function startReceiver(context, status = () => 200) {
  const requests = [];
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const code = status(requests.length, request.url);
    if (code === null) return;
    requests.push({ path: request.url, headers: request.headers, body, text: body.toString(), taken: code < 300 });
    response.writeHead(code).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  whenOver(context, () => new Promise((resolve) => server.close(resolve) && server.closeAllConnections()));
  return { requests, url: `http://127.0.0.1:${server.address().port}` };
}

async function serveApp(context, options = {}) {
  const tidemark = await startTidemark(context, { limits: QUICK, ...options });
  await pushApp(context, tidemark, "copied");
  return tidemark;
}

async function api(tidemark, path, body, method = body === undefined ? "GET" : "POST") {
  const response =
    method === "GET" ? await fetch(tidemark.url + path, asAdmin(tidemark)) : await post(tidemark, path, JSON.stringify(body), asAdmin(tidemark));
  const text = await response.text();
  return { status: response.status, text, body: text ? JSON.parse(text) : null };
}

async function mustDo(tidemark, path, body, method) {
  const answer = await api(tidemark, path, body, method);
  assert.equal(answer.status, 200, `${path}: ${answer.text}`);
  return answer.body;
}

async function until(check, what) {
  const deadline = Date.now() + EVENTUALLY_MS_MAX;
  for (;;) {
    const found = await check();
    if (found) return found;
    assert.ok(Date.now() < deadline, `${what} did not happen in ${EVENTUALLY_MS_MAX} ms`);
    await sleep(50);
  }
}

const statusOf = async (tidemark, id) => (await mustDo(tidemark, `/api/v1/get_log_stream/${id}`)).status;
const untilStatus = (tidemark, id, type) => until(async () => (await statusOf(tidemark, id)).type === type, `status ${type}`);

async function runSomething(tidemark) {
  const sent = await callFunction(tidemark, "mutation", "copied:apply", { changes: [{ kind: "insert", name: "Ada", score: 1 }] });
  assert.equal(sent.body.status, "success");
  const failed = await callFunction(tidemark, "mutation", "copied:fail", { text: "on purpose" });
  assert.equal(failed.body.status, "error");
}

/** The events of all requests to a webhook, each of which must bear the signature of one of the secrets. */
function eventsOf(receiver, secrets) {
  return receiver.requests.filter(({ taken }) => taken).flatMap(({ body, text, headers }) => {
    const signatures = secrets.map((secret) => `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`);
    assert.ok(signatures.includes(headers["x-webhook-signature"]), `signed by none of its secrets: ${headers["x-webhook-signature"]}`);
    assert.equal(headers["content-type"], "application/json");
    return text.startsWith("[") ? JSON.parse(text) : text.trim().split("\n").map((line) => JSON.parse(line));
  });
}

test("a webhook gets what runs, signed, in both formats, and only the topics that it wants", LIMIT, async (context) => {
  const tidemark = await serveApp(context);
  const receiver = await startReceiver(context);
  const created = await mustDo(tidemark, "/api/v1/create_log_stream", { logStreamType: "webhook", url: `${receiver.url}/in?x=1`, format: "json" });
  assert.match(created.hmacSecret, /^[0-9a-f]{64}$/);
  await untilStatus(tidemark, created.id, "active");
  const secrets = [created.hmacSecret];
  const topic = (name) => eventsOf(receiver, secrets).filter((event) => event.topic === name);
  const runs = (check, what) => until(async () => (await runSomething(tidemark), check()), what);
  const [exception] = await runs(() => topic("exception").length > 0 && topic("exception"), "an exception");
  assert.match(exception.message, /TypeError: it failed: on purpose/);
  assert.equal(topic("verification").length, 1);
  const [line] = topic("console");
  assert.deepEqual([line.log_level, line.message, line.is_truncated], ["WARN", "'about to fail' 'on purpose'", false]);
  assert.deepEqual([line.function.type, line.function.path], ["mutation", "copied:fail"]);
  const executions = topic("function_execution");
  const failed = executions.find((event) => event.function.request_id === line.function.request_id);
  assert.equal(failed.status, "failure");
  assert.equal(failed.run_reason, "httpApi");
  assert.ok(failed.usage.database_read_bytes >= 0 && Number.isInteger(failed.timestamp));
  assert.deepEqual([failed.convex.deployment_name, failed.convex.deployment_type], ["dev", "dev"]);
  assert.ok(executions.some((event) => event.status === "success" && event.function.path === "copied:apply"));

  // Lines, and console lines alone, from some moment on.
  const isLines = ({ text }) => !text.startsWith("[");
  await mustDo(tidemark, `/api/v1/update_log_stream/${created.id}`, { format: "jsonl", topics: ["console"] });
  await runs(() => receiver.requests.some((request) => isLines(request) && request.text.includes('"console"')), "a line");
  receiver.requests.length = 0;
  await runs(() => topic("console").length > 0, "a console line");
  assert.ok(receiver.requests.every(isLines));
  assert.deepEqual([...new Set(eventsOf(receiver, secrets).map((event) => event.topic))], ["console"]);

  // Another secret signs, from some moment on.
  const { hmacSecret } = await mustDo(tidemark, `/api/v1/rotate_webhook_secret/${created.id}`, {});
  assert.notEqual(hmacSecret, created.hmacSecret);
  const isSigned = ({ body, headers }) => headers["x-webhook-signature"] === `sha256=${createHmac("sha256", hmacSecret).update(body).digest("hex")}`;
  await runs(() => receiver.requests.some((request) => isSigned(request) && request.text.includes('"console"')), "a line with the new signature");
  receiver.requests.length = 0;
  await runs(() => receiver.requests.length > 0, "another");
  assert.ok(receiver.requests.every(isSigned));

  await mustDo(tidemark, `/api/v1/delete_log_stream/${created.id}`, {});
  await until(async () => {
    receiver.requests.length = 0;
    await runSomething(tidemark);
    await sleep(500);
    return receiver.requests.length === 0;
  }, "the end of a stream that is deleted");
  assert.deepEqual(await mustDo(tidemark, "/api/v1/list_log_streams"), []);
});

test("each kind of receiver gets what it understands, with its key", LIMIT, async (context) => {
  const tidemark = await serveApp(context);
  const receiver = await startReceiver(context);
  const key = "a-key-that-nobody-may-see";
  tidemark.secrets.push(key);
  const kinds = {
    axiom: { apiKey: key, datasetName: "events", attributes: [{ key: "region", value: "here" }], ingestUrl: `${receiver.url}/axiom` },
    sentry: { dsn: `${receiver.url.replace("//", "//public@")}/sentry/42`, tags: { team: "a" } },
    postHogLogs: { apiKey: key, host: `${receiver.url}/logs`, serviceName: "shop" },
    postHogErrorTracking: { apiKey: key, host: `${receiver.url}/errors` },
    otlp: { endpoint: `${receiver.url}/otlp`, headers: [{ key: "x-collector-key", value: key }] },
  };
  const ids = {};
  for (const [logStreamType, configuration] of Object.entries(kinds)) {
    const created = await mustDo(tidemark, "/api/v1/create_log_stream", { logStreamType, ...configuration });
    ids[logStreamType] = created.id;
    assert.deepEqual(Object.keys(created).sort(), ["id", "logStreamType"]);
  }
  for (const id of Object.values(ids)) await untilStatus(tidemark, id, "active");
  const at = (path) => receiver.requests.filter((request) => request.path === path);
  const first = (path, has) =>
    until(async () => (await runSomething(tidemark), at(path).find(({ text }) => text.includes(has))), `${has} at ${path}`);

  const axiom = await first("/axiom/v1/ingest/events", "about to fail");
  assert.equal(axiom.headers.authorization, `Bearer ${key}`);
  const line = JSON.parse(axiom.text).find((event) => event.topic === "console");
  assert.equal(line.region, "here");
  assert.ok(Math.abs(Date.parse(line._time) - line.timestamp) < 1);

  const sentry = await first("/sentry/api/42/envelope/", "it failed");
  assert.match(sentry.headers["x-sentry-auth"], /sentry_version=7.*sentry_key=public/);
  const [head, item, event] = sentry.text.trim().split("\n").map((text) => JSON.parse(text));
  assert.equal(head.event_id, event.event_id);
  assert.equal(item.type, "event");
  assert.deepEqual([event.exception.values[0].type, event.exception.values[0].value], ["TypeError", "it failed: on purpose"]);
  assert.ok(event.exception.values[0].stacktrace.frames.some((frame) => /copied\.ts$/.test(frame.filename)), JSON.stringify(event.exception));
  assert.deepEqual([event.tags.func, event.tags.team], ["copied:fail", "a"]);

  const errors = await first("/errors/batch/", "it failed");
  const tracked = JSON.parse(errors.text);
  assert.deepEqual([tracked.api_key, tracked.batch[0].event], [key, "$exception"]);
  assert.equal(tracked.batch[0].properties.$exception_list[0].type, "TypeError");

  for (const [path, header, value] of [["/logs/i/v1/logs", "authorization", `Bearer ${key}`], ["/otlp/v1/logs", "x-collector-key", key]]) {
    const { text, headers } = await first(path, "about to fail");
    assert.equal(headers[header], value);
    const [{ resource, scopeLogs }] = JSON.parse(text).resourceLogs;
    assert.ok(resource.attributes.some((attribute) => attribute.key === "service.name"));
    const record = scopeLogs[0].logRecords.find((found) => found.body.stringValue.includes("about to fail"));
    assert.deepEqual([record.severityNumber, record.severityText], [13, "WARN"]);
    assert.match(record.timeUnixNano, /^\d{19}$/);
  }
  assert.ok(at("/sentry/api/42/envelope/").every(({ text }) => !text.includes('"topic":"console"')));

  // Keys are shown to nobody, and lie nowhere as they are.
  const listed = await api(tidemark, "/api/v1/list_log_streams");
  assert.equal(listed.body.length, 5);
  assert.ok(!listed.text.includes(key));
  const again = await api(tidemark, "/api/v1/create_log_stream", { logStreamType: "axiom", ...kinds.axiom });
  assert.equal(`${again.status} ${again.body.code}`, "400 LogStreamExists");
  await tidemark.stop();
  for (const entry of await readdir(tidemark.dataFolder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) assert.ok(!(await readFile(join(entry.parentPath, entry.name))).includes(key), `${entry.name} has a key in it`);
  }

  // After a restart it goes on.
  receiver.requests.length = 0;
  await tidemark.start();
  await first("/axiom/v1/ingest/events", "about to fail");
});

test("what a receiver does not take is sent again, and given up when it refuses", LIMIT, async (context) => {
  const tidemark = await serveApp(context);
  let status = 503;
  const receiver = await startReceiver(context, (number) => (number < 2 ? 503 : status));
  status = 200;
  const { id, hmacSecret } = await mustDo(tidemark, "/api/v1/create_log_stream", { logStreamType: "webhook", url: receiver.url, format: "json" });
  await untilStatus(tidemark, id, "active");
  // That it was created is told beside it.
  const greetings = () => receiver.requests.filter(({ text }) => JSON.parse(text).some(({ topic }) => topic === "verification"));
  await until(() => greetings().some(({ taken }) => taken), "the first event is taken");
  assert.ok(greetings().length > 1 && greetings().every(({ body }) => body.equals(greetings()[0].body)), "the same is sent again");
  assert.equal(eventsOf(receiver, [hmacSecret]).filter(({ topic }) => topic === "verification").length, 1);

  const runsUntil = (type) =>
    until(async () => {
      await runSomething(tidemark);
      const status = await statusOf(tidemark, id);
      return status.type === type && status;
    }, `status ${type}`);
  status = 401;
  assert.match((await runsUntil("failed")).reason, /status 401/);
  status = 200;
  await runsUntil("active");

  for (const [body, code] of [
    [{ logStreamType: "fax" }, "400 InvalidLogStream"],
    [{ logStreamType: "webhook", url: "nowhere", format: "json" }, "400 InvalidLogStream"],
    [{ logStreamType: "webhook", url: receiver.url, format: "json", topics: ["everything"] }, "400 InvalidLogStream"],
  ]) {
    const refused = await api(tidemark, "/api/v1/create_log_stream", body);
    assert.equal(`${refused.status} ${refused.body.code}`, code, JSON.stringify(body));
  }
  const unknown = await api(tidemark, "/api/v1/get_log_stream/nothing");
  assert.equal(`${unknown.status} ${unknown.body.code}`, "404 LogStreamNotFound");
  assert.equal((await fetch(`${tidemark.url}/api/v1/list_log_streams`)).status, 401);
});

test("what was tried before a change says nothing of the stream after it, and a receiver that takes events is active", LIMIT, async (context) => {
  const tidemark = await serveApp(context, { limits: { log_streams: { ...QUICK.log_streams, answer_ms_max: 500 } } });
  let refusesGreetings = false;
  const receiver = await startReceiver(context, (_, path) => (path === "/silent" ? null : path === "/refuses" && refusesGreetings ? 503 : 200));
  const { id } = await mustDo(tidemark, "/api/v1/create_log_stream", { logStreamType: "webhook", url: `${receiver.url}/silent`, format: "json" });
  await mustDo(tidemark, `/api/v1/update_log_stream/${id}`, { url: `${receiver.url}/takes` });
  await untilStatus(tidemark, id, "active");
  // Six attempts of half a second, and pauses between them.
  const end = Date.now() + 6_000;
  while (Date.now() < end) {
    await sleep(200);
    assert.equal((await statusOf(tidemark, id)).type, "active");
  }

  // Somebody else has entered that it fails: what comes through next is entered, too.
  refusesGreetings = true;
  await mustDo(tidemark, `/api/v1/update_log_stream/${id}`, { url: `${receiver.url}/refuses` });
  await untilStatus(tidemark, id, "failed");
  refusesGreetings = false;
  await until(async () => (await runSomething(tidemark), (await statusOf(tidemark, id)).type === "active"), "that it works again");
});

test("exceptions of one batch are not tried one after the other where nobody answers", LIMIT, async (context) => {
  const tidemark = await serveApp(context, { limits: { log_streams: { ...QUICK.log_streams, flush_ms_max: 2_000 } } });
  const receiver = await startReceiver(context, () => 503);
  const { id } = await mustDo(tidemark, "/api/v1/create_log_stream", { logStreamType: "sentry", dsn: `${receiver.url.replace("//", "//public@")}/42` });
  await untilStatus(tidemark, id, "active");
  await sleep(500);
  await Promise.all(Array.from({ length: 8 }, (_, number) => callFunction(tidemark, "mutation", "copied:fail", { text: `${number}` })));
  await untilStatus(tidemark, id, "failed");
  await sleep(3_000);
  assert.ok(receiver.requests.length <= 12, `${receiver.requests.length} requests for at most two batches`);
});

test("long errors are cut, and what waits for a receiver that is silent is bounded", LIMIT, async (context) => {
  const tidemark = await serveApp(context, { limits: { log_streams: { ...QUICK.log_streams, text_bytes_max: 2_000 } } });
  const receiver = await startReceiver(context);
  const { id, hmacSecret } = await mustDo(tidemark, "/api/v1/create_log_stream", { logStreamType: "webhook", url: receiver.url, format: "json" });
  await untilStatus(tidemark, id, "active");
  const failed = await until(async () => {
    await callFunction(tidemark, "mutation", "copied:fail", { text: "long ".repeat(100_000) });
    return eventsOf(receiver, [hmacSecret]).find((event) => event.topic === "function_execution" && event.status === "failure");
  }, "a failure");
  assert.ok(failed.error_message.length < 6_000, `${failed.error_message.length} characters`);
  assert.match(failed.error_message, /… \(cut\)\n +at /);
  assert.ok(receiver.requests.every(({ body }) => body.length < 100_000));
});

test("the audit log has what was changed, by page, and a stream is told", LIMIT, async (context) => {
  const tidemark = await serveApp(context);
  const receiver = await startReceiver(context);
  const { id, hmacSecret } = await mustDo(tidemark, "/api/v1/create_log_stream", { logStreamType: "webhook", url: receiver.url, format: "json", topics: ["audit_log"] });
  await untilStatus(tidemark, id, "active");
  await setVariables(tidemark, { FLAVOUR: "sweet" });
  const told = await until(async () => {
    await setVariables(tidemark, { FLAVOUR: "sour" });
    return eventsOf(receiver, [hmacSecret]).find((event) => event.audit_log_action === "update_environment_variable");
  }, "an event of the audit log");
  assert.equal(told.topic, "audit_log");
  assert.deepEqual(JSON.parse(told.audit_log_metadata), { variable_name: "FLAVOUR" });

  const items = [];
  let query = "from=0&limit=2";
  for (;;) {
    const page = await mustDo(tidemark, `/api/v1/list_audit_log_events?${query}`);
    items.push(...page.items);
    if (!page.pagination.hasMore) break;
    assert.equal(page.items.length, 2, "a page that is not the last is full");
    query = `from=0&limit=2&cursor=${encodeURIComponent(page.pagination.nextCursor)}`;
  }
  const actions = items.map((item) => item.action);
  assert.deepEqual(actions.slice(0, 3), ["push_config", "create_integration", "create_environment_variable"]);
  assert.deepEqual([...new Set(actions.slice(3))], ["update_environment_variable"]);
  assert.ok(items.every((item) => item.createTime > 1.6e12 && item.actor.kind === "token"));
  assert.ok(!JSON.stringify(items).includes("sour"), "values of variables stay out of it");
  const later = await mustDo(tidemark, `/api/v1/list_audit_log_events?from=${Date.now() + 60_000}`);
  assert.deepEqual(later.items, []);
});

test(`each node tells what it has run, while whoever leads is killed every 20 seconds (SEED=${SEED})`, LIMIT, async (context) => {
  const random = randomFrom(SEED);
  const cluster = await startCluster(context, { allowedInLog: OF_A_LOST_NODE, limits: QUICK });
  await pushApp(context, cluster.nodes[0], "copied");
  const receiver = await startReceiver(context);
  const stream = { logStreamType: "webhook", url: receiver.url, format: "json" };
  const { id, hmacSecret } = await mustDo(cluster.nodes[0], "/api/v1/create_log_stream", stream);
  await untilStatus(cluster.nodes[0], id, "active");
  const kills = killLeaders(context, { cluster, prefer: () => {} }, { everyMs: 20_000, awayMs: 3_000 });
  const headers = { "Content-Type": "application/json" };
  let rounds = 0;
  while (kills.length < 4) {
    // Those that ran on a node which was killed before it told of them are lost: one of some is not.
    const text = `round ${rounds}`;
    await until(async () => {
      const body = JSON.stringify({ path: "copied:fail", args: { text }, format: "json" });
      await anywhere(cluster, random, (node) => askAsAdmin(node, "/api/mutation", { method: "POST", body, headers }));
      return eventsOf(receiver, [hmacSecret]).some((event) => event.topic === "console" && event.message.includes(text));
    }, `a line of ${text}`);
    receiver.requests.length = 0;
    rounds += 1;
    await sleep(500);
  }
  const log = await anywhere(cluster, random, (node) => askAsAdmin(node, "/api/v1/list_audit_log_events?limit=100"));
  assert.deepEqual(JSON.parse(log).items.map(({ action }) => action), ["push_config", "create_integration"]);
  assert.equal(await anywhere(cluster, random, async (node) => (await valueOf(node, "query", "copied:all")).people.length), 0);
  context.diagnostic(`${rounds} rounds through ${kills.length} kills`);
});

test("exports, imports and pauses are in the audit log", LIMIT, async (context) => {
  const tidemark = await serveApp(context);
  const project = await pushApp(context, tidemark, "copied");
  await project.write("notes.jsonl", '{"text":"one","writer":null}\n');
  await project.mustRun("import", "--table", "notes", "notes.jsonl");
  await project.mustRun("export", "--path", "all.zip");
  await mustDo(tidemark, "/api/v1/pause_deployment", undefined, "POST");
  await mustDo(tidemark, "/api/v1/pause_deployment", undefined, "POST");
  await mustDo(tidemark, "/api/v1/unpause_deployment", undefined, "POST");
  // What consoles do is done by functions of the system.
  await valueOf(tidemark, "mutation", "_system/frontend/createTable:default", { table: "made" });
  await valueOf(tidemark, "mutation", "_system/frontend/addDocument:default", { table: "made", documents: [{ secret: "sour" }] });
  await valueOf(tidemark, "mutation", "_system/frontend/deploymentState:pause", {});
  await valueOf(tidemark, "mutation", "_system/frontend/deploymentState:pause", {});
  await valueOf(tidemark, "mutation", "_system/frontend/deploymentState:resume", {});
  const { items } = await mustDo(tidemark, "/api/v1/list_audit_log_events?limit=100");
  const actions = items.map(({ action }) => action).filter((action) => action !== "push_config");
  const paused = ["pause_deployment", "unpause_deployment"];
  assert.deepEqual(actions, ["snapshot_import", "request_export", ...paused, "create_table", "add_documents", ...paused]);
  const added = items.find(({ action }) => action === "add_documents");
  assert.deepEqual(added.metadata, { table_name: "made" });
  const pushed = items.find(({ action }) => action === "push_config");
  assert.deepEqual([pushed.actor.token_id, /npm-cli|node|undici/i.test(pushed.clientUserAgent ?? "")], ["dev", true], JSON.stringify(pushed));
  const { metadata } = items.find(({ action }) => action === "snapshot_import");
  assert.deepEqual([metadata.table_name, metadata.mode, metadata.format], ["notes", "requireEmpty", "jsonLines"]);
});
