// What a server must refuse clearly, without harm to what comes next.
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { after, afterEach, test } from "node:test";
import { WebSocket } from "ws";
import { asAdmin, callFunction, post } from "./harness/functions.mjs";
import { pushApp } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const MEBIBYTE = 2 ** 20;
const LIMIT = { timeout: 300_000 };

const file = { after };
const tidemark = await startTidemark(file);
await pushApp(file, tidemark, "journal");
let appended = 0;

afterEach(async () => {
  appended += 1;
  const { body } = await callFunction(tidemark, "mutation", "journal:append", { text: "still serving" });
  assert.deepEqual([body.status, body.value], ["success", appended], "the next request");
  assert.equal((await callFunction(tidemark, "query", "journal:blobCount")).body.value, 0, "something was stored");
});

/** Posts a body and expects to be refused with this status, a code and a sentence. */
async function assertRefused(path, body, status, request) {
  const response = await post(tidemark, path, body, request);
  const text = await response.text();
  assert.equal(response.status, status, text);
  const { code, message } = JSON.parse(text);
  assert.match(code, /^[A-Z][A-Za-z]+$/, text);
  assert.match(message, /\w+ \w+/, text);
  return { code, message };
}

/** Calls a function and expects it to answer with an error that matches. */
async function assertFails(kind, path, args, pattern) {
  const { status, body } = await callFunction(tidemark, kind, path, args);
  assert.equal(status, 200, JSON.stringify(body));
  assert.equal(body.status, "error", JSON.stringify(body));
  assert.match(body.errorMessage, pattern);
  assert.ok(!("errorData" in body), "an error that the app didn't throw has no data");
}

for (const [name, body] of Object.entries({
  "no JSON": "{",
  "an empty body": "",
  "a number instead of an object": "7",
  "a body without a path": "{}",
  "a path that is no string": '{"path": 7, "args": [{}]}',
  "arguments that are no object": '{"path": "journal:list", "args": 7}',
  "two argument objects": '{"path": "journal:list", "args": [{}, {}]}',
  "an unknown format": '{"path": "journal:list", "args": [{}], "format": "morse"}',
  "bytes that are no UTF-8": Buffer.from([0x7b, 0xff, 0xfe, 0x7d]),
})) {
  test(`${name} is a bad request`, LIMIT, () => assertRefused("/api/query", body, 400));
}

test("a path that is no function's is a bad request or an unknown function", LIMIT, async () => {
  for (const path of ["", ":", "journal:", "../journal:list", "journal:list:list", "_system/../journal:list", "\u0000:x", "a".repeat(100_000)]) {
    const { status, body } = await callFunction(tidemark, "query", path);
    assert.ok([200, 400].includes(status), `${status} for ${JSON.stringify(path.slice(0, 50))}`);
    assert.ok(body.status === "error" || /^[A-Z]/.test(body.code), JSON.stringify(body).slice(0, 300));
  }
});

test("an unknown function is answered as such", LIMIT, async () => {
  await assertFails("query", "journal:sink", {}, /Could not find function/);
  await assertFails("query", "ghost:list", {}, /Could not find function/);
});

test("a mutation asked for as a query is refused, and the other way round", LIMIT, async () => {
  for (const [kind, path, args] of [
    ["query", "journal:append", { text: "x" }],
    ["mutation", "journal:list", {}],
  ]) {
    const { body } = await callFunction(tidemark, kind, path, args);
    assert.match(body.errorMessage ?? body.message, /query|mutation/i, JSON.stringify(body));
    assert.notEqual(body.status, "success");
  }
});

test("arguments that the validator doesn't accept are refused by name", LIMIT, async () => {
  await assertFails("mutation", "journal:append", {}, /ArgumentValidationError[^]*text/);
  await assertFails("mutation", "journal:append", { text: 7 }, /ArgumentValidationError[^]*text/);
  await assertFails("mutation", "journal:append", { text: "x", colour: "blue" }, /ArgumentValidationError[^]*colour/);
});

test("an encoded value that is none is a bad request", LIMIT, async () => {
  for (const text of [{ $bytes: "?" }, { $integer: "AA==" }, { $float: "AAAAAAAAAAA" }]) {
    const body = JSON.stringify({ path: "journal:append", format: "convex_encoded_json", args: [{ text }] });
    const { code } = await assertRefused("/api/mutation", body, 400);
    assert.equal(code, "InvalidValueEncoding");
  }
});

test("a document of more than a mebibyte is refused", LIMIT, async () => {
  await assertFails("mutation", "journal:storeLarge", { bytes: MEBIBYTE }, /ValueTooLargeError/);
});

test("a document nested deeper than 16 levels is refused", LIMIT, async () => {
  await assertFails("mutation", "journal:storeNested", { levels: 17 }, /nest/i);
});

test("arguments nested deeper than 64 levels are refused", LIMIT, async () => {
  for (const levels of [65, 100_000]) {
    const content = "[".repeat(levels) + "]".repeat(levels);
    const body = `{"path": "journal:store", "format": "convex_encoded_json", "args": [{"content": ${content}}]}`;
    const response = await post(tidemark, "/api/mutation", body);
    const answer = await response.json();
    assert.ok([200, 400].includes(response.status), `${response.status}`);
    assert.match(answer.errorMessage ?? answer.message, /nest|deep|recursion/i, JSON.stringify(answer));
  }
});

test("a body larger than the limit is refused", LIMIT, async () => {
  const content = "x".repeat(17 * MEBIBYTE);
  const body = JSON.stringify({ path: "journal:store", args: [{ content }], format: "convex_encoded_json" });
  await assertRefused("/api/mutation", body, 413);
});

test("a value that no document may hold is refused", LIMIT, async () => {
  for (const content of [{ $secret: 1 }, { "näme": 1 }, { $integer: "AA==" }]) {
    const { body } = await callFunction(tidemark, "mutation", "journal:store", { content });
    assert.notEqual(body.status, "success", JSON.stringify(content));
    assert.match(body.errorMessage ?? body.message, /\w+ \w+/);
  }
});

test("a wrong admin key is refused, and none where one is needed", LIMIT, async () => {
  const request = (key) => ({ headers: { Authorization: `Convex ${key}` } });
  const body = JSON.stringify({ version: "1.48.0" });
  const [name] = tidemark.adminKey.split("|");
  for (const key of [`${name}|0123456789abcdef`, "nonsense", `${tidemark.adminKey}0`]) {
    const { code } = await assertRefused("/api/get_config_hashes", body, 403, request(key));
    assert.equal(code, "BadDeployKey");
  }
  await assertRefused("/api/get_config_hashes", body, 401);
  assert.equal((await post(tidemark, "/api/get_config_hashes", body, asAdmin(tidemark))).status, 200);
});

test("a push without a key is refused before its body is sent", LIMIT, async () => {
  const request = http.request(`${tidemark.url}/api/deploy2/start_push`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "Content-Length": 100 * MEBIBYTE },
  });
  request.on("error", () => {}); // The connection is given up with its body unsent.
  request.flushHeaders();
  const [response] = await once(request, "response");
  assert.equal(response.statusCode, 401);
  request.destroy();
});

test("an unknown address is not found, and a wrong method is refused", LIMIT, async () => {
  for (const path of ["/tea", "/api/tea"]) {
    assert.equal((await fetch(`${tidemark.url}${path}`)).status, 404, path);
  }
  assert.equal((await fetch(`${tidemark.url}/api/query`)).status, 405);
});

for (const [name, message] of Object.entries({
  "no JSON": "{",
  "a message of an unknown type": '{"type": "Sink"}',
  "a query before Connect": '{"type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": []}',
})) {
  test(`${name} on the WebSocket closes it with a reason`, LIMIT, async () => {
    const socket = new WebSocket(`${tidemark.url.replace("http", "ws")}/api/1.48.0/sync`);
    const closed = new Promise((resolve) => socket.once("close", (code, reason) => resolve({ code, reason: `${reason}` })));
    await new Promise((resolve) => socket.once("open", resolve));
    socket.send(message);
    const { code, reason } = await closed;
    assert.notEqual(code, 1006, "the connection was cut without a word");
    assert.match(reason, /\w/);
  });
}
