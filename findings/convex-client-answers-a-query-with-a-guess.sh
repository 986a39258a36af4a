#!/usr/bin/env bash
# npm convex 1.48.0 (browser/simple_client.js): `await client.query(f)`, which asks the server once, can resolve to what an optimistic update
# made up, also when the mutation then fails.
#
# The guess: an optimistic update changes what subscriptions show for the moment; a one-time query, which has a promise and shows nothing,
# resolves to the server's answer.
# What happens: the query is a subscription that ends with its first value, and an optimistic update of a mutation that is under way is a
# value: the promise resolves to it before the server has said anything. Nothing tells a guess from an answer.
# What follows for an app: what is read by `client.query` in order to decide something must not be read while such a mutation is under way.
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

// A server of the sync protocol that answers queries at once, and refuses the one mutation when it is told to.
const moment = (number) => Buffer.from(BigUint64Array.of(BigInt(number)).buffer).toString("base64");
const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
let refuse;
let answered = 0;
const mutationArrived = new Promise((arrived) => {
  server.on("connection", (socket) => {
    let version = { querySet: 0, identity: 0, ts: moment(0) };
    let moments = 0;
    socket.on("message", (data) => {
      const message = JSON.parse(data);
      if (message.type === "ModifyQuerySet") {
        const modifications = message.modifications.map(({ type, queryId }) =>
          type === "Add"
            ? { type: "QueryUpdated", queryId, value: `balance ${++answered}`, logLines: [], journal: null }
            : { type: "QueryRemoved", queryId },
        );
        const endVersion = { ...version, querySet: message.newVersion, ts: moment(++moments) };
        socket.send(JSON.stringify({ type: "Transition", startVersion: version, endVersion, modifications }));
        version = endVersion;
      } else if (message.type === "Mutation") {
        const { requestId } = message;
        refuse = () =>
          socket.send(JSON.stringify({ type: "MutationResponse", requestId, success: false, result: "no", logLines: [] }));
        arrived();
      }
    });
  });
});
await once(server, "listening");

const address = `http://127.0.0.1:${server.address().port}`;
const client = new ConvexClient(address, { skipConvexDeploymentUrlCheck: true, logger: false });
const balance = makeFunctionReference("accounts:balance");
const pay = client.mutation(makeFunctionReference("accounts:pay"), {}, {
  optimisticUpdate: (store) => store.setQuery(balance, {}, "a guess"),
});
const outcome = pay.then(() => "done", () => "refused");
await mutationArrived;
const during = await client.query(balance, {});
const answeredDuring = answered;
refuse();
const seen = { during, answeredDuring, mutation: await outcome, after: await client.query(balance, {}) };
console.log(seen);
assert.equal(seen.during, "a guess");
assert.equal(seen.answeredDuring, 0);
assert.equal(seen.mutation, "refused");
assert.match(seen.after, /^balance /);
await client.close();
server.close();
JS
timeout 60 node probe.mjs
echo "as found"
