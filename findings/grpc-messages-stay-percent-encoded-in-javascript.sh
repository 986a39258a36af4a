#!/usr/bin/env bash
# npm @grpc/grpc-js 1.14.7 and @protobuf-ts/grpcweb-transport 2.11.1, with a server of @connectrpc/connect-node 2.3.0: of the message "which café?" arrives
# "which café%3F" by gRPC, and "which%20caf%C3%A9%3F" by gRPC-Web.
#
# The guess: a client shows the message that the server gave. gRPC sends it percent-encoded in the trailer `grpc-message`; a client decodes it, as connect-web and
# nice-grpc-web do.
# What happens: grpc-js decodes by `decodeURI`, which is for whole addresses: what parts an address stays encoded, the eleven ;/?:@&=+$,#. The
# transport for gRPC-Web of protobuf-ts does not decode at all. Servers that encode only what they must (all but printable ASCII, and "%") never show the first;
# connect-node encodes all that `encodeURIComponent` does, tonic "?" and "#", and both encode spaces.
# What follows for an app: `decodeURIComponent(error.message)` where the error comes from the second. For a server: nothing that a program reads belongs in a message.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error @connectrpc/connect@2.3.0 @connectrpc/connect-node@2.3.0 @connectrpc/connect-web@2.3.0 \
  @bufbuild/protobuf@2.17.0 @protobuf-ts/runtime@2.11.1 @protobuf-ts/runtime-rpc@2.11.1 @protobuf-ts/grpcweb-transport@2.11.1 @grpc/grpc-js@1.14.7 \
  nice-grpc-web@3.3.11 >/dev/null
cat > probe.mjs <<'JS'
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import { createFileRegistry, fromJson } from "@bufbuild/protobuf";
import { file_google_protobuf_empty, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { Client, credentials } from "@grpc/grpc-js";
import { GrpcWebFetchTransport } from "@protobuf-ts/grpcweb-transport";
import { MessageType } from "@protobuf-ts/runtime";
import { ServiceType } from "@protobuf-ts/runtime-rpc";
import { createChannel, createClient as createNiceClient } from "nice-grpc-web";

const MESSAGE = "which café?";
const file = fromJson(FileDescriptorProtoSchema, {
  name: "probe.proto",
  package: "probe",
  syntax: "proto3",
  dependency: ["google/protobuf/empty.proto"],
  service: [{ name: "Probe", method: [{ name: "Go", inputType: ".google.protobuf.Empty", outputType: ".google.protobuf.Empty" }] }],
});
const service = createFileRegistry(file, () => file_google_protobuf_empty.proto).getService("probe.Probe");
const handler = connectNodeAdapter({
  routes: (router) =>
    router.service(service, {
      go: () => {
        throw new ConnectError(MESSAGE, Code.NotFound);
      },
    }),
});
const listening = (server) => new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(`127.0.0.1:${server.address().port}`)));
const servers = [createServer(handler), createHttp2Server(handler)];
const [web, http2] = await Promise.all(servers.map(listening));

const failure = async (call) => {
  try {
    await call();
  } catch (error) {
    return error;
  }
};
const empty = () => new Uint8Array();
const path = "/probe.Probe/Go";
const byConnect = createClient(service, createGrpcWebTransport({ baseUrl: `http://${web}` }));
const byNice = createNiceClient(
  { go: { path, requestSerialize: empty, responseSerialize: empty, requestDeserialize: empty, responseDeserialize: empty, options: {} } },
  createChannel(`http://${web}`),
);
const Empty = new MessageType("google.protobuf.Empty", []);
const { methods } = new ServiceType("probe.Probe", [{ name: "Go", I: Empty, O: Empty }]);
const byProtobufTs = new GrpcWebFetchTransport({ baseUrl: `http://${web}`, format: "binary" });
const byGrpc = new Client(http2, credentials.createInsecure());
const seen = {
  connect: (await failure(() => byConnect.go({}))).rawMessage,
  nice: (await failure(() => byNice.go({}))).details,
  protobufTs: (await failure(() => byProtobufTs.unary(methods[0], {}, byProtobufTs.mergeOptions({})))).message,
  grpc: (await new Promise((resolve) => byGrpc.makeUnaryRequest(path, Buffer.from, Buffer.from, empty(), resolve))).details,
};
console.log(seen);
assert.deepEqual(seen, { connect: MESSAGE, nice: MESSAGE, protobufTs: "which%20caf%C3%A9%3F", grpc: "which café%3F" });
process.exit();
JS
timeout 60 node probe.mjs
echo "as found"
