#!/usr/bin/env bash
# npm convex 1.48.0 (browser/sync/authentication_manager.ts): `onChange` of `setAuth` is called with `true` a second time right after
# sign-in, and again with each token that is fetched before the last one ends, though the client was signed in all the while.
#
# The guess: a callback for changes of the authentication is called once as long as nobody signs out; what empties a cache or loads a
# page anew can stand in it.
# What happens: a client that was let in asks `fetchToken` for a fresh token at once. Its state remembers that it was signed in before
# (`hadAuth`), so that this is no change. But when the server confirms that token, the next refresh is scheduled first, by which
# the state becomes one that has no such field, and then the field is asked. If both tokens are the same text, as two JWTs of one second
# are, nothing is sent and `onChange` is called once: whether it is once or twice is decided by the clock.
# What follows for an app: compare with the last value before doing something about it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.48.0 ws@8.18.0 >/dev/null
cat > probe.mjs <<'JS'
import assert from "node:assert";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { ConvexClient } from "convex/browser";
import { WebSocketServer } from "ws";

// A server of the sync protocol that lets everybody in.
const moment = (number) => Buffer.from(BigUint64Array.of(BigInt(number)).buffer).toString("base64");
const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
server.on("connection", (socket) => {
  let version = { querySet: 0, identity: 0, ts: moment(0) };
  let moments = 0;
  socket.on("message", (data) => {
    const message = JSON.parse(data);
    if (message.type !== "Authenticate") return;
    const endVersion = { ...version, identity: message.baseVersion + 1, ts: moment(++moments) };
    socket.send(JSON.stringify({ type: "Transition", startVersion: version, endVersion, modifications: [] }));
    version = endVersion;
  });
});
await once(server, "listening");

const part = (json) => Buffer.from(JSON.stringify(json)).toString("base64url");
const tokenOf = (issuedAt) => [part({ alg: "none" }), part({ sub: "ann", iat: issuedAt, exp: issuedAt + 3_600 }), "c2ln"].join(".");

async function changesWith(tokens) {
  const client = new ConvexClient(`http://127.0.0.1:${server.address().port}`, { skipConvexDeploymentUrlCheck: true });
  const changes = [];
  const given = [];
  client.setAuth(
    async () => {
      given.push(tokens[given.length]);
      return given.at(-1);
    },
    (isAuthenticated) => changes.push(isAuthenticated),
  );
  await sleep(1_000);
  await client.close();
  assert.equal(given.length, 2);
  return changes;
}

const now = Math.floor(Date.now() / 1_000);
const ofOneSecond = await changesWith([tokenOf(now), tokenOf(now)]);
const ofTwoSeconds = await changesWith([tokenOf(now - 1), tokenOf(now)]);
console.log({ ofOneSecond, ofTwoSeconds });
assert.deepEqual({ ofOneSecond, ofTwoSeconds }, { ofOneSecond: [true], ofTwoSeconds: [true, true] });
server.close();
JS
timeout 60 node probe.mjs
echo "as found"
