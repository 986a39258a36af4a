// Actions by the official clients and the command line: what they call, what they wait for, and how they end.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ConvexClient, ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";
import { ConvexError } from "convex/values";
import { whenOver } from "./harness/cleanup.mjs";
import { asAdmin, callFunction, post } from "./harness/functions.mjs";
import { pushApp } from "./harness/project.mjs";
import { serve } from "./harness/serve.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const LIMIT = { timeout: 300_000 };
const { notes, outside } = anyApi;

/** A server of somebody else's. `paths` are handlers of requests. */
function startServer(context, paths) {
  return serve(context, (request, response) => paths[request.url](request, response));
}

async function bodyOf(request) {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) {
    text += chunk;
  }
  return text;
}

async function start(context, options = {}) {
  const tidemark = await startTidemark(context, options);
  return { tidemark, project: await pushApp(context, tidemark, "actions") };
}

function connect(context, tidemark) {
  const client = new ConvexClient(tidemark.url, { logger: false });
  whenOver(context, () => client.close());
  return client;
}

async function until(condition) {
  while (!(await condition())) {
    await sleep(10);
  }
}

test("an action asks another server and calls functions, over HTTP, a socket and the command line", LIMIT, async (context) => {
  const { tidemark, project } = await start(context);
  const asked = [];
  const url = await startServer(context, {
    "/tide": async (request, response) => {
      asked.push([request.method, request.headers["x-from"], await bodyOf(request)]);
      response.end(JSON.stringify({ text: `tide ${asked.length}` }));
    },
  });
  const http = new ConvexHttpClient(tidemark.url, { logger: false });
  assert.deepEqual(await http.action(outside.keep, { url: `${url}/tide` }), { text: "tide 1", count: 1, doubled: 2 });
  assert.deepEqual(asked, [["POST", "an action", '{"ask":"the tide"}']]);

  const client = connect(context, tidemark);
  const shown = [];
  client.onUpdate(notes.list, {}, (list) => shown.push(list));
  assert.deepEqual(await client.action(outside.keep, { url: `${url}/tide` }), { text: "tide 2", count: 2, doubled: 4 });
  await until(() => shown.at(-1)?.length === 2);

  const run = await project.mustRun("run", "outside:keep", JSON.stringify({ url: `${url}/tide` }));
  assert.match(run.output, /"text": "tide 3"/);
  assert.match(run.output, /kept/);
  assert.deepEqual(await http.query(notes.list, {}), ["tide 1", "tide 2", "tide 3"]);
});

test("a streamed answer is written down and shown while it is given", LIMIT, async (context) => {
  const { tidemark } = await start(context);
  let answer;
  const url = await startServer(context, {
    "/lines": (_, response) => {
      answer = response;
      response.write("first\n");
    },
  });
  const client = connect(context, tidemark);
  let shown = [];
  client.onUpdate(notes.list, {}, (list) => (shown = list));
  const followed = client.action(outside.follow, { url: `${url}/lines` });
  await until(() => shown.length === 1);
  answer.write("sec");
  answer.write("ond\nrest");
  await until(() => shown.length === 2);
  answer.end();
  assert.equal(await followed, "rest");
  assert.deepEqual(shown, ["first", "second"]);
});

test("an action that waits lets others run, and gives up when it wants to", LIMIT, async (context) => {
  const { tidemark } = await start(context);
  const waiting = new Set();
  const url = await startServer(context, {
    "/late": (_, response) => {
      waiting.add(response);
      response.on("close", () => waiting.delete(response));
    },
  });
  const client = connect(context, tidemark);
  assert.equal(await client.action(outside.sleep, { ms: 50 }), true);
  const many = (ms) => Promise.all(Array.from({ length: 100 }, () => client.action(outside.impatient, { url: `${url}/late`, ms })));
  const patient = many(300_000);
  await until(() => waiting.size === 100);
  await client.mutation(notes.add, { text: "beside them" });
  assert.equal(waiting.size, 100, "the mutation waited for none of them");
  waiting.forEach((response) => response.end());
  assert.deepEqual(await patient, Array(100).fill("answered"));
  assert.deepEqual(await many(500), Array(100).fill("TimeoutError"));
  await until(() => waiting.size === 0);
});

test("what an action throws reaches its caller, and what it calls is undone", LIMIT, async (context) => {
  const { tidemark } = await start(context);
  for (const client of [new ConvexHttpClient(tidemark.url, { logger: false }), connect(context, tidemark)]) {
    await assert.rejects(client.action(outside.fails, {}), (error) => {
      assert.ok(error instanceof ConvexError, `${error}`);
      assert.deepEqual(error.data, { caught: { reason: "full" } });
      return true;
    });
    await assert.rejects(client.action(outside.keep, {}), /ArgumentValidationError/);
    await assert.rejects(client.action(notes.list, {}), /is a query and can't be called as an action/);
    await assert.rejects(client.action(outside.double, { number: 1 }), /Could not find function/);
    assert.deepEqual(await client.query(notes.list, {}), []);
  }
  const internal = await callFunction(tidemark, "function", "outside:double", { number: 4 }, asAdmin(tidemark));
  assert.equal(internal.body.value, 8);
});

test("an action runs in the name of whoever calls it", LIMIT, async (context) => {
  const { tidemark, project } = await start(context);
  const anonymous = await callFunction(tidemark, "action", "outside:who");
  assert.equal(anonymous.body.value, null);
  const run = await project.mustRun("run", "outside:who", "--identity", '{"subject":"ada","issuer":"https://x.example"}');
  assert.match(run.output, /"ada"/);
});

test("the log shows an action and what it called", LIMIT, async (context) => {
  const { tidemark } = await start(context);
  await callFunction(tidemark, "action", "outside:fails");
  const page = await fetch(`${tidemark.url}/api/stream_function_logs?cursor=0`, asAdmin(tidemark));
  const entries = (await page.json()).entries.map(({ udfType, identifier, caller }) => `${udfType} ${identifier} ${caller}`);
  assert.deepEqual(entries, ["Mutation notes:refuse Action", "Action outside:fails HttpApi"]);
});

test("a server that stops cancels its actions and says so", LIMIT, async (context) => {
  const { tidemark } = await start(context, { allowedInLog: [/cancelled actions that were under way/] });
  let waiting = 0;
  const url = await startServer(context, { "/never": () => waiting++ });
  const body = JSON.stringify({ path: "outside:impatient", format: "json", args: { url: `${url}/never`, ms: 100_000 } });
  const answer = post(tidemark, "/api/action", body);
  await until(() => waiting === 1);
  assert.equal(await tidemark.stop(), 0);
  assert.doesNotMatch(tidemark.log, /requests had not ended/, "it waited for an action");
  const response = await answer;
  assert.equal(response.status, 503);
  assert.equal((await response.json()).code, "ShuttingDown");
  assert.match(tidemark.log, /cancelled actions that were under way.*actions=1|actions=1.*cancelled actions/);
});
