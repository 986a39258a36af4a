#!/usr/bin/env bash
# npm convex 1.48.0 (browser/simple_client.js): `await client.query(f)` of ConvexClient, called a second time, can give the value of
# the first call without asking the server, however long ago that was.
#
# The guess: a one-time query that has been answered leaves nothing behind, so a second call asks again.
# What happens: the client unsubscribes when the first answer is there, but keeps the value until the server confirms that with a
# Transition. As long as that has not come (here the server takes its time), the second call is answered from what
# was kept, and nothing is sent. Another client's write in between is not seen.
# What follows for a server: confirm a removal at once; each millisecond of delay is one in which clients read their past.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.48.0 ws@8.18.0 >/dev/null
cat > probe.mjs <<'JS'
import assert from "node:assert";
import { once } from "node:events";
import { ConvexClient } from "convex/browser";
import { makeFunctionReference } from "convex/server";
import { WebSocketServer } from "ws";

// A server of the sync protocol for one client: every query that is added has one more than the last as its value.
const moment = (number) => Buffer.from(BigUint64Array.of(BigInt(number)).buffer).toString("base64");
const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
const received = [];
let confirm;
const removalArrived = new Promise((arrived) => {
  server.on("connection", (socket) => {
    let version = { querySet: 0, identity: 0, ts: moment(0) };
    let moments = 0;
    let value = 0;
    const change = (message) => {
      const modifications = message.modifications.map(({ type, queryId }) =>
        type === "Add"
          ? { type: "QueryUpdated", queryId, value: ++value, logLines: [], journal: null }
          : { type: "QueryRemoved", queryId },
      );
      const endVersion = { ...version, querySet: message.newVersion, ts: moment(++moments) };
      socket.send(JSON.stringify({ type: "Transition", startVersion: version, endVersion, modifications }));
      version = endVersion;
    };
    socket.on("message", (data) => {
      const message = JSON.parse(data);
      if (message.type !== "ModifyQuerySet") return;
      received.push(message.modifications.map(({ type }) => type).join());
      if (received.at(-1) === "Remove" && confirm === undefined) {
        confirm = () => change(message);
        arrived();
      } else {
        change(message);
      }
    });
  });
});
await once(server, "listening");

const client = new ConvexClient(`http://127.0.0.1:${server.address().port}`, { skipConvexDeploymentUrlCheck: true });
const list = makeFunctionReference("messages:list");
const first = await client.query(list, {});
await removalArrived;
const second = await client.query(list, {});
console.log({ first, second, received });
assert.deepEqual({ first, second, received: [...received] }, { first: 1, second: 1, received: ["Add", "Remove"] });

confirm();
// The confirmation is on its way; once it is there, a call asks again.
let third;
do {
  await new Promise(setImmediate);
  third = await client.query(list, {});
} while (third === 1);
console.log({ third });
assert.equal(third, 2);
await client.close();
server.close();
JS
timeout 60 node probe.mjs
echo "as found"
