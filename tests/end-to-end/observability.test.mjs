// What operators see: metrics, health, traces, and that dashboards and alarms speak of what there is.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync, readdirSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ConvexClient } from "convex/browser";
import { anyApi } from "convex/server";
import { WebSocket } from "ws";
import { startApart } from "./harness/apart.mjs";
import { whenOver } from "./harness/cleanup.mjs";
import { asQuery, dashboards, expressionsOf } from "./harness/dashboards.mjs";
import { asAdmin, callFunction, post } from "./harness/functions.mjs";
import { monitoringUrl, promtool, readMetrics, startCollector, total, withoutPrometheus } from "./harness/monitoring.mjs";
import { pushApp } from "./harness/project.mjs";
import { siteUrlOf, startTidemark, temporaryFolder } from "./harness/tidemark.mjs";

const { rows } = anyApi;
const LIMIT = { timeout: 600_000 };
const PATIENCE_MS = 120_000;
const repository = new URL("../../", import.meta.url).pathname;
const RULES = "deploy/alerts/tidemark.yaml";
const RULE_TESTS = "deploy/alerts/tests/tidemark.yaml";
const RUNBOOKS = join(repository, "docs/runbooks");

async function until(check, what) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await check();
    if (found) {
      return found;
    }
    assert.ok(Date.now() < deadline, `${what} did not come within ${PATIENCE_MS} ms`);
    await sleep(100);
  }
}

const scrape = async (url) => (await fetch(`${url}/metrics`)).text();

/** Tidemark with the app, its port for operators, and some of everything done. */
async function serveLoad(context) {
  const environment = { TIDEMARK_METRICS_PORT: "0" };
  const tidemark = await startTidemark(context, { environment, limits: { function: { user_time_ms_max: 200 } } });
  await pushApp(context, tidemark, "observed");
  const client = new ConvexClient(tidemark.url, { webSocketConstructor: WebSocket });
  whenOver(context, () => client.close());
  const seen = [];
  client.onUpdate(rows.list, {}, (list) => seen.push(list));
  const call = (kind, path, args, request) => callFunction(tidemark, kind, path, args, request);
  await Promise.all(Array.from({ length: 200 }, () => call("mutation", "rows:bump", { name: "hot" })));
  for (let number = 0; number < 5; number++) {
    assert.equal((await call("query", "rows:list")).body.status, "success");
    assert.equal((await call("mutation", "rows:refuse")).body.status, "error");
    await client.mutation(rows.bump, { name: "by the client" });
  }
  assert.match((await call("query", "rows:spin")).body.errorMessage, /timed out/);
  await client.mutation(rows.bumpLater, { name: "later" });
  assert.equal((await fetch(`${await siteUrlOf(tidemark)}/teapot`)).status, 418);
  const { body } = await call("mutation", "rows:uploadUrl");
  const upload = await fetch(body.value, { method: "POST", body: "some bytes", headers: { "Content-Type": "text/plain" } });
  assert.equal(upload.status, 200);
  await until(() => seen.at(-1)?.some(({ name }) => name === "later"), "what the schedule wrote");
  const url = await monitoringUrl(tidemark);
  // It is counted when it is over, which its writes are before.
  await until(async () => total(readMetrics(await scrape(url)), "tidemark_scheduler_runs_total") === 1, "the schedule's end");
  return { tidemark, url };
}

/** All metrics that expressions name, the parts of histograms by the histogram. */
function metricsIn(expressions) {
  const names = expressions.flatMap((expression) => expression.match(/\btidemark_[a-z0-9_]+/g) ?? []);
  return [...new Set(names.map((name) => name.replace(/_(bucket|sum|count)$/, "")))];
}

const rules = () => readFileSync(join(repository, RULES), "utf8");

test("metrics tell what was done, in Prometheus' format, and dashboards and alarms name no others", { ...LIMIT, skip: withoutPrometheus }, async (context) => {
  const { tidemark, url } = await serveLoad(context);
  const response = await fetch(`${url}/metrics`);
  assert.match(response.headers.get("content-type"), /^text\/plain; version=0\.0\.4/);
  const text = await response.text();
  promtool(["check", "metrics"], { input: text });
  const metrics = readMetrics(text);

  await context.test("requests by what was asked for and what became of it", () => {
    const requests = (api, outcome) => total(metrics, "tidemark_gateway_requests_total", { api, outcome });
    assert.ok(requests("query", "answered") >= 5);
    assert.equal(requests("query", "threw"), 1);
    assert.equal(requests("mutation", "threw"), 5);
    assert.equal(requests("session_mutation", "answered"), 6);
    assert.equal(requests("http_action", "answered"), 1, "418 is the app's answer");
    assert.equal(requests("upload", "answered"), 1);
    assert.ok(requests("push", "answered") >= 2);
    assert.ok(total(metrics, "tidemark_gateway_request_seconds", { api: "mutation" }) >= 200);
  });

  await context.test("commits, their stages and the disk", () => {
    const committed = total(metrics, "tidemark_log_commits_total", { outcome: "committed" });
    assert.ok(committed >= 200, `${committed}`);
    assert.equal(total(metrics, "tidemark_log_commit_seconds"), total(metrics, "tidemark_log_commits_total"));
    for (const stage of ["validate", "queue", "replicate", "apply"]) {
      assert.ok(total(metrics, "tidemark_log_commit_stage_seconds", { stage }) > 0, stage);
    }
    assert.ok(total(metrics, "tidemark_log_sync_seconds") > 0);
    assert.equal(total(metrics, "tidemark_raft_leads", { group: "1" }), 1);
    assert.ok(total(metrics, "tidemark_raft_term", { group: "1" }) >= 1);
    assert.equal(total(metrics, "tidemark_raft_groups_without_leader"), 0);
    assert.equal(total(metrics, "tidemark_raft_leader_changes_total", { group: "1" }), 1);
  });

  await context.test("functions, isolates, live queries and schedules", () => {
    assert.equal(total(metrics, "tidemark_runner_kills_total", { reason: "time" }), 1);
    assert.equal(total(metrics, "tidemark_runner_kills_total"), 1);
    assert.ok(total(metrics, "tidemark_runner_isolates_started_total") > 0);
    assert.ok(total(metrics, "tidemark_runner_isolates_reset_total") > 0);
    assert.ok(total(metrics, "tidemark_runner_images_size_bytes") > 0);
    const conflicts = total(metrics, "tidemark_runner_conflicts_total");
    assert.equal(total(metrics, "tidemark_runner_conflicts_by_table_total"), conflicts);
    assert.equal(total(metrics, "tidemark_fanout_sessions"), 1);
    assert.equal(total(metrics, "tidemark_fanout_subscriptions"), 1);
    assert.ok(total(metrics, "tidemark_fanout_wait_seconds") > 0);
    assert.equal(total(metrics, "tidemark_scheduler_runs_total"), 1);
    assert.equal(total(metrics, "tidemark_scheduler_delay_seconds"), 1);
    assert.ok(total(metrics, "tidemark_blob_requests_total", { outcome: "done" }) > 0);
    assert.equal(total(metrics, "tidemark_deploy_requests_total", { step: "finish", outcome: "done" }), 1);
  });

  await context.test("how much of each limit is used", () => {
    const sockets = { limit: "sync.connections_max", end: "refuses" };
    assert.equal(total(metrics, "tidemark_limit_used", sockets), 1);
    assert.equal(total(metrics, "tidemark_limit_max", sockets), 50_000);
    for (const [labels, used] of metrics.get("tidemark_limit_used").series) {
      assert.ok(used <= total(metrics, "tidemark_limit_max", labels), `${labels.limit}: ${used}`);
    }
  });

  await context.test("whatever clients ask for, there are no more series", async () => {
    const names = Array.from({ length: 300 }, (_, number) => `name${number}`);
    await Promise.all(
      names.flatMap((name) => [
        fetch(`${tidemark.url}/${name}`),
        callFunction(tidemark, "query", `${name}:list`),
        post(tidemark, "/api/query", "{", { headers: { Authorization: `Convex ${name}|00` } }),
        fetch(`${tidemark.url}/api/storage/${name}`),
      ]),
    );
    const after = readMetrics(await scrape(url));
    for (const [name, { series }] of after) {
      const before = metrics.get(name).series.length;
      // Codes of errors are as many as there are, and all of them are listed.
      const more = name === "tidemark_gateway_errors_total" ? 10 : 0;
      assert.ok(series.length <= before + more, `${name} has ${series.length} series, and had ${before}`);
    }
    assert.ok(total(after, "tidemark_gateway_requests_total", { api: "other" }) >= 300);
    const asked = names.filter((name) => JSON.stringify([...after]).includes(name));
    assert.deepEqual(asked, [], "names of clients are in the metrics");
  });

  await context.test("a dashboard names only what is served, and promtool reads each of its expressions", async () => {
    const folder = await temporaryFolder(context);
    for (const [name, dashboard] of dashboards()) {
      const expressions = expressionsOf(dashboard);
      assert.ok(expressions.length > 10, name);
      const missing = metricsIn(expressions).filter((metric) => !metrics.has(metric));
      assert.deepEqual(missing, [], `${name} names metrics that are not served`);
      const file = join(folder, `${name}.yaml`);
      const records = expressions.map((expression, number) => ({ record: `panel:${number}`, expr: asQuery(expression) }));
      // JSON is YAML.
      await writeFile(file, JSON.stringify({ groups: [{ name, rules: records }] }));
      promtool(["check", "rules", "--lint=none", file]);
    }
  });

  await context.test("an alarm names only what is served", () => {
    const missing = metricsIn([rules()]).filter((metric) => !metrics.has(metric));
    assert.deepEqual(missing, []);
  });

  await context.test("every metric that is served stands on a dashboard or in an alarm", () => {
    const named = metricsIn([rules(), ...dashboards().map(([, dashboard]) => JSON.stringify(dashboard))]);
    const unseen = [...metrics.keys()].filter((metric) => !named.includes(metric));
    // What only benchmarks and people who look for something need.
    const details = /_(actions|http_(requests|responses)_bytes|action_orphans|results_removed|streams|uploads(_kept|_cut_off)?|reads|objects_swept|sweeps_failed|start_time_seconds|threads|request_seconds)(_total)?$/;
    assert.deepEqual(unseen.filter((metric) => !details.test(metric)), []);
  });
});

test("alarms come when they should and not else, and each has its page", { ...LIMIT, skip: withoutPrometheus }, () => {
  promtool(["check", "rules", "--lint=all", "--lint-fatal", RULES], { folder: repository });
  promtool(["test", "rules", RULE_TESTS], { folder: repository });
  const text = rules();
  const alarms = [...text.matchAll(/- alert: (\w+)/g)].map(([, name]) => name);
  const tests = readFileSync(join(repository, RULE_TESTS), "utf8");
  const pages = [...text.matchAll(/runbook: docs\/runbooks\/(\S+)/g)].map(([, name]) => name);
  assert.equal(pages.length, alarms.length, "each alarm names a page");
  const comes = (alarm) => new RegExp(`alertname: ${alarm}\\n\\s+exp_alerts:`).test(tests);
  assert.deepEqual(alarms.filter((alarm) => !comes(alarm)), [], "alarms that no test sees come");
  const written = readdirSync(RUNBOOKS).filter((name) => name !== "README.md");
  assert.deepEqual([...new Set(pages)].sort(), written.sort());
  for (const [index, page] of pages.entries()) {
    const content = readFileSync(join(RUNBOOKS, page), "utf8");
    for (const part of [`\`${alarms[index]}\``, "## What it means", "## How to see it", "## What to do"]) {
      assert.ok(content.includes(part), `${page} lacks ${part}`);
    }
  }
});

test("a process is live and ready, and is no more ready once it stops", LIMIT, async (context) => {
  const tidemark = await startTidemark(context, {
    environment: { TIDEMARK_METRICS_PORT: "0" },
    allowedInLog: [/some requests had not ended when the time for stopping was over/],
  });
  const url = await monitoringUrl(tidemark);
  const ask = async (path) => {
    const response = await fetch(`${url}${path}`);
    return [response.status, await response.text()];
  };
  assert.deepEqual(await ask("/livez"), [200, "live\n"]);
  const roles = ["blob", "deploy", "fanout", "files", "gateway", "runner", "scheduler", "search", "sequencer", "txlog"];
  const expected = ["ready", ...roles.map((role) => `${role}: ready`), ""].join("\n");
  assert.deepEqual(await ask("/readyz"), [200, expected]);
  assert.equal((await fetch(`${tidemark.url}/readyz`)).status, 404, "clients don't see it");

  // A request whose body does not come keeps the gateway from stopping at once.
  const socket = connect(tidemark.port, "127.0.0.1");
  whenOver(context, () => socket.destroy());
  await once(socket, "connect");
  socket.write("POST /api/query HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{");
  socket.on("error", () => {});
  await sleep(500);
  const stopped = tidemark.stop();
  const [status, text] = await until(async () => {
    const answer = await ask("/readyz");
    return answer[0] !== 200 && answer;
  }, "that it is not ready");
  assert.equal(status, 503);
  assert.match(text, /^not ready\n/);
  assert.match(text, /^gateway: stopping$/m);
  assert.match(text, /^txlog: ready$/m, "it stops after those who need it");
  assert.deepEqual(await ask("/livez"), [200, "live\n"]);
  socket.destroy();
  assert.equal(await stopped, 0);
});

test("a trace goes from the edge to the disk and on to other servers, if somebody asks for it", LIMIT, async (context) => {
  const collector = await startCollector(context);
  const file = join(await temporaryFolder(context), "tidemark.toml");
  await writeFile(file, `[telemetry]\notlp_endpoint = "${collector.url}"\nsample_ratio = 0.0\nfetches = true\n`);
  const tidemark = await startTidemark(context, { environment: { TIDEMARK_CONFIG: file } });
  await pushApp(context, tidemark, "observed");

  const trace = "0af7651916cd43dd8448eb211c80319c";
  const traceparent = `00-${trace}-b7ad6b7169203331-01`;
  const traced = { headers: { traceparent } };
  assert.equal((await callFunction(tidemark, "mutation", "rows:bump", { name: "unseen" })).body.status, "success");
  assert.equal((await callFunction(tidemark, "mutation", "rows:bump", { name: "seen" }, traced)).body.status, "success");
  const unsampled = { headers: { traceparent: traceparent.replace(/01$/, "00") } };
  assert.equal((await callFunction(tidemark, "mutation", "rows:bump", { name: "unseen" }, unsampled)).body.status, "success");

  const server = createServer((request, response) => response.end(request.headers.traceparent ?? "nothing"));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  whenOver(context, () => server.close());
  const url = `http://127.0.0.1:${server.address().port}/`;
  const asked = await callFunction(tidemark, "action", "rows:ask", { url }, { headers: { traceparent: traceparent.replace("319c", "319d") } });
  assert.match(asked.body.value, new RegExp(`^00-${trace.replace("319c", "319d")}-[0-9a-f]{16}-01$`));
  assert.equal((await callFunction(tidemark, "action", "rows:ask", { url })).body.value, "nothing");

  const spans = await until(() => {
    const of = collector.spans.filter((span) => span.trace === trace);
    return of.some(({ name }) => name === "request") && of;
  }, "the trace of the mutation");
  const find = (name) => {
    const found = spans.filter((span) => span.name === name);
    assert.equal(found.length, 1, `${name}: ${JSON.stringify(spans, null, 1)}`);
    return found[0];
  };
  const [request, call, commit, validate, sync] = ["request", "call", "commit", "validate", "sync"].map(find);
  assert.equal(request.parent, "b7ad6b7169203331");
  assert.equal(call.parent, request.span);
  assert.equal(commit.parent, call.span);
  assert.equal(validate.parent, commit.span);
  assert.equal(sync.parent, commit.span);
  for (const span of [request, call]) {
    assert.ok(span.attributes.deployment, span.name);
    assert.match(span.attributes.request_id, /^[0-9a-f]{16}$/, span.name);
  }
  assert.equal(call.attributes.request_id, request.attributes.request_id);
  assert.equal(commit.attributes.deployment, request.attributes.deployment);
  assert.equal(request.kind, 2, "a server's");
  assert.equal(request.resource["service.name"], "tidemark");
  for (const [inner, outer] of [[call, request], [commit, call], [sync, commit]]) {
    const isWithin = inner.began_ns >= outer.began_ns && inner.ended_ns <= outer.ended_ns;
    assert.ok(isWithin, `${inner.name} is within ${outer.name}`);
  }
  const isOfAction = ({ trace: of, name }) => of === trace.replace("319c", "319d") && name === "request";
  await until(() => collector.spans.some(isOfAction), "the trace of the action");
  // The command line tool asks for a trace of each push.
  const begunHere = collector.spans.filter((span) => span.name === "request" && span.parent === "");
  assert.deepEqual(begunHere, [], "traces that nobody asked for");
  const traces = collector.spans.map((span) => span.trace);
  assert.equal(new Set(traces).size, 3, "the push, the mutation and the action");
});

test("each process of a cluster tells of what it does, and a trace goes through all of them", LIMIT, async (context) => {
  const collector = await startCollector(context);
  const settings = `[telemetry]\notlp_endpoint = "${collector.url}"\nsample_ratio = 0.0\n`;
  const rest = ["runner", "fanout", "scheduler", "deploy", "blob"];
  const cluster = await startApart(context, [["txlog"], ["txlog"], ["txlog"], rest, ["gateway"]], { settings });
  await pushApp(context, cluster, "observed");
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const traced = await callFunction(cluster, "mutation", "rows:bump", { name: "seen" }, { headers: { traceparent } });
  assert.equal(traced.body.status, "success");

  // What each of them counts, and what only the others do.
  const services = {
    txlog: ["log", "raft", "store"],
    rest: ["runner", "fanout", "scheduler", "deploy", "blob", "files"],
    gateway: ["gateway"],
  };
  const names = ["txlog", "txlog", "txlog", "rest", "gateway"];
  for (const [index, name] of names.entries()) {
    const url = cluster.monitoring[index];
    const ready = await until(async () => {
      const answer = await fetch(`${url}/readyz`);
      const text = await answer.text();
      return answer.status === 200 && text;
    }, `that ${name} is ready`);
    assert.equal(/^gateway: ready$/m.test(ready), name === "gateway", ready);
    assert.equal(/^txlog: ready$/m.test(ready), name === "txlog", ready);
    const metrics = [...readMetrics(await scrape(url)).keys()];
    for (const [other, parts] of Object.entries(services)) {
      const isThere = (part) => metrics.some((metric) => metric.startsWith(`tidemark_${part}_`));
      assert.deepEqual(parts.filter(isThere), other === name ? parts : [], `${name} tells of ${other}`);
    }
  }
  const ofLogs = await Promise.all(cluster.monitoring.slice(0, 3).map(async (url) => readMetrics(await scrape(url))));
  // Another one may lead the group of the directory.
  const group = { group: "1" };
  const leaders = ofLogs.filter((metrics) => total(metrics, "tidemark_raft_leads", group) === 1);
  assert.equal(leaders.length, 1);
  const series = leaders[0].get("tidemark_raft_replica_lag").series;
  const replicas = series.filter(([labels]) => labels.group === "1").map(([{ replica }]) => replica);
  assert.equal(new Set(replicas).size, 2, "the leader tells of the others");

  const spans = await until(() => {
    const found = collector.spans.filter((span) => span.trace === traceparent.split("-")[1]);
    return ["request", "commit"].every((name) => found.some((span) => span.name === name)) && found;
  }, "the trace of the mutation");
  // The parts that the processes send come at different times.
  const way = await until(() => {
    const found = collector.spans.filter((span) => span.trace === spans[0].trace);
    const path = [];
    for (let span = found.find(({ name }) => name === "commit"); span; span = found.find((outer) => outer.span === span.parent)) {
      path.unshift(span.name);
    }
    return path[0] === "request" && path;
  }, "the whole of it");
  assert.deepEqual(way, ["request", "rpc", "call", "rpc", "commit"]);
});

test("a part of the requests is traced without being asked for", LIMIT, async (context) => {
  const collector = await startCollector(context);
  const environment = { TIDEMARK_OTLP_ENDPOINT: collector.url, TIDEMARK_TRACE_SAMPLE_RATIO: "0.25" };
  const tidemark = await startTidemark(context, { environment });
  for (let number = 0; number < 40; number++) {
    await fetch(`${tidemark.url}/version`);
  }
  // What is left is sent when it stops.
  assert.equal(await tidemark.stop(), 0);
  const requests = await until(() => {
    const found = collector.spans.filter(({ name }) => name === "request");
    return found.length >= 10 && found;
  }, "ten traces");
  assert.equal(requests.length, 10);
  assert.equal(new Set(requests.map(({ trace }) => trace)).size, 10);
});

test("a collector that is not there harms nobody", LIMIT, async (context) => {
  const environment = { TIDEMARK_OTLP_ENDPOINT: "http://127.0.0.1:9", TIDEMARK_TRACE_SAMPLE_RATIO: "1" };
  const tidemark = await startTidemark(context, { environment, allowedInLog: [/opentelemetry|the last spans were not sent/] });
  for (let number = 0; number < 20; number++) {
    assert.equal((await fetch(`${tidemark.url}/version`, asAdmin(tidemark))).status, 200);
  }
  assert.equal(await tidemark.stop(), 0);
});
