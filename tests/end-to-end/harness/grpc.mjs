// A client of the gRPC API: that of the example for Node.js, and what it needs besides to see errors, health and descriptions.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, decode, fieldsOf } from "../../../examples/grpc/node/deployment.mjs";
import { whenOver } from "./cleanup.mjs";

const PROTO = new URL("../../../proto", import.meta.url).pathname;
const PATIENCE_MS = 120_000;
const require = createRequire(new URL("../../../examples/grpc/node/deployment.mjs", import.meta.url));
export const grpc = require("@grpc/grpc-js");
const protobuf = require("protobufjs");

/** Parts of gRPC's own messages, as far as they are looked at. */
const { root: known } = protobuf.parse(
  `syntax = "proto3";
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
  message Duration { int64 seconds = 1; int32 nanos = 2; }
  message RetryInfo { Duration retry_delay = 1; }
  message HealthCheckRequest { string service = 1; }
  message HealthCheckResponse { int32 status = 1; }
  message ServerReflectionRequest { string host = 1; string file_containing_symbol = 4; string list_services = 7; }
  message Service { string name = 1; }
  message Services { repeated Service service = 1; }
  message Files { repeated bytes file_descriptor_proto = 1; }
  message RawCall { string path = 1; map<string, bytes> arguments = 2; }
  message RawQuery { RawCall call = 1; }
  message ServerReflectionResponse { Files file_descriptor_response = 4; Services list_services_response = 6; }`,
  { keepCase: true },
);
const published = new protobuf.Root();
published.resolvePath = (_origin, target) => join(PROTO, target);
published.loadSync("tidemark/deployment/v1/deployment.proto", { keepCase: true });

/** The messages of the API, and of gRPC itself. */
export const messageOf = (name) => published.lookup(`tidemark.deployment.v1.${name}`) ?? known.lookupType(name);

export const toBytes = (name, message) => Buffer.from(messageOf(name).encode(messageOf(name).fromObject(message)).finish());
export const fromBytes = (name, bytes) => messageOf(name).toObject(messageOf(name).decode(bytes), { longs: String, defaults: true });

/** A query with one argument, of arrays within each other: more than the library can write. */
export function nestedQuery(path, levels) {
  let value = Buffer.from([0x0a, 0]);
  for (let level = 0; level < levels; level++) {
    for (const key of [0x0a, 0x3a]) {
      const length = protobuf.Writer.create().uint32(value.length).finish();
      value = Buffer.concat([Buffer.from([key]), length, value]);
    }
  }
  return toBytes("RawQuery", { call: { path, arguments: { value } } });
}

/** A connection, closed with the test. `authorization` is as in the header of the HTTP API. */
export function connectGrpc(context, tidemark, authorization) {
  const deployment = connect(tidemark.grpcUrl, authorization);
  whenOver(context, () => deployment.close());
  return new Grpc(deployment);
}

export const callOf = (path, args = {}, component) => ({ path, arguments: fieldsOf(args), ...(component ? { component } : {}) });

class Grpc {
  constructor(deployment) {
    this.deployment = deployment;
  }

  /** `{ value, logLines, timestamp }`, or with `error` and, for a ConvexError, `data` in place of the value. */
  async query(path, args, { at, component, ...options } = {}) {
    return shown(await this.deployment.Query({ call: callOf(path, args, component), ...(at ? { at_timestamp: at } : {}) }, options));
  }

  async mutation(path, args, { key, ...options } = {}) {
    return shown(await this.deployment.Mutation({ call: callOf(path, args), ...(key ? { idempotency_key: key } : {}) }, options));
  }

  async action(path, args, options) {
    return shown(await this.deployment.Action({ call: callOf(path, args) }, options));
  }

  async batch(calls, { at, ...options } = {}) {
    const request = { calls: calls.map(([path, args]) => callOf(path, args)), ...(at ? { at_timestamp: at } : {}) };
    const { timestamp, results } = await this.deployment.QueryBatch(request, options);
    return { timestamp, results: results.map((result) => shown({ result })) };
  }

  subscribe(path, args, { from, journal, ...options } = {}) {
    const request = { call: callOf(path, args), ...(from ? { from_timestamp: from } : {}), ...(journal ? { journal } : {}) };
    return new Subscription(this.deployment.Subscribe(request, options));
  }
}

class Subscription {
  #stream;
  #responses;
  /** Of all responses so far. */
  timestamps = [];
  heartbeats = 0;
  journal;

  constructor(stream) {
    this.#stream = stream;
    this.#responses = stream[Symbol.asyncIterator]();
  }

  /** The next response: a result, or `{ heartbeat }`. Fails with the stream. */
  async any() {
    const timer = setTimeout(() => this.cancel(), PATIENCE_MS);
    const { value: response, done } = await this.#responses.next().finally(() => clearTimeout(timer));
    assert.ok(!done, "a subscription does not end by itself");
    this.timestamps.push(BigInt(response.timestamp));
    if (response.event === "heartbeat") {
      this.heartbeats += 1;
      return { heartbeat: response.timestamp };
    }
    if (response.journal) this.journal = response.journal;
    return shown(response);
  }

  /** The next result. */
  async next() {
    for (;;) {
      const response = await this.any();
      if (!response.heartbeat) return response;
    }
  }

  /** Waits for a value. */
  async shows(value) {
    for (;;) {
      const { value: last, timestamp } = await this.next();
      if (last === value) return timestamp;
    }
  }

  cancel() {
    this.#stream.cancel();
  }
}

function shown({ result, timestamp }) {
  const about = { logLines: result.log_lines, ...(timestamp ? { timestamp } : {}) };
  if (result.result === "value") return { value: decode(result.value), ...about };
  const { message, data } = result.error;
  return { error: message, ...(data ? { data: decode(data) } : {}), ...about };
}

/** Why a call fails: the status, our code, and after how many milliseconds it may be sent again, if it may. */
export async function failureOf(promise) {
  const error = await promise.then(
    (answer) => assert.fail(`it is answered: ${JSON.stringify(answer, (_, value) => (typeof value === "bigint" ? `${value}` : value))}`),
    (error) => error,
  );
  assert.ok(error.metadata, `${error.stack}`);
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  const failure = { status: grpc.status[error.code], message: error.details };
  return bytes === undefined ? failure : { ...failure, ...detailsOf(bytes) };
}

/** What the details of a status say. */
export function detailsOf(bytes) {
  const { details } = fromBytes("Status", bytes);
  const detail = (name) => {
    const found = details.find(({ type_url }) => type_url === `type.googleapis.com/google.rpc.${name}`);
    return found && fromBytes(name, found.value);
  };
  const { reason, domain, metadata } = detail("ErrorInfo");
  assert.equal(domain, "tidemark");
  assert.match(metadata.request_id, /^[0-9a-f]{16}$/);
  const retry = detail("RetryInfo");
  const pause = retry && { pauseMs: Number(retry.retry_delay.seconds) * 1_000 + retry.retry_delay.nanos / 1e6 };
  return { code: reason, ...pause };
}

/** Calls a method with bytes for a message, and answers with bytes. */
export function callRaw(context, tidemark, path, bytes, { metadata = new grpc.Metadata(), ...options } = {}) {
  const client = new grpc.Client(new URL(tidemark.grpcUrl).host, grpc.credentials.createInsecure());
  whenOver(context, () => client.close());
  const same = (bytes) => bytes;
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, same, same, bytes, metadata, options, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

/** Sends one message to a streaming method, and answers with the first that comes back. */
export async function firstOf(context, tidemark, path, bytes) {
  const client = new grpc.Client(new URL(tidemark.grpcUrl).host, grpc.credentials.createInsecure());
  whenOver(context, () => client.close());
  const same = (bytes) => bytes;
  const stream = client.makeBidiStreamRequest(path, same, same, new grpc.Metadata(), {});
  stream.on("error", () => {});
  stream.write(bytes);
  stream.end();
  const { value } = await stream[Symbol.asyncIterator]().next();
  stream.cancel();
  return value;
}

/** Waits until a number of the server's metrics is what it should be. */
export async function metricIs(tidemark, name, expected) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const text = await (await fetch(tidemark.metricsUrl)).text();
    const value = Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "m").exec(text)?.[1]);
    if (value === expected) return;
    assert.ok(Date.now() < deadline, `${name} is ${value}, not ${expected}`);
    await sleep(50);
  }
}

export { decode };
