// HTTP actions: what an app answers at its own address, to clients that know nothing of Convex.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer, request as httpRequest } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";
import { whenOver } from "./harness/cleanup.mjs";
import { asAdmin, callFunction } from "./harness/functions.mjs";
import { newKey, signToken } from "./harness/oidc.mjs";
import { createProject, pushApp } from "./harness/project.mjs";
import { startTidemark, temporaryFolder } from "./harness/tidemark.mjs";

const { notes } = anyApi;
const LIMIT = { timeout: 300_000 };
const MIB = 1 << 20;

async function start(context, { limits = "", ...options } = {}) {
  const file = join(await temporaryFolder(context), "tidemark.toml");
  await writeFile(file, limits);
  const environment = { TIDEMARK_CONFIG: file, ...options.environment };
  const tidemark = await startTidemark(context, { ...options, environment });
  const project = await pushApp(context, tidemark, "http-actions");
  return { tidemark, project, site: await siteOf(tidemark), client: new ConvexHttpClient(tidemark.url, { logger: false }) };
}

async function siteOf(tidemark) {
  const response = await fetch(`${tidemark.url}/api/v1/get_canonical_urls`, asAdmin(tidemark));
  return (await response.json()).convexSiteUrl;
}

async function until(condition) {
  while (!(await condition())) {
    await sleep(10);
  }
}

/** A request that is written and read piece by piece. */
function open(url, options = {}) {
  const request = httpRequest(url, options);
  const answered = once(request, "response").then(([response]) => response);
  answered.catch(() => {});
  return { request, answered };
}

/** The next piece of an answer; null at its end. */
async function next(response) {
  for (;;) {
    const piece = response.read();
    if (piece !== null) {
      return piece.toString();
    }
    if (response.readableEnded) {
      return null;
    }
    await Promise.race([once(response, "readable"), once(response, "end")]);
  }
}

/** The entries of requests in the function log. */
async function logged(tidemark) {
  const page = await fetch(`${tidemark.url}/api/stream_function_logs?cursor=0`, asAdmin(tidemark));
  return (await page.json()).entries.filter(({ udfType }) => udfType === "HttpAction");
}

test("requests are routed by method, path and prefix, on the site's port and under /http/", LIMIT, async (context) => {
  const { tidemark, site } = await start(context);
  for (const base of [site, `${tidemark.url}/http`]) {
    for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE"]) {
      const body = method === "GET" ? undefined : "a body";
      const response = await fetch(`${base}/seen?a=b`, { method, body, headers: { "X-Name": "gr\u00fcn" } });
      assert.equal(response.status, 200);
      const { host } = new URL(base);
      assert.deepEqual(await response.json(), { url: `http://${host}/seen?a=b`, method, name: "gr\u00fcn", hasBody: method !== "GET", text: body ?? "" });
    }
    for (const [path, text] of [
      ["/under/", "a prefix"],
      ["/under/a//b", "a prefix"],
      ["/under/the/bridge", "a longer one"],
      ["/under/the/tree", "the path itself"],
    ]) {
      assert.equal(await (await fetch(base + path)).text(), text, path);
    }
    for (const [method, path] of [["GET", "/nowhere"], ["POST", "/under/the/tree"], ["GET", "/under"], ["GET", "/"], ["OPTIONS", "/seen"], ["GET", "//seen"]]) {
      const response = await fetch(base + path, { method });
      assert.deepEqual([response.status, await response.text()], [404, `No HttpAction routed for ${path}`], `${method} ${path}`);
    }
  }
  assert.equal((await fetch(`${tidemark.url}/http`)).status, 404);
  const seen = await (await fetch(`${site}/seen`, { headers: { "X-Forwarded-Proto": "https" } })).json();
  assert.equal(seen.url, `https://${new URL(site).host}/seen`);
  const { request, answered } = open(`${site}/seen`, { method: "PROPFIND" });
  request.end();
  assert.equal((await answered).statusCode, 405);
});

test("an app without a router says so", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const before = await fetch(`${await siteOf(tidemark)}/seen`);
  assert.deepEqual([before.status, await before.text()], [404, "This Convex deployment does not have HTTP actions enabled."]);
  await pushApp(context, tidemark, "actions");
  const after = await fetch(`${tidemark.url}/http/seen`);
  assert.deepEqual([after.status, await after.text()], [404, "This Convex deployment does not have HTTP actions enabled."]);
});

test("an answer is what the app made of it: nothing is added, and HEAD has no body", LIMIT, async (context) => {
  const { site } = await start(context);
  const response = await fetch(`${site}/cookies`, { headers: { Origin: "https://app.example" } });
  assert.equal(response.status, 201);
  assert.deepEqual(response.headers.getSetCookie(), ["a=1; Expires=Thu, 01 Jan 2099 00:00:00 GMT", "b=2"]);
  const names = [...new Set(response.headers.keys())].sort();
  assert.deepEqual(names, ["connection", "content-length", "content-type", "date", "keep-alive", "set-cookie", "x-name"].filter((name) => response.headers.has(name)));
  assert.equal(response.headers.get("access-control-allow-origin"), null);
  assert.equal(await response.text(), "<p>hello</p>");
  const head = await fetch(`${site}/cookies`, { method: "HEAD" });
  assert.deepEqual([head.status, head.headers.get("content-length"), await head.text()], [201, "12", ""]);
  const preflight = await fetch(`${site}/cors`, { method: "OPTIONS", headers: { Origin: "https://app.example", "Access-Control-Request-Method": "PUT" } });
  assert.deepEqual(
    [preflight.status, preflight.headers.get("access-control-allow-origin"), preflight.headers.get("access-control-allow-methods")],
    [204, "https://app.example", "PUT"],
  );
});

test("an answer rules its origin only where that is the app's own", LIMIT, async (context) => {
  const { tidemark, site } = await start(context);
  const heads = async (url) => {
    const { headers } = await fetch(url);
    return ["service-worker-allowed", "clear-site-data", "x-name"].map((name) => headers.get(name));
  };
  assert.deepEqual(await heads(`${site}/worker.js`), ["/", '"storage"', "worker"]);
  // The console is there, too, and all deployments that paths name.
  for (const shared of [`${tidemark.url}/http`, `${tidemark.url}/d/dev/http`, `${site}/d/dev`]) {
    assert.deepEqual(await heads(`${shared}/worker.js`), [null, null, "worker"], shared);
  }
});

test("bodies are streamed both ways, each piece as it comes", LIMIT, async (context) => {
  const { site } = await start(context);
  const { request, answered } = open(`${site}/capitals`, { method: "POST" });
  request.write("first");
  const response = await answered;
  assert.equal(await next(response), "FIRST");
  for (const word of ["second", "third"]) {
    request.write(word);
    assert.equal(await next(response), word.toUpperCase(), "it is answered before the next one is sent");
  }
  request.end();
  assert.equal(await next(response), null);

  const piece = new Uint8Array(64 << 10);
  const upload = new ReadableStream({ pull: (controller) => (controller.enqueue(piece), ++upload.pieces === 200 && controller.close()) });
  upload.pieces = 0;
  const counted = await fetch(`${site}/count`, { method: "POST", body: upload, duplex: "half" });
  assert.deepEqual(await counted.json(), { bytes: 200 * piece.length });

  const words = await fetch(`${site}/words?count=3`);
  assert.equal(words.headers.get("content-type"), "text/plain");
  assert.equal(await words.text(), "word 0\nword 1\nword 2\n");
});

test("an answer of another server is passed on while it comes", LIMIT, async (context) => {
  const { site } = await start(context);
  let upstream;
  const server = createServer((_, response) => {
    upstream = response;
    response.writeHead(203, { "X-Name": "upstream" });
    response.write("one");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  whenOver(context, () => {
    server.closeAllConnections();
    server.close();
  });
  const { request, answered } = open(`${site}/proxy?url=http://127.0.0.1:${server.address().port}/`);
  request.end();
  const response = await answered;
  assert.deepEqual([response.statusCode, response.headers["x-name"], await next(response)], [203, "upstream", "one"]);
  upstream.end("two");
  assert.deepEqual([await next(response), await next(response)], ["two", null]);
});

test("a function goes on when its client has gone, and knows it", LIMIT, async (context) => {
  const { tidemark, site, client } = await start(context);
  const { request, answered } = open(`${site}/words?count=150`);
  request.on("error", () => {});
  request.end();
  assert.match(await next(await answered), /^word 0\n/);
  request.destroy();
  await until(async () => (await client.query(notes.list, {})).length === 1);
  assert.deepEqual(await client.query(notes.list, {}), ["unheard: 150"]);
  await fetch(`${site}/words?count=2`).then((response) => response.text());
  await until(async () => (await client.query(notes.list, {})).length === 2);
  assert.equal((await client.query(notes.list, {}))[1], "heard: 2");

  // One that goes away in the middle of its upload: again, if it was gone before the request had come.
  await until(async () => {
    const upload = open(`${site}/count`, { method: "POST" });
    upload.request.on("error", () => {});
    await new Promise((sent) => upload.request.write("some bytes", sent));
    await sleep(100);
    upload.request.destroy();
    await sleep(100);
    return (await logged(tidemark)).some(({ identifier }) => identifier === "POST /count");
  });
  const entry = (await logged(tidemark)).find(({ identifier }) => identifier === "POST /count");
  assert.match(entry.error, /RequestCutOff/);
});

test("a webhook is taken if its signature is right", LIMIT, async (context) => {
  const { project, site, client } = await start(context);
  const logs = project.start("logs", "--history", "1", "--success");
  const body = JSON.stringify({ text: "paid" });
  const send = (secret) => fetch(`${site}/webhook`, { method: "POST", body, headers: { "X-Signature": createHmac("sha256", secret).update(body).digest("hex") } });
  const refused = await send("a guess");
  assert.deepEqual([refused.status, await refused.text()], [401, "The signature is not right."]);
  const unsigned = await fetch(`${site}/webhook`, { method: "POST", body });
  assert.equal(unsigned.status, 401);
  const taken = await send("between us");
  assert.deepEqual([taken.status, await taken.text()], [204, ""]);
  assert.deepEqual(await client.query(notes.list, {}), ["paid"]);
  await until(async () => {
    await send("between us");
    return /H\(POST \/webhook\).*\[LOG\].*'taken' 'paid'/.test(logs.output);
  });
  await logs.stop();
  const spec = await project.mustRun("function-spec");
  assert.match(spec.output, /"functionType": "HttpAction",\s*"method": "POST",\s*"path": "\/webhook"/);
});

test("the log names requests by their routes, with the status", LIMIT, async (context) => {
  const { tidemark, site } = await start(context);
  // A request may be in the log after its answer.
  for (const [index, path] of ["/under/the/bridge", "/nowhere", "/throws", "/cookies"].entries()) {
    await (await fetch(site + path)).text();
    await until(async () => (await logged(tidemark)).length > index);
  }
  const entries = await logged(tidemark);
  assert.deepEqual(
    entries.map(({ identifier, caller, success }) => [identifier, caller, success]),
    [
      ["GET /under/the/*", "HttpEndpoint", { status: "200" }],
      ["GET /nowhere", "HttpEndpoint", { status: "404" }],
      ["GET /throws", "HttpEndpoint", null],
      ["GET /cookies", "HttpEndpoint", { status: "201" }],
    ],
  );
  assert.match(entries[2].error, /^Uncaught Error: it failed\n    at .*convex\/http.ts:\d+:\d+/);
});

test("what a function throws is a 500, and says as much as it may", LIMIT, async (context) => {
  const { site } = await start(context);
  const thrown = await fetch(`${site}/throws`);
  assert.equal(thrown.status, 500);
  const { code, trace } = await thrown.json();
  assert.match(code, /^\[Request ID: [0-9a-f]{16}\] Server Error$/);
  assert.match(trace, /^Uncaught Error: it failed\n    at .*convex\/http.ts/);
  assert.deepEqual((await (await fetch(`${site}/refuses`)).json()).data, { reason: "full" });
  await assert.rejects(fetch(`${site}/breaks`).then((response) => response.text()), "an answer that breaks off is not complete");

  const production = await start(context, { environment: { TIDEMARK_REDACT_LOGS_TO_CLIENT: "true" } });
  const redacted = await (await fetch(`${production.site}/throws`)).json();
  assert.deepEqual(Object.keys(redacted), ["code"]);
});

test("bodies have limits, and what is too large is told or cut", LIMIT, async (context) => {
  const limits = "[limits.action]\nhttp_request_bytes_max = 200000\nhttp_response_bytes_max = 300000\n";
  const { tidemark, site } = await start(context, { limits });
  const post = (size) => fetch(`${site}/count`, { method: "POST", body: new Uint8Array(size) });
  assert.deepEqual(await (await post(200_000)).json(), { bytes: 200_000 });
  const refused = await post(200_001);
  assert.deepEqual([refused.status, (await refused.json()).code], [413, "RequestTooLarge"]);
  const streamed = await fetch(`${site}/count`, { method: "POST", body: new Blob([new Uint8Array(200_001)]).stream(), duplex: "half" });
  assert.equal(streamed.status, 500);
  assert.match((await streamed.json()).trace, /RequestTooLarge/);
  assert.equal((await (await fetch(`${site}/large?size=300000`)).arrayBuffer()).byteLength, 300_000);
  await assert.rejects(fetch(`${site}/large?size=300001`).then((response) => response.arrayBuffer()));
  // What is refused before it reaches the app is none of its requests.
  await until(async () => (await logged(tidemark)).length === 4);
  assert.equal((await logged(tidemark)).filter(({ error }) => /HttpResponseTooLarge/.test(error)).length, 1);
});

test("twenty megabytes go both ways by default", LIMIT, async (context) => {
  const { site } = await start(context);
  const counted = await fetch(`${site}/count`, { method: "POST", body: new Uint8Array(20 * MIB) });
  assert.deepEqual(await counted.json(), { bytes: 20 * MIB });
  assert.equal((await (await fetch(`${site}/large?size=${20 * MIB}`)).arrayBuffer()).byteLength, 20 * MIB);
});

test("an app that is its own provider verifies tokens by its own HTTP actions, also when all places are taken", LIMIT, async (context) => {
  const environment = { TIDEMARK_EGRESS_DENY: "*" };
  const limits = "[limits.action]\nrunning_max = 1\nwait_ms_max = 60000\n";
  const { tidemark, project, site } = await start(context, { environment, limits });
  const key = await newKey("RS256");
  const { alg, ...published } = key.published;
  await project.mustRun("env", "set", "JWKS", JSON.stringify({ keys: [published] }));
  const token = await signToken(key, { iss: site, aud: "convex", sub: "ann|session" });
  const bearer = { headers: { Authorization: `Bearer ${token}` } };
  const answers = Array.from({ length: 5 }, async () => (await fetch(`${site}/who`, bearer)).json());
  assert.deepEqual(await Promise.all(answers), Array(5).fill({ own: "ann|session", nested: "ann|session" }));
  const { body } = await callFunction(tidemark, "query", "notes:who", {}, bearer);
  assert.equal(body.value, "ann|session");
  assert.deepEqual((await logged(tidemark)).map(({ identifier }) => identifier).filter((name) => name.includes("well-known")), [
    "GET /.well-known/openid-configuration",
    "GET /.well-known/jwks.json",
  ]);

  assert.deepEqual(await (await fetch(`${site}/who`)).json(), { own: "nobody", nested: "nobody" });
  const forged = await signToken(await newKey("RS256"), { iss: site, aud: "convex", sub: "ann|session" });
  const refused = await (await fetch(`${site}/who`, { headers: { Authorization: `Bearer ${forged}` } })).json();
  assert.match(refused.own, /^Unauthenticated: .*signature is not right/);
  assert.match(refused.nested, /Unauthenticated: .*signature is not right/);
  for (const header of ["Basic YTpi", "Bearer sk_live_1", "nonsense"]) {
    const response = await fetch(`${site}/basic`, { headers: { Authorization: header } });
    assert.deepEqual([response.status, await response.text()], [200, header]);
  }
});

test("one port serves both where the site has a host name of its own", LIMIT, async (context) => {
  const { tidemark } = await start(context, { environment: { TIDEMARK_SITE_URL: "https://site.example" } });
  const get = async (path, headers) => {
    const { request, answered } = open(tidemark.url + path, { headers });
    request.end();
    const response = await answered;
    let text = "";
    for await (const chunk of response.setEncoding("utf8")) {
      text += chunk;
    }
    return [response.statusCode, text];
  };
  const asSite = { Host: "site.example", "X-Forwarded-Proto": "https" };
  const [status, text] = await get("/seen?a=b", asSite);
  assert.deepEqual([status, JSON.parse(text).url], [200, "https://site.example/seen?a=b"]);
  assert.deepEqual(await get("/under/a//b", { Host: "SITE.example:443" }), [200, "a prefix"]);
  assert.deepEqual(await get("/version", asSite), [404, "No HttpAction routed for /version"]);
  assert.deepEqual(await get("/http/seen", asSite), [404, "No HttpAction routed for /http/seen"]);
  assert.equal((await get("/version", {}))[0], 200);
});

test("requests that wait hold up neither each other nor anything else", LIMIT, async (context) => {
  const { site, client } = await start(context);
  let waiting = [];
  const server = createServer((_, response) => waiting.push(response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  whenOver(context, () => server.close());
  const url = `${site}/proxy?url=http://127.0.0.1:${server.address().port}/`;
  const answers = Array.from({ length: 300 }, () => {
    const { request, answered } = open(url, { agent: false });
    request.end();
    return answered.then(async (response) => `${response.statusCode} ${(await response.toArray()).join("")}`);
  });
  await until(() => waiting.length === 300);
  assert.deepEqual(await client.query(notes.list, {}), []);
  assert.equal(await (await fetch(`${site}/under/`)).text(), "a prefix");
  waiting.forEach((response) => response.end("done"));
  assert.deepEqual(await Promise.all(answers), Array(300).fill("200 done"));
});

test("a push changes the routes; a server that stops says so", LIMIT, async (context) => {
  const allowedInLog = [/cancelled actions that were under way/];
  const tidemark = await startTidemark(context, { allowedInLog });
  const router = (path) => `import { httpRouter } from "convex/server";
    import { httpAction } from "./_generated/server";
    const http = httpRouter();
    http.route({ path: "${path}", method: "GET", handler: httpAction(async () => new Response("here")) });
    http.route({ path: "/hangs", method: "GET", handler: httpAction(async () => new Promise(() => setInterval(() => {}, 1000))) });
    http.route({ path: "/goes-on", method: "GET", handler: httpAction(async () => {
      const pull = (controller) => new Promise((done) => setTimeout(() => done(controller.enqueue(new Uint8Array([46]))), 20));
      return new Response(new ReadableStream({ pull }));
    }) });
    export default http;`;
  const project = await createProject(context, tidemark, { files: { "convex/http.ts": router("/one") } });
  await project.mustRun("deploy", "--typecheck", "disable");
  const site = await siteOf(tidemark);
  assert.equal(await (await fetch(`${site}/one`)).text(), "here");
  await project.write("convex/http.ts", router("/two"));
  await project.mustRun("deploy", "--typecheck", "disable");
  assert.equal((await fetch(`${site}/one`)).status, 404);
  assert.equal(await (await fetch(`${site}/two`)).text(), "here");

  const hangs = fetch(`${site}/hangs`);
  const goesOn = await fetch(`${site}/goes-on`);
  const reading = assert.rejects(goesOn.text(), "what is cut is not complete");
  assert.equal(await tidemark.stop(), 0);
  assert.doesNotMatch(tidemark.log, /requests had not ended/, "it waited for a request");
  const response = await hangs;
  assert.deepEqual([response.status, (await response.json()).code], [503, "ShuttingDown"]);
  await reading;
});
