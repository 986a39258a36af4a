// Hundreds of things that a function may try, each to its end: an error by its limit or a harmless result, and a server that goes on
// after it. The tables are in hostile/, one for each kind of function.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { GROUPS as ACTIONS } from "./hostile/actions.mjs";
import * as clients from "./hostile/clients.mjs";
import { LIMITS, NEVER, WAIT, throwsData } from "./hostile/endings.mjs";
import { HELPERS as HTTP_HELPERS, GROUPS as HTTP_ACTIONS } from "./hostile/http-actions.mjs";
import { HELPERS as NODE_HELPERS, GROUPS as NODE_ACTIONS } from "./hostile/node-actions.mjs";
import { startOutside } from "./hostile/outside.mjs";
import { GROUPS as QUERIES } from "./hostile/queries.mjs";
import { whenOver } from "./harness/cleanup.mjs";
import { asAdmin, callFunction, post } from "./harness/functions.mjs";
import { processesOf } from "./harness/processes.mjs";
import { createProject } from "./harness/project.mjs";
import { startTidemark, temporaryFolder } from "./harness/tidemark.mjs";

const LIMIT = { timeout: 600_000 };
/** How long is waited for what must come, on a machine that is slow. */
const WAIT_MS_MAX = 240_000;
/** Of those that end by a time so many run at once: of queries fewer than there are threads for one deployment. */
const TOGETHER = { query: 4, action: 8, http: 8, native: 8 };

const file = { after };

/** All cases of a table, by their groups. `kind` is that of its functions. */
const casesOf = (table, kind) =>
  Object.entries(table).map(([group, rows]) => ({
    group,
    cases: rows.map(([sentence, code, expected, client = "asks"]) => ({
      sentence,
      expected,
      client,
      ...(typeof code === "string" ? { kind, body: code } : code),
    })),
  }));

const groups = [...casesOf(QUERIES, "query"), ...casesOf(ACTIONS, "action"), ...casesOf(HTTP_ACTIONS, "http"), ...casesOf(NODE_ACTIONS, "native")];

groups
  .flatMap(({ cases }) => cases)
  .forEach((one, index) => {
    one.name = `case${index}`;
    one.error = one.expected instanceof RegExp ? one.expected : one.expected.error;
    one.server = one.error && /timed out/.test(one.error.source) ? "short" : "long";
  });

const functionsOf = (wanted) => groups.flatMap(({ cases }) => cases).filter(({ kind }) => wanted.includes(kind));

const CASES = `
import { action, mutation, query } from "./_generated/server";
export const nothing = query(() => null);
export const nothingAtAll = action(async () => null);
export const large = query(() => "x".repeat(1 << 20));
export const throws = query(() => { throw new Error("it throws"); });
export const throwsNoValue = query(() => { ${throwsData('"}{"')} });
export const write = mutation(async (ctx) => { await ctx.db.insert("written", {}); });
export const loop = query(() => { for (;;); });
export const loopAction = action(async () => { for (;;); });
export const waits = action(async (_ctx, { outside }) => { await fetch(outside + "/silent"); });
export const endless = query((ctx) => ctx.runQuery("cases:endless", {}));
export const itself = action((ctx) => ctx.runAction("cases:itself", {}));
export const twiceItself = action((ctx) => Promise.all([ctx.runAction("cases:twiceItself", {}), ctx.runAction("cases:twiceItself", {})]));
export const again = mutation(async (ctx) => { await ctx.scheduler.runAfter(0, "cases:again", {}); });
export const againInAction = action(async (ctx) => { await ctx.scheduler.runAfter(0, "cases:againInAction", {}); });
export const more = mutation(async (ctx, { generations }) => {
  await ctx.db.insert("born", {});
  for (let child = 0; generations > 0 && child < 2; child++) await ctx.scheduler.runAfter(0, "cases:more", { generations: generations - 1 });
});
export const born = query(async (ctx) => (await ctx.db.query("born").collect()).length);
export const states = query(async (ctx, { name }) => {
  const latest = await ctx.db.system.query("_scheduled_functions").order("desc").take(100);
  return latest.filter((job) => job.name === name).map(({ state }) => state.kind);
});
export const hello = action(async () => "hello");
${functionsOf(["query", "mutation", "action"])
  .map(({ name, kind, body }) => `export const ${name} = ${kind}(async (ctx, { outside }) => { ${body} });`)
  .join("\n")}
`;

/** HTTP actions get the address from the request, which else is the router's alone. */
const HTTP = `
import { httpRouter } from "convex/server";
import { httpAction } from "./_generated/server";
${HTTP_HELPERS}
const http = httpRouter();
const route = (path, handle) =>
  http.route({ path, method: "POST", handler: httpAction((ctx, request) => handle(ctx, request, new URL(request.url).searchParams.get("outside"))) });
route("/hello", async () => new Response("hello"));
${functionsOf(["http"])
  .map(({ name, body }) => `route("/${name}", async (ctx, request, outside) => { ${body} });`)
  .join("\n")}
export default http;
`;

const NATIVE = `"use node";
import { action } from "./_generated/server";
${NODE_HELPERS}
export const itself = action((ctx) => ctx.runAction("native:itself", {}));
export const hello = action(async () => "hello");
${functionsOf(["native"])
  .map(({ name, body }) => `export const ${name} = action(async (ctx, { outside }) => { ${body} });`)
  .join("\n")}
`;

async function startWith(limits) {
  const configuration = join(await temporaryFolder(file), "tidemark.toml");
  await writeFile(configuration, limits);
  // What has no end is under way when the server stops.
  const allowedInLog = [/cancelled actions that were under way/];
  const tidemark = await startTidemark(file, { environment: { TIDEMARK_CONFIG: configuration }, allowedInLog });
  const files = { "convex/cases.js": CASES, "convex/http.js": HTTP, "convex/native.js": NATIVE };
  const project = await createProject(file, tidemark, { app: "hostile", files });
  await project.mustRun("deploy", "--typecheck", "disable");
  return { tidemark, site: await siteOf(tidemark), requests: followRequests(tidemark) };
}

async function siteOf(tidemark) {
  const response = await fetch(`${tidemark.url}/api/v1/get_canonical_urls`, asAdmin(tidemark));
  return (await response.json()).convexSiteUrl;
}

/** The entries of requests in the function log, by their routes, as they come. */
function followRequests(tidemark) {
  const entries = new Map();
  let asking;
  const follow = async () => {
    for (let cursor = 0; ; ) {
      asking = new AbortController();
      const page = await fetch(`${tidemark.url}/api/stream_function_logs?cursor=${cursor}`, { ...asAdmin(tidemark), signal: asking.signal });
      const { entries: newer, newCursor } = await page.json();
      newer.filter(({ udfType }) => udfType === "HttpAction").forEach((entry) => entries.set(entry.identifier, entry));
      cursor = newCursor;
    }
  };
  const following = follow().catch((error) => assert.equal(error.name, "AbortError", error.stack));
  whenOver(file, () => {
    asking.abort();
    return following;
  });
  return entries;
}

const outside = await startOutside(file);
const servers = { short: await startWith(LIMITS.short), long: await startWith(LIMITS.long) };

async function until(condition, what) {
  const deadline = Date.now() + WAIT_MS_MAX;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, `not within ${WAIT_MS_MAX} ms: ${what}`);
    await sleep(20);
  }
}

/** What a case of each kind comes to. */
const run = {
  async query({ name, kind, expected }, { tidemark }) {
    const { status, body } = await callFunction(tidemark, kind, `cases:${name}`, { outside: outside.url });
    assertOutcome(status, body, expected);
  },
  async native({ name, expected }, { tidemark }) {
    const { status, body } = await callFunction(tidemark, "action", `native:${name}`, { outside: outside.url });
    assertOutcome(status, body, expected);
  },
  async http({ name, expected, error, client }, { site, requests }) {
    let end;
    const ended = new Promise((resolve) => (end = resolve));
    const seen = clients[client](`${site}/${name}?outside=${outside.url}`, ended);
    const isLogged = () => until(() => requests.has(`POST /${name}`), "its entry in the log").finally(end);
    if (expected instanceof RegExp) {
      const [text] = await Promise.all([seen, isLogged()]);
      assert.match(text, /^500 /);
      assert.match(text, expected);
      return;
    }
    const [answer] = await Promise.all([seen, isLogged()]);
    if (expected.answer) {
      assert.equal(answer.slice(0, 1_000), expected.answer);
    }
    assert.match(requests.get(`POST /${name}`).error ?? "", error);
  },
};
run.mutation = run.query;
run.action = run.query;

function assertOutcome(status, body, expected) {
  assert.equal(status, 200, JSON.stringify(body).slice(0, 1_000));
  if (expected instanceof RegExp) {
    assert.match(body.errorMessage?.slice(0, 10_000) ?? "", expected, `it ended with ${JSON.stringify(body.value)?.slice(0, 200)}`);
  } else {
    assert.deepEqual(body.value, expected.value, body.errorMessage?.slice(0, 1_000));
  }
}

/** The server answers others, with nothing of the case in them. */
async function assertUntouched({ tidemark, site }, kind) {
  const { body } = await callFunction(tidemark, "query", "hostile:hello", { name: "harbour" });
  assert.deepEqual([body.status, body.value], ["success", "hello harbour"]);
  const left = await callFunction(tidemark, "query", "hostile:lookForPoison");
  assert.deepEqual(left.body.value, [], "what the call left behind");
  if (kind === "action") {
    assert.equal((await callFunction(tidemark, "action", "cases:hello")).body.value, "hello");
  } else if (kind === "http") {
    assert.equal(await clients.asks(`${site}/hello`), "200 hello");
  } else if (kind === "native") {
    // A busy machine may not begin a process within the short time.
    await until(async () => (await callFunction(tidemark, "action", "native:hello")).body.value === "hello", "an answer from Node.js");
  }
}

for (const { group, cases } of groups) {
  const only = (...errors) => cases.every(({ error }) => errors.includes(error));
  const endByTime = cases.every(({ server }) => server === "short");
  // Those that wait take nothing of the others' time, those that compute take their turns.
  const concurrency = only(WAIT, NEVER) ? cases.length : endByTime ? TOGETHER[cases[0].kind] : 1;
  describe(group, { concurrency }, () => {
    for (const one of cases) {
      test(one.sentence, LIMIT, async () => {
        const server = servers[one.server];
        await run[one.kind](one, server);
        await assertUntouched(server, one.kind);
      });
    }
  });
}

test("there are hundreds of cases, and none is there twice", () => {
  const sentences = groups.flatMap(({ group, cases }) => cases.map(({ sentence }) => `${group}: ${sentence}`));
  assert.ok(sentences.length > 300);
  assert.equal(new Set(sentences).size, sentences.length);
});

for (const [what, name] of [["mutation", "again"], ["action", "againInAction"]]) {
  test(`a scheduled ${what} that schedules itself holds up nobody, and ends when it is told to`, LIMIT, async () => {
    const { tidemark } = servers.long;
    const udfPath = `cases.js:${name}`;
    const states = async () => (await callFunction(tidemark, "query", "cases:states", { name: udfPath })).body.value;
    await callFunction(tidemark, what, `cases:${name}`);
    for (let call = 0; call < 20; call++) {
      await assertUntouched(servers.long, "action");
    }
    await until(async () => (await states()).filter((kind) => kind === "success").length >= 20, "it has run many times");
    const cancelled = await post(tidemark, "/api/cancel_all_jobs", JSON.stringify({ udfPath }), asAdmin(tidemark));
    assert.equal(cancelled.status, 200);
    const kinds = await states();
    assert.ok(!kinds.includes("pending") && !kinds.includes("inProgress"), "none is left");
  });
}

test("functions that schedule two of their kind run as often as they may, beside others", LIMIT, async () => {
  const { tidemark } = servers.long;
  await callFunction(tidemark, "mutation", "cases:more", { generations: 7 });
  const born = async () => (await callFunction(tidemark, "query", "cases:born")).body.value;
  while ((await born()) < 2 ** 8 - 1) {
    await assertUntouched(servers.long, "mutation");
  }
  await sleep(200);
  assert.equal(await born(), 2 ** 8 - 1, "each once");
});

test("nothing that a call leaves behind reaches the next one", LIMIT, async () => {
  const { tidemark } = servers.long;
  for (let round = 0; round < 20; round++) {
    assert.equal((await callFunction(tidemark, "mutation", "hostile:poison")).body.status, "success");
    const { body } = await callFunction(tidemark, "query", "hostile:lookForPoison");
    assert.deepEqual(body.value, [], "what an earlier call left behind");
  }
});

test("in the end no request to other servers is under way, and no process but those of Node.js that rest", LIMIT, async () => {
  await until(() => outside.countOpen() === 0, `the end of ${outside.countOpen()} requests`);
  for (const { tidemark } of Object.values(servers)) {
    const left = () => processesOf(join(tidemark.dataFolder, "node", "homes")).filter(({ command }) => !command.includes("main.mjs"));
    await until(() => left().length === 0, "the end of what Node.js actions have started");
  }
});
