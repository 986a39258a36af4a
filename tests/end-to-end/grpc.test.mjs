// The gRPC API for app servers: values, errors, moments, exactly once, live queries, deadlines, limits, health, reflection, gRPC-Web, and the
// example callers in three languages.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { WebSocket } from "ws";
import { whenOver } from "./harness/cleanup.mjs";
import { callOf, callRaw, connectGrpc, decode, detailsOf, failureOf, firstOf, fromBytes, grpc, metricIs, nestedQuery, toBytes } from "./harness/grpc.mjs";
import { CLIENT_ID, newKey, signToken, startProvider } from "./harness/oidc.mjs";
import { chat, createProject, pushApp } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const LIMIT = { timeout: 300_000 };
const QUERY = "/tidemark.deployment.v1.Deployment/Query";
const examples = new URL("../../examples/grpc/", import.meta.url).pathname;

const VALUES = [
  null,
  true,
  false,
  0n,
  -1n,
  2n ** 63n - 1n,
  -(2n ** 63n),
  2n ** 53n + 1n,
  0,
  -0,
  1.5,
  -1e300,
  5e-324,
  NaN,
  Infinity,
  -Infinity,
  "",
  "Grüße \u0000 \u{1F30A}",
  Buffer.from([]),
  Buffer.from([0, 255, 128]),
  [],
  [[], [[]], [null, 1n, 1]],
  {},
  { "": 1n, "a b": { c: [NaN, -0, Buffer.from("x")] } },
];

/** The same with Buffers for bytes, however they came. */
function plain(value) {
  if (value instanceof Uint8Array) return Buffer.from(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]));
}

const without = ({ message, ...rest }) => rest;

const file = { after };
const providerKey = await newKey("RS256", "first");
const { issuer } = await startProvider(file, providerKey);
/** Actions go on when their callers have gone. */
const allowedInLog = [/cancelled actions that were under way/];
const tidemark = await startTidemark(file, { grpc: true, allowedInLog, limits: { grpc: { heartbeat_ms: 500, batch_queries_max: 20 } } });
const project = await createProject(file, tidemark, { app: "conformance" });
const authConfig = { providers: [{ domain: issuer, applicationID: CLIENT_ID }] };
await project.write("convex/auth.config.ts", `export default ${JSON.stringify(authConfig)};`);
await project.mustRun("deploy", "--typecheck", "disable");
const client = connectGrpc(file, tidemark);
const tokenOf = (user, options) => signToken(providerKey, { iss: issuer, aud: CLIENT_ID, sub: user, jti: randomUUID() }, options);
const asAdmin = (context, more = "") => connectGrpc(context, tidemark, `Convex ${tidemark.adminKey}${more}`);

for (const [kind, path] of [
  ["query", "values:echo"],
  ["mutation", "values:echoFromMutation"],
  ["action", "actions:echo"],
]) {
  test(`values pass a ${kind} bit by bit`, LIMIT, async () => {
    for (const value of VALUES) {
      const { value: answered } = await client[kind](path, { value });
      assert.deepStrictEqual(plain(answered), value);
    }
  });
}

test("values are within functions what they are called", LIMIT, async () => {
  for (const [value, kind] of [
    [null, "null"],
    [7n, "bigint 7"],
    [7, "number 7"],
    [-0, "-0"],
    [NaN, "number NaN"],
    [true, "boolean true"],
    ["x", "string x"],
    [Buffer.from("xyz"), "ArrayBuffer of 3"],
    [[1, 2], "array of 2"],
    [{ b: 1, a: 2 }, "object of a,b"],
  ]) {
    assert.equal((await client.query("values:kind", { value })).value, kind);
  }
});

test("a function that throws is an answer, with data only of a ConvexError", LIMIT, async () => {
  for (const data of [null, 7n, { reason: "full", at: [NaN] }]) {
    const answer = await client.query("calls:failing", { how: "convex error", data });
    assert.match(answer.error, /Uncaught ConvexError/);
    assert.deepStrictEqual(answer.data, data);
  }
  const answer = await client.query("calls:failing", { how: "error" });
  assert.match(answer.error, /^\[Request ID: [0-9a-f]{16}\] Server Error\nUncaught RangeError: out of range/);
  assert.ok(!("data" in answer));
  assert.match((await client.query("calls:typed", { text: 7n })).error, /ArgumentValidationError/);
  assert.match((await client.query("nothing:there", {})).error, /Could not find function/);
  const failed = await client.mutation("calls:failingMutation", { data: "kept" });
  assert.deepEqual([failed.data, failed.timestamp], ["kept", undefined]);
});

test("a moment is the same for all who ask for it", LIMIT, async () => {
  const set = randomUUID();
  const { timestamp: first } = await client.mutation("live:add", { set });
  await client.mutation("live:add", { set });
  assert.equal((await client.query("live:count", { set }, { at: first })).value, 1);
  assert.equal((await client.query("live:count", { set })).value, 2);
  const batch = await client.batch([["live:count", { set }], ["live:count", { set }]], { at: first });
  assert.deepEqual([batch.timestamp, batch.results.map(({ value }) => value)], [first, [1, 1]]);
});

test("the queries of a batch see one moment, whatever is written meanwhile", LIMIT, async () => {
  const set = randomUUID();
  let isWriting = true;
  const writing = (async () => {
    while (isWriting) await client.mutation("live:add", { set });
  })();
  const seen = new Set();
  for (let round = 0; round < 30; round++) {
    const calls = Array.from({ length: 10 }, () => ["live:count", { set }]);
    const counts = new Set((await client.batch(calls)).results.map(({ value }) => value));
    assert.equal(counts.size, 1, `${[...counts]}`);
    for (const count of counts) seen.add(count);
  }
  isWriting = false;
  await writing;
  assert.ok(seen.size > 1, "something was written meanwhile");
  const failing = await client.batch([["live:count", { set }], ["calls:failing", { how: "convex error", data: 1n }]]);
  assert.equal(failing.results[1].data, 1n, "one that throws does not keep the others from their answers");
  const { timestamp } = await client.batch([]);
  assert.ok(BigInt(timestamp) > 0n);
  assert.equal((await client.batch([], { at: timestamp })).timestamp, timestamp);
  const ahead = `${BigInt(timestamp) + 3_600_000_000_000n}`;
  const { status, code } = await failureOf(client.query("live:count", { set }, { at: ahead }));
  const empty = await failureOf(client.batch([], { at: ahead }));
  assert.deepEqual([empty.status, empty.code], [status, code], "as any query at this moment");
  const many = client.batch(Array.from({ length: 21 }, () => ["live:count", { set }]));
  assert.deepEqual(without(await failureOf(many)), { status: "INVALID_ARGUMENT", code: "BatchTooLarge" });
});

test("internal functions and components are for administrators", LIMIT, async (context) => {
  assert.match((await client.query("calls:hidden", {})).error, /Could not find function `calls:hidden`/);
  assert.equal((await asAdmin(context).query("calls:hidden", {})).value, "seen");
  const inner = client.query("values:echo", { value: 1n }, { component: "inner" });
  assert.deepEqual(without(await failureOf(inner)), { status: "PERMISSION_DENIED", code: "ComponentNeedsAdmin" });
});

test("a call is made in the name of whoever its token or key names", LIMIT, async (context) => {
  assert.equal((await client.query("who:am", {})).value, null);
  const ann = connectGrpc(context, tidemark, `Bearer ${await tokenOf("ann")}`);
  assert.equal((await ann.query("who:am", {})).value, "ann");
  assert.equal((await ann.mutation("who:amInMutation", {})).value, "ann");
  assert.equal((await ann.action("who:amInAction", {})).value, "ann");
  const subscription = ann.subscribe("who:am", {});
  assert.equal((await subscription.next()).value, "ann");
  subscription.cancel();
  const bob = Buffer.from(JSON.stringify({ issuer: "https://x", subject: "bob" })).toString("base64");
  assert.equal((await asAdmin(context, `:${bob}`).query("who:am", {})).value, "bob");
});

test("credentials that don't hold are refused by code", LIMIT, async (context) => {
  const other = await newKey("RS256", "other");
  for (const [authorization, status, code] of [
    ["Convex dev|00", "PERMISSION_DENIED", "BadDeployKey"],
    ["Basic abc", "UNAUTHENTICATED", "InvalidAuthHeader"],
    ["Bearer nonsense", "UNAUTHENTICATED", "InvalidAuthHeader"],
    [`Convex ${tidemark.adminKey}:%%%`, "INVALID_ARGUMENT", "InvalidIdentity"],
    [`Bearer ${await tokenOf("ann", { seconds: -60 })}`, "UNAUTHENTICATED", "Unauthenticated"],
    [`Bearer ${await signToken(other, { iss: issuer, aud: CLIENT_ID, sub: "ann" })}`, "UNAUTHENTICATED", "Unauthenticated"],
    [`Bearer ${await signToken(providerKey, { iss: issuer, aud: "others", sub: "ann" })}`, "UNAUTHENTICATED", "NoAuthProvider"],
  ]) {
    const refused = connectGrpc(context, tidemark, authorization);
    for (const ask of [
      () => refused.query("who:am", {}),
      () => refused.mutation("who:amInMutation", {}),
      () => refused.action("who:amInAction", {}),
      () => refused.batch([]),
      () => refused.subscribe("who:am", {}).next(),
    ]) {
      assert.deepEqual(without(await failureOf(ask())), { status, code }, authorization.slice(0, 12));
    }
  }
});

test("a subscription ends with its user's token", LIMIT, async (context) => {
  const ann = connectGrpc(context, tidemark, `Bearer ${await tokenOf("ann", { seconds: 15 })}`);
  const subscription = ann.subscribe("who:am", {});
  assert.equal((await subscription.next()).value, "ann");
  assert.deepEqual(without(await failureOf(subscription.next())), { status: "UNAUTHENTICATED", code: "Unauthenticated" });
});

test("a mutation with a key takes effect once and gives the first answer", LIMIT, async () => {
  const set = randomUUID();
  const key = { session_id: randomUUID(), request_id: 0 };
  const first = await client.mutation("live:add", { set }, { key });
  assert.equal(first.value, 1);
  const again = await Promise.all([1, 2, 3].map(() => client.mutation("live:add", { set }, { key })));
  for (const answer of again) assert.deepStrictEqual(answer, first);
  const upper = { ...key, session_id: key.session_id.toUpperCase() };
  assert.deepStrictEqual(await client.mutation("live:add", { set }, { key: upper }), first);
  assert.equal((await client.query("live:count", { set })).value, 1);
  assert.equal((await client.mutation("live:add", { set }, { key: { ...key, request_id: 1 } })).value, 2);
  const other = client.mutation("live:clear", { set }, { key });
  assert.deepEqual(without(await failureOf(other)), { status: "INVALID_ARGUMENT", code: "SessionRequestMismatch" });
});

test("of many at once with one key one takes effect", LIMIT, async () => {
  const set = randomUUID();
  const key = { session_id: randomUUID(), request_id: 4_294_967_295 };
  const answers = await Promise.all(Array.from({ length: 20 }, () => client.mutation("live:add", { set }, { key })));
  for (const answer of answers) assert.deepStrictEqual(answer, answers[0]);
  assert.equal((await client.query("live:count", { set })).value, 1);
});

test("a mutation that throws leaves no record", LIMIT, async () => {
  const key = { session_id: randomUUID(), request_id: 0 };
  assert.equal((await client.mutation("calls:failingMutation", { data: 1n }, { key })).data, 1n);
  assert.equal((await client.mutation("calls:failingMutation", { data: 2n }, { key })).data, 2n);
});

test("a subscription shows each change, in order, and that it is alive", LIMIT, async (context) => {
  const set = randomUUID();
  const subscription = client.subscribe("live:count", { set });
  assert.equal((await subscription.next()).value, 0);
  for (let count = 1; count <= 5; count++) {
    const { timestamp } = await client.mutation("live:add", { set });
    const shown = await subscription.next();
    assert.equal(shown.value, count);
    assert.ok(BigInt(shown.timestamp) >= BigInt(timestamp));
  }
  assert.ok((await subscription.any()).heartbeat, "nothing has changed");
  assert.ok((await subscription.any()).heartbeat);
  await client.mutation("live:add", { set });
  assert.equal((await subscription.next()).value, 6);
  const sorted = subscription.timestamps.toSorted((one, other) => (one < other ? -1 : 1));
  assert.deepEqual(subscription.timestamps, sorted, "time does not go back");
  subscription.cancel();
});

test("a query that throws is a result, until it does not any more", LIMIT, async () => {
  const set = randomUUID();
  const subscription = client.subscribe("live:few", { set, most: 1 });
  assert.equal((await subscription.next()).value, 0);
  await client.mutation("live:add", { set });
  assert.equal((await subscription.next()).value, 1);
  await client.mutation("live:add", { set });
  assert.match((await subscription.next()).error, /more than 1/);
  await client.mutation("live:clear", { set });
  assert.equal((await subscription.next()).value, 0);
  subscription.cancel();
});

test("a subscription from a moment shows nothing older", LIMIT, async () => {
  const set = randomUUID();
  for (let count = 1; count <= 10; count++) {
    const { timestamp } = await client.mutation("live:add", { set });
    const subscription = client.subscribe("live:count", { set }, { from: timestamp });
    const first = await subscription.any();
    assert.ok(subscription.timestamps[0] >= BigInt(timestamp));
    assert.ok(first.heartbeat || first.value === count, `${first.value} at ${count}`);
    subscription.cancel();
  }
  const ahead = client.subscribe("live:count", { set }, { from: `${2n ** 62n}` });
  const failure = await failureOf(ahead.next());
  assert.deepEqual(without(failure), { status: "UNAVAILABLE", code: "TimestampNotReached", pauseMs: 1_000 });
  const beyond = client.subscribe("live:count", { set }, { from: `${2n ** 63n}` });
  assert.deepEqual(without(await failureOf(beyond.next())), { status: "INVALID_ARGUMENT", code: "InvalidTimestamp" });
});

test("the server notices that a subscription is cancelled", LIMIT, async () => {
  await metricIs(tidemark, "tidemark_fanout_sessions", 0);
  const subscriptions = Array.from({ length: 5 }, () => client.subscribe("live:count", { set: "a" }));
  for (const subscription of subscriptions) await subscription.next();
  await metricIs(tidemark, "tidemark_fanout_sessions", 5);
  subscriptions[0].cancel();
  await metricIs(tidemark, "tidemark_fanout_sessions", 4);
  for (const subscription of subscriptions) subscription.cancel();
  await metricIs(tidemark, "tidemark_fanout_sessions", 0);
});

test("a deadline ends a call, and a subscription", LIMIT, async () => {
  const within = (ms) => ({ deadline: Date.now() + ms });
  const failure = { status: "DEADLINE_EXCEEDED" };
  assert.equal((await failureOf(client.action("actions:waits", {}, within(700)))).status, failure.status);
  // Long enough for the first result on a machine that does other things as well.
  const subscription = client.subscribe("live:count", { set: "a" }, within(10_000));
  await subscription.next();
  await assert.rejects(
    async () => {
      for (;;) await subscription.any();
    },
    (error) => error.code === grpc.status.DEADLINE_EXCEEDED,
  );
  await metricIs(tidemark, "tidemark_fanout_sessions", 0);
});

test("a deadline is the server's affair, too", LIMIT, async () => {
  // The library ends a call by itself as well; a page without one does not.
  const request = toBytes("ActionRequest", { call: callOf("actions:waits") });
  const { headers, trailers } = await web(tidemark, "Action", request, { "grpc-timeout": "300m" });
  assert.equal(statusOf(headers, trailers).code, "DeadlineExceeded");
  const wrong = await web(tidemark, "Action", request, { "grpc-timeout": "soon" });
  assert.equal(statusOf(wrong.headers, wrong.trailers).code, "InvalidDeadline");
});

test("what can't be right is refused by code", LIMIT, async (context) => {
  const fields = Object.fromEntries(Array.from({ length: 1_025 }, (_, at) => [`f${at}`, null]));
  for (const [request, code] of [
    [{}, "MissingPath"],
    [{ call: { path: "" } }, "MissingPath"],
    [{ call: callOf("values:echo", { value: Array(8_193).fill(null) }) }, "ArrayTooLong"],
    [{ call: callOf("values:echo", { value: fields }) }, "TooManyFieldsError"],
    [{ call: callOf("values:echo", { value: { "$x": 1 } }) }, "InvalidFieldName"],
    [{ call: callOf("values:echo", { value: { "ü": 1 } }) }, "InvalidFieldName"],
    [{ call: callOf("values:echo", fields) }, "TooManyFieldsError"],
    [{ call: { path: "values:echo", arguments: { value: {} } } }, "InvalidValueEncoding"],
    [{ call: callOf("values:echo", { value: 1 }), at_timestamp: `${2n ** 63n}` }, "InvalidTimestamp"],
  ]) {
    const failure = await failureOf(callRaw(context, tidemark, QUERY, toBytes("QueryRequest", request)));
    assert.deepEqual(without(failure), { status: "INVALID_ARGUMENT", code });
  }
  const session = client.mutation("live:add", { set: "a" }, { key: { session_id: "mine", request_id: 0 } });
  assert.equal((await failureOf(session)).code, "InvalidIdempotencyKey");
  const nested = (levels) => callRaw(context, tidemark, QUERY, nestedQuery("values:kind", levels));
  assert.equal(fromBytes("QueryResponse", await nested(62)).result.value.string_value, "array of 1");
  assert.deepEqual(without(await failureOf(nested(63))), { status: "INVALID_ARGUMENT", code: "TooNestedError" });
  assert.deepEqual(without(await failureOf(nested(100_000))), { status: "INVALID_ARGUMENT", code: "TooNestedError" });
  const garbage = await failureOf(callRaw(context, tidemark, QUERY, Buffer.from([0xff, 0xff])));
  assert.deepEqual(without(garbage), { status: "INVALID_ARGUMENT", code: "MalformedMessage" });
  const method = await failureOf(callRaw(context, tidemark, QUERY.replace("Query", "Guess"), Buffer.alloc(0)));
  assert.deepEqual(without(method), { status: "UNIMPLEMENTED", code: "EndpointNotImplemented" });
  const service = await failureOf(callRaw(context, tidemark, "/some.Service/Method", Buffer.alloc(0)));
  assert.deepEqual(without(service), { status: "UNIMPLEMENTED", code: "EndpointNotImplemented" });
});

test("a message that is too large is refused, and the next one answered", LIMIT, async () => {
  const large = client.query("values:kind", { value: "x".repeat((17 << 20)) });
  assert.deepEqual(without(await failureOf(large)), { status: "RESOURCE_EXHAUSTED", code: "RequestTooLarge" });
  const most = await client.query("values:kind", { value: [Buffer.alloc(8 << 20)] });
  assert.equal(most.value, "array of 1", most.error);
  const echoed = await client.query("values:echo", { value: Buffer.alloc(8 << 20, 7) });
  assert.ok(echoed.value?.equals(Buffer.alloc(8 << 20, 7)), echoed.error);
});

test("health and descriptions are told without a key", LIMIT, async (context) => {
  for (const service of ["", "tidemark.deployment.v1.Deployment"]) {
    const answer = await callRaw(context, tidemark, "/grpc.health.v1.Health/Check", toBytes("HealthCheckRequest", { service }));
    assert.equal(fromBytes("HealthCheckResponse", answer).status, 1, "SERVING");
  }
  const watched = await firstOf(context, tidemark, "/grpc.health.v1.Health/Watch", toBytes("HealthCheckRequest", {}));
  assert.equal(fromBytes("HealthCheckResponse", watched).status, 1);
  const unknown = callRaw(context, tidemark, "/grpc.health.v1.Health/Check", toBytes("HealthCheckRequest", { service: "x" }));
  assert.equal((await failureOf(unknown)).status, "NOT_FOUND");
  for (const version of ["v1", "v1alpha"]) {
    const path = `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`;
    const ask = async (request) => fromBytes("ServerReflectionResponse", await firstOf(context, tidemark, path, toBytes("ServerReflectionRequest", request)));
    const services = (await ask({ list_services: "*" })).list_services_response.service.map(({ name }) => name);
    for (const name of ["tidemark.deployment.v1.Deployment", "grpc.health.v1.Health"]) assert.ok(services.includes(name), `${services}`);
    const { file_descriptor_response } = await ask({ file_containing_symbol: "tidemark.deployment.v1.Deployment" });
    const [file] = file_descriptor_response.file_descriptor_proto;
    assert.ok(Buffer.from(file).includes("tidemark.deployment.v1.Value"), "the file as it is written");
  }
});

for (const [type, isText] of [
  ["application/grpc-web+proto", false],
  ["application/grpc-web-text", true],
]) {
  test(`a page of another origin calls over gRPC-Web (${type})`, LIMIT, async () => {
    const preflight = await fetch(`${tidemark.grpcUrl}${QUERY}`, {
      method: "OPTIONS",
      headers: { Origin: "https://app.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-grpc-web,authorization" },
    });
    assert.equal(preflight.headers.get("access-control-allow-origin"), "https://app.example");
    assert.match(preflight.headers.get("access-control-allow-headers"), /authorization/);
    const request = toBytes("QueryRequest", { call: callOf("values:echo", { value: { n: 2n ** 60n, x: [NaN] } }) });
    const { messages, trailers, headers } = await web(tidemark, "Query", request, { Origin: "https://app.example" }, { type, isText });
    assert.equal(headers.get("access-control-allow-origin"), "https://app.example");
    assert.match(headers.get("access-control-expose-headers"), /grpc-status-details-bin/);
    assert.equal(trailers["grpc-status"], "0");
    const { result } = fromBytes("QueryResponse", messages[0]);
    assert.deepStrictEqual(decodeWeb(result.value), { n: 2n ** 60n, x: [NaN] });
    const refused = await web(tidemark, "Query", toBytes("QueryRequest", {}), {}, { type, isText });
    assert.equal(statusOf(refused.headers, refused.trailers).code, "MissingPath");
  });
}

test("a page subscribes over gRPC-Web, and the server notices when it goes", LIMIT, async () => {
  await metricIs(tidemark, "tidemark_fanout_sessions", 0);
  const set = randomUUID();
  const page = new AbortController();
  const request = toBytes("SubscribeRequest", { call: callOf("live:count", { set }) });
  const response = await fetch(`${tidemark.grpcUrl}${QUERY.replace("Query", "Subscribe")}`, {
    method: "POST",
    headers: { "Content-Type": "application/grpc-web+proto", "X-Grpc-Web": "1" },
    body: frame(request),
    signal: page.signal,
  });
  let text = Buffer.alloc(0);
  const counts = [];
  for await (const piece of response.body) {
    text = Buffer.concat([text, piece]);
    for (const message of framesOf(text).messages.slice(counts.length)) {
      const { result } = fromBytes("SubscribeResponse", message);
      counts.push(result ? decodeWeb(result.value) : null);
    }
    const last = counts.filter((count) => count !== null).at(-1);
    if (last === 2) break;
    if (last === 0 || last === 1) await client.mutation("live:add", { set });
  }
  page.abort();
  await metricIs(tidemark, "tidemark_fanout_sessions", 0);
});

function frame(message) {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** The messages and trailers in a body of gRPC-Web, as far as it has come. */
function framesOf(body) {
  const messages = [];
  let trailers = {};
  for (let at = 0; at + 5 <= body.length; ) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    if (end > body.length) break;
    const content = body.subarray(at + 5, end);
    if (body[at] & 0x80) {
      const lines = content.toString().split("\r\n").filter((line) => line !== "");
      trailers = Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]));
    } else {
      messages.push(content);
    }
    at = end;
  }
  return { messages, trailers };
}

/** A call as a page makes it, without a library. */
async function web(tidemark, method, message, headers = {}, { type = "application/grpc-web+proto", isText = false } = {}) {
  const body = isText ? frame(message).toString("base64") : frame(message);
  const response = await fetch(`${tidemark.grpcUrl}${QUERY.replace("Query", method)}`, {
    method: "POST",
    headers: { "Content-Type": type, "X-Grpc-Web": "1", Accept: type, ...headers },
    body,
  });
  assert.equal(response.status, 200);
  const answered = Buffer.from(await response.arrayBuffer());
  // Each piece of a text may have been encoded by itself.
  const pieces = isText ? Buffer.concat(answered.toString().match(/[^=]+=*/g)?.map((piece) => Buffer.from(piece, "base64")) ?? []) : answered;
  return { headers: response.headers, ...framesOf(pieces) };
}

function statusOf(headers, trailers) {
  const details = trailers["grpc-status-details-bin"] ?? headers.get("grpc-status-details-bin");
  return detailsOf(Buffer.from(details, "base64"));
}

/** As the example's `decode`, of messages that protobufjs has read. */
function decodeWeb(value) {
  const kind = Object.keys(value).find((name) => value[name] !== undefined && name !== "kind");
  switch (kind) {
    case "array_value":
      return value.array_value.values.map(decodeWeb);
    case "object_value":
      return Object.fromEntries(Object.entries(value.object_value.fields).map(([name, field]) => [name, decodeWeb(field)]));
    default:
      return decode({ ...value, kind });
  }
}

test("keys hold, and subscriptions go on, over kills", LIMIT, async (context) => {
  const tidemark = await startTidemark(context, { grpc: true });
  await pushApp(context, tidemark, "conformance");
  const client = connectGrpc(context, tidemark);
  const set = randomUUID();
  const session_id = randomUUID();
  /** Asks until there is an answer. */
  const add = async (request_id) => {
    for (;;) {
      try {
        return await client.mutation("live:add", { set }, { key: { session_id, request_id }, deadline: Date.now() + 30_000 });
      } catch (error) {
        assert.ok([grpc.status.UNAVAILABLE, grpc.status.DEADLINE_EXCEEDED].includes(error.code), error.stack);
        await sleep(50);
      }
    }
  };
  const shown = [];
  let from, journal;
  let isOver = false;
  const following = (async () => {
    while (!isOver) {
      const subscription = client.subscribe("live:count", { set }, { from, journal });
      try {
        for (;;) {
          const { value, timestamp } = await subscription.next();
          from = timestamp;
          journal = subscription.journal;
          shown.push(value);
          if (value === 12) return;
        }
      } catch (error) {
        assert.ok([grpc.status.UNAVAILABLE, grpc.status.CANCELLED, grpc.status.UNKNOWN, grpc.status.INTERNAL].includes(error.code), error.stack);
        await sleep(50);
      }
    }
  })();
  try {
    const firsts = [];
    for (let round = 0; round < 3; round++) {
      firsts.push(await add(3 * round));
      const during = [add(3 * round + 1), add(3 * round + 2)];
      await tidemark.kill();
      await tidemark.start();
      firsts.push(...(await Promise.all(during)));
      for (const [request_id, first] of firsts.entries()) {
        const again = await add(request_id);
        assert.equal(again.timestamp, firsts[request_id].timestamp);
        assert.deepEqual(again, first);
      }
    }
    assert.equal((await client.query("live:count", { set })).value, 9, "each took effect once");
    for (let request = 9; request < 12; request++) await add(request);
    await following;
  } finally {
    isOver = true;
  }
  const sorted = shown.toSorted((one, other) => one - other);
  assert.deepEqual(shown, sorted, "what is shown does not go back");
});

test("a server that stops says so, and tells its subscribers", LIMIT, async (context) => {
  const tidemark = await startTidemark(context, { grpc: true, allowedInLog });
  await pushApp(context, tidemark, "conformance");
  const client = connectGrpc(context, tidemark);
  const subscription = client.subscribe("live:count", { set: "a" });
  await subscription.next();
  const action = failureOf(client.action("actions:waits", {}));
  await metricIs(tidemark, "tidemark_runner_actions_running", 1);
  const ended = failureOf(
    (async () => {
      for (;;) await subscription.any();
    })(),
  );
  assert.equal(await tidemark.stop(), 0);
  assert.deepEqual(without(await ended), { status: "UNAVAILABLE", code: "ShuttingDown", pauseMs: 1_000 });
  assert.deepEqual(without(await action), { status: "UNAVAILABLE", code: "ShuttingDown" });
});

test("a server for production tells its callers no more than over HTTP", LIMIT, async (context) => {
  const tidemark = await startTidemark(context, { grpc: true, environment: { TIDEMARK_REDACT_LOGS_TO_CLIENT: "true" } });
  await pushApp(context, tidemark, "conformance");
  const client = connectGrpc(context, tidemark);
  const { error, logLines } = await client.query("calls:failing", { how: "error" });
  assert.match(error, /^\[Request ID: [0-9a-f]{16}\] Server Error$/);
  assert.deepEqual(logLines, []);
  assert.equal((await client.query("calls:failing", { how: "convex error", data: 7n })).data, 7n);
  const admin = connectGrpc(context, tidemark, `Convex ${tidemark.adminKey}`);
  assert.match((await admin.query("calls:failing", { how: "error" })).error, /out of range/);
});

test("there are as many subscriptions, calls of a connection and bytes as the configuration has it", LIMIT, async (context) => {
  const tidemark = await startTidemark(context, { grpc: true, limits: { grpc: { subscriptions_max: 2, streams_per_connection_max: 4, batch_bytes_max: 17_000_000, probes_in_flight_max: 2 } } });
  await pushApp(context, tidemark, "conformance");
  const client = connectGrpc(context, tidemark);
  const held = [client.subscribe("live:count", { set: "a" }), client.subscribe("live:count", { set: "b" })];
  for (const subscription of held) await subscription.next();
  const third = await failureOf(client.subscribe("live:count", { set: "c" }).next());
  assert.deepEqual(without(third), { status: "RESOURCE_EXHAUSTED", code: "TooManySubscriptions", pauseMs: 1_000 });
  held[0].cancel();
  await metricIs(tidemark, "tidemark_fanout_sessions", 1);
  held.push(client.subscribe("live:count", { set: "c" }));
  assert.equal((await held[2].next()).value, 0);
  // More calls than a connection takes at once wait in the library, and are answered.
  const values = Array.from({ length: 40 }, (_, at) => at);
  const answers = await Promise.all(values.map((value) => client.query("values:echo", { value })));
  assert.deepEqual(answers.map(({ value }) => value), values);
  for (const subscription of held) subscription.cancel();

  const [check, watch] = ["Check", "Watch"].map((method) => `/grpc.health.v1.Health/${method}`);
  const watching = [1, 2].map(() => unread(context, tidemark, watch, Buffer.alloc(0)));
  await Promise.all(watching.map((stream) => once(stream, "response")));
  assert.equal((await failureOf(callRaw(context, tidemark, watch, Buffer.alloc(0)))).code, "TooManyConcurrentRequests");
  const answer = await callRaw(context, tidemark, check, Buffer.alloc(0));
  assert.equal(fromBytes("HealthCheckResponse", answer).status, 1, "who only asks is answered whoever else watches");

  await client.mutation("values:keep", { set: "large", values: Array.from({ length: 5 }, () => "x".repeat(900_000)) });
  const kept = ["values:kept", { set: "large" }];
  assert.equal((await client.batch([kept, kept, kept])).results.length, 3);
  const failure = await failureOf(client.batch([kept, kept, kept, kept]));
  assert.deepEqual(without(failure), { status: "INVALID_ARGUMENT", code: "BatchTooLarge" });
});

/** Calls a method on a connection of its own, and takes nothing of what comes back. */
function unread(context, tidemark, path, message) {
  const session = connectHttp2(tidemark.grpcUrl);
  whenOver(context, () => session.destroy());
  session.on("error", () => {});
  const stream = session.request({ ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" });
  stream.on("error", () => {});
  stream.end(frame(message));
  return stream;
}

const HALF = { set: "large", values: Array.from({ length: 6 }, () => "x".repeat(900_000)) };
const LARGE_BYTES = 10_800_000;

for (const [kind, open] of [
  [
    "a subscription",
    (context, tidemark) => unread(context, tidemark, QUERY.replace("Query", "Subscribe"), toBytes("SubscribeRequest", { call: callOf("values:kept", { set: HALF.set }) })),
  ],
  [
    "a WebSocket",
    (context, tidemark) => {
      const socket = new WebSocket(`${tidemark.url.replace("http", "ws")}/api/1.48.0/sync`);
      whenOver(context, () => socket.terminate());
      socket.on("error", () => {});
      socket.once("open", () => {
        const query = { type: "Add", queryId: 0, udfPath: "values:kept", args: [{ set: HALF.set }] };
        socket.send(JSON.stringify({ type: "Connect", sessionId: randomUUID(), connectionCount: 0, lastCloseReason: null, clientTs: 0 }));
        socket.send(JSON.stringify({ type: "ModifyQuerySet", baseVersion: 0, newVersion: 1, modifications: [query] }));
        socket.pause();
      });
      return Object.assign(socket, { resumed: (take) => socket.on("message", take).resume() });
    },
  ],
]) {
  test(`what clients of ${kind} don't take has room for so much, and the others wait for it`, LIMIT, async (context) => {
    const room = 24 << 20;
    const tidemark = await startTidemark(context, { grpc: true, limits: { gateway: { answers_bytes_max: room } } });
    await pushApp(context, tidemark, "conformance");
    const client = connectGrpc(context, tidemark);
    for (const half of [HALF, HALF]) await client.mutation("values:keep", half);
    const used = async () => {
      const text = await (await fetch(tidemark.metricsUrl)).text();
      return Number(/^tidemark_limit_used\{limit="gateway.answers_bytes_max"[^}]*\} (\S+)$/m.exec(text)[1]);
    };
    const clients = [1, 2, 3, 4].map(() => open(context, tidemark));
    for (const deadline = Date.now() + 120_000; (await used()) < 2 * LARGE_BYTES; await sleep(50)) {
      assert.ok(Date.now() < deadline, `${await used()} bytes are held, which two of them would be more than`);
    }
    await sleep(1_000);
    const held = await used();
    assert.ok(held <= room, `${held}`);
    assert.equal((await client.query("live:count", { set: "a" })).value, 0, "small answers need no room");
    // Each is told all of it in the end.
    const taken = (one) =>
      new Promise((resolve) => {
        let bytes = 0;
        const take = (data) => (bytes += data.length) >= LARGE_BYTES && resolve();
        if (one.resumed) one.resumed(take);
        else one.on("data", take);
      });
    await Promise.all(clients.map(taken));
    for (const deadline = Date.now() + 120_000; (await used()) > 0; await sleep(50)) {
      assert.ok(Date.now() < deadline, `${await used()} bytes are still held`);
    }
  });
}

test("the examples do what their README says", LIMIT, async (context) => {
  const tidemark = await startTidemark(context, { grpc: true });
  await pushApp(context, tidemark, chat);
  const written = [];
  for (const [author, program, words] of [
    ["rust", process.env.GRPC_CALLER, []],
    ["python", `${examples}python/.venv/bin/python`, [`${examples}python/caller.py`]],
    ["node", process.execPath, [`${examples}node/caller.mjs`]],
  ]) {
    await context.test(author, LIMIT, async () => {
      assert.ok(program, "GRPC_CALLER names the program of examples/grpc/rust; `xtask end-to-end` builds it");
      const env = { ...process.env, TIDEMARK_GRPC_URL: tidemark.grpcUrl, PYTHONDONTWRITEBYTECODE: "1" };
      const { stdout } = await promisify(execFile)(program, [...words, author, `Hello from ${author}`], { env, timeout: 120_000 });
      const before = written.join(", ") || "nobody";
      written.unshift(author);
      const lines = stdout.trim().split("\n");
      const channel = /^channel (\w+): /.exec(lines[0])?.[1];
      assert.match(lines[1] ?? "", /^sent \w+ at \d{19}$/, stdout);
      assert.deepEqual(lines, [
        `channel ${channel}: ${before} has written`,
        lines[1],
        `channel ${channel}: ${written.join(", ")} has written`,
        `at that moment: 1 channels, ${written.length} authors`,
        `refused: "A message has 1 to 2000 characters."`,
      ]);
    });
  }
});
