// The dashboards and alarms of deploy/ over a real Prometheus that scrapes three zones under load. UPDATE_SCREENSHOTS=1 writes docs/images.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ConvexClient } from "convex/browser";
import { anyApi } from "convex/server";
import { WebSocket } from "ws";
import { launchBrowser } from "./harness/browser.mjs";
import { whenOver } from "./harness/cleanup.mjs";
import { startCluster } from "./harness/cluster.mjs";
import { asQuery, askFor, dashboards, draw, expressionsOf, panelsOf, shapeErrors } from "./harness/dashboards.mjs";
import { callFunction, post } from "./harness/functions.mjs";
import { monitoringUrl, startPrometheus, withoutPrometheus } from "./harness/monitoring.mjs";
import { pushApp } from "./harness/project.mjs";

const { rows } = anyApi;
const LIMIT = { timeout: 600_000 };
const repository = new URL("../../", import.meta.url).pathname;
const RULES = join(repository, "deploy/alerts/tidemark.yaml");
const IMAGES = join(repository, "docs/images");
/** A minute more makes lines of which one sees something. */
const takesPictures = process.env.UPDATE_SCREENSHOTS === "1";
const LOAD_MS = takesPictures ? 150_000 : 25_000;
/** What Grafana would put for $__rate_interval at one scrape a second: four of them, and some more to be smooth. */
const RATE = "10s";
const PAUSE_MS = 20;
const LOOKS_MAX = 60;

/** All selectors of an expression: metrics with what they choose by labels. */
const selectorsIn = (expression) => asQuery(expression).match(/\btidemark_[a-z0-9_]+(\{[^}]*\})?/g) ?? [];

/** Some of everything at all three nodes, until the time is over. */
async function load(context, nodes) {
  const server = createServer((request, response) => response.end("answered")).listen(0, "127.0.0.1");
  await once(server, "listening");
  whenOver(context, () => server.close());
  const url = `http://127.0.0.1:${server.address().port}/`;
  const clients = [];
  for (const { url: address } of nodes) {
    const client = new ConvexClient(address, { webSocketConstructor: WebSocket });
    whenOver(context, () => client.close());
    client.onUpdate(rows.list, {}, () => {});
    clients.push(client);
  }
  const deadline = Date.now() + LOAD_MS;
  const repeat = async (pauseMs, work) => {
    for (let turn = 0; Date.now() < deadline; turn++) {
      const node = nodes[turn % nodes.length];
      await work(node, (kind, path, args) => callFunction(node, kind, path, args), turn);
      // Waves, so that the lines of a picture are not straight.
      await sleep(pauseMs * (1.5 + Math.sin((deadline - Date.now()) / 8_000)));
    }
  };
  const upload = async (_, call) => {
    const { body } = await call("mutation", "rows:uploadUrl");
    const headers = { "Content-Type": "text/plain" };
    assert.equal((await fetch(body.value, { method: "POST", body: "x".repeat(10_000), headers })).status, 200);
  };
  await Promise.all([
    repeat(PAUSE_MS, (_, call, turn) => call("mutation", "rows:bump", { name: `row ${turn % 40}` })),
    ...Array.from({ length: 4 }, () => repeat(5 * PAUSE_MS, (_, call) => call("mutation", "rows:bump", { name: "hot" }))),
    ...Array.from({ length: 2 }, () => repeat(PAUSE_MS, (_, call) => call("query", "rows:list"))),
    repeat(10 * PAUSE_MS, (_, call) => call("mutation", "rows:bumpLater", { name: "later" })),
    repeat(15 * PAUSE_MS, (_, call) => call("action", "rows:ask", { url })),
    repeat(25 * PAUSE_MS, (_, call) => call("mutation", "rows:refuse")),
    repeat(25 * PAUSE_MS, (node) => post(node, "/api/query", "{")),
    repeat(5 * PAUSE_MS, (_, __, turn) => clients[turn % clients.length].mutation(rows.bump, { name: "by a client" })),
    repeat(25 * PAUSE_MS, upload),
    repeat(15 * PAUSE_MS, async ({ site }) => assert.equal((await fetch(`${site}/teapot`)).status, 418)),
  ]);
}

test("Grafana's types know every option of the dashboards", LIMIT, async (context) => {
  assert.equal(await shapeErrors(context), "");
});

test("each panel shows what three zones under load tell, and no alarm comes", { ...LIMIT, skip: withoutPrometheus }, async (context) => {
  const { nodes } = await startCluster(context);
  const addresses = await Promise.all(nodes.map(async (node) => [node.zone, new URL(await monitoringUrl(node)).host]));
  const prometheus = await startPrometheus(context, Object.fromEntries(addresses), [RULES]);
  const start = Math.ceil(Date.now() / 1_000);
  await pushApp(context, nodes[0], "observed");
  // What was counted before the first look is no increase, so there is another push in the middle.
  const again = sleep(LOAD_MS / 3).then(() => pushApp(context, nodes[0], "observed"));
  await Promise.all([load(context, nodes), again]);
  const window = { start, end: Math.floor(Date.now() / 1_000), step: 1 };
  // The last look at one may have taken too long.
  let health;
  for (let looks = 0; looks < LOOKS_MAX && !(health?.join() === "up,up,up"); looks++) {
    await sleep(looks && 1_000);
    health = (await prometheus.targets()).map(({ health }) => health);
  }
  assert.deepEqual(health, ["up", "up", "up"]);

  await context.test("what dashboards and alarms select is there", async () => {
    const expressions = [readFileSync(RULES, "utf8"), ...dashboards().flatMap(([, dashboard]) => expressionsOf(dashboard))];
    const selectors = [...new Set(expressions.flatMap(selectorsIn))];
    assert.ok(selectors.length > 100, `${selectors.length}`);
    const found = await Promise.all(selectors.map(async (selector) => [selector, (await prometheus.series(selector)).length]));
    assert.deepEqual(found.filter(([, series]) => series === 0).map(([selector]) => selector), [], "nothing is served that these select");
    for (const wrong of ["tidemark_log_commit_total", 'tidemark_log_commits_total{outcome="comitted"}']) {
      assert.equal((await prometheus.series(wrong)).length, 0, wrong);
    }
  });

  await context.test("alarms are evaluated, and none comes", async () => {
    const rules = await prometheus.rules();
    assert.ok(rules.length > 15, `${rules.length}`);
    const bad = rules.filter(({ health, state }) => health !== "ok" || state === "firing");
    assert.deepEqual(bad.map(({ name, health, state, lastError }) => ({ name, health, state, lastError })), []);
  });

  const browser = await launchBrowser(context);
  for (const [name, dashboard] of dashboards()) {
    await context.test(`panels of ${name}`, async (part) => {
      const answers = {};
      for (const panel of panelsOf(dashboard)) {
        answers[panel.id] = await askFor(panel, prometheus, window, { rate: RATE });
        for (const [index, { expr }] of panel.targets.entries()) {
          // What leaves out zeros may have nothing to show, but not all queries of a panel.
          const isThere = (series) => series.length > 0;
          const mayBeEmpty = / > 0$/.test(expr) && answers[panel.id].some(isThere);
          assert.ok(isThere(answers[panel.id][index]) || mayBeEmpty, `${panel.title} has no data: ${expr}`);
        }
      }
      const page = await draw(part, browser, dashboard, answers, window);
      assert.equal(await page.locator("section:not(.row)").count(), panelsOf(dashboard).length);
      if (takesPictures) {
        await page.screenshot({ path: join(IMAGES, `dashboard-${name}.png`) });
      }
    });
  }
});
