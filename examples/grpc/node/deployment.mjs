// The service as promises and streams, and Convex values as JavaScript's own: bigint for Int64, Uint8Array for bytes.
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const PROTO = new URL("../../../proto", import.meta.url).pathname;
const ANSWER_BYTES_MAX = 64 << 20;

const loaded = loadSync("tidemark/deployment/v1/deployment.proto", {
  includeDirs: [PROTO],
  keepCase: true,
  // 64 bits do not fit into numbers.
  longs: String,
  arrays: true,
  objects: true,
  // Says which field of a oneof is set.
  oneofs: true,
});
const { Deployment } = grpc.loadPackageDefinition(loaded).tidemark.deployment.v1;

/** `authorization` is as in the header of the HTTP API: `Bearer …` or `Convex …`. */
export function connect(url, authorization = process.env.TIDEMARK_TOKEN && `Bearer ${process.env.TIDEMARK_TOKEN}`) {
  const client = new Deployment(new URL(url).host, grpc.credentials.createInsecure(), {
    "grpc.max_receive_message_length": ANSWER_BYTES_MAX,
  });
  const metadata = new grpc.Metadata();
  if (authorization) metadata.set("authorization", authorization);
  const unary = (method) => (request, options = {}) =>
    new Promise((resolve, reject) => {
      client[method](request, metadata, options, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
  return {
    Query: unary("Query"),
    QueryBatch: unary("QueryBatch"),
    Mutation: unary("Mutation"),
    Action: unary("Action"),
    /** A stream of responses, which `for await` reads and `cancel()` ends. */
    Subscribe: (request, options = {}) => client.Subscribe(request, metadata, options),
    close: () => client.close(),
  };
}

/** A message `Value`. */
export function encode(value) {
  if (value === null) return { null_value: {} };
  if (typeof value === "bigint") return { int64_value: `${value}` };
  if (typeof value === "number") return { float64_value: value };
  if (typeof value === "boolean") return { boolean_value: value };
  if (typeof value === "string") return { string_value: value };
  if (value instanceof Uint8Array) return { bytes_value: value };
  if (Array.isArray(value)) return { array_value: { values: value.map(encode) } };
  return { object_value: { fields: fieldsOf(value) } };
}

/** The messages of an object's fields. */
export function fieldsOf(object) {
  return Object.fromEntries(Object.entries(object).map(([name, value]) => [name, encode(value)]));
}

/** What a message `Value` stands for. */
export function decode(value) {
  const content = value[value.kind];
  switch (value.kind) {
    case "null_value":
      return null;
    case "int64_value":
      return BigInt(content);
    case "array_value":
      return content.values.map(decode);
    case "object_value":
      return Object.fromEntries(Object.entries(content.fields).map(([name, field]) => [name, decode(field)]));
    default:
      return content;
  }
}
