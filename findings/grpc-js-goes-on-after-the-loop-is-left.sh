#!/usr/bin/env bash
# npm @grpc/grpc-js 1.14.7: leaving a `for await` over the answers of a call does not end the call.
#
# The guess: `break` destroys the stream, as with every readable stream of Node.js, and with it what it reads from: the server hears of the cancellation, as it does when a browser's
# body or a file is left in the same way.
# What happens: the stream is destroyed, and the call goes on. The server is never told, goes on sending, and the process does not end, not even after `client.close()`.
# What follows: call `cancel()` after the loop (in a `finally`, since an exception leaves it too).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes > /dev/null
npm install --silent --no-audit --no-fund @grpc/grpc-js@1.14.7
cat > probe.mjs <<'JS'
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import grpc from "@grpc/grpc-js";

const same = (bytes) => bytes;
const definition = { path: "/x.Numbers/Count", requestStream: false, responseStream: true };
Object.assign(definition, { requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same });
const cancelled = [];
const server = new grpc.Server();
server.addService({ count: definition }, {
  count(call) {
    const name = `${call.request}`;
    const timer = setInterval(() => call.write(Buffer.from("tick")), 20);
    call.on("cancelled", () => {
      clearInterval(timer);
      cancelled.push(name);
    });
  },
});
const port = await new Promise((resolve, reject) =>
  server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => (error ? reject(error) : resolve(port))),
);
const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
const count = (name) => client.makeServerStreamRequest(definition.path, same, same, Buffer.from(name), new grpc.Metadata(), {});

const left = count("left");
for await (const _ of left) break;
await sleep(1_000);
console.log({ destroyed: left.destroyed, cancelled });
assert.equal(left.destroyed, true);
assert.deepEqual(cancelled, [], "the call was ended by leaving the loop: this finding is history");

left.cancel();
await sleep(1_000);
console.log({ cancelled });
assert.deepEqual(cancelled, ["left"]);
client.close();
server.forceShutdown();
JS
node probe.mjs
