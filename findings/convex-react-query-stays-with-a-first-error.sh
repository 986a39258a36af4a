#!/usr/bin/env bash
# npm @convex-dev/react-query 0.1.0 with @tanstack/react-query 5.90.5 and convex 1.48.0: a live query whose first answer is an error shows no later one.
#
# The guess: a query that fails at first (its document is not there yet, its user is not signed in yet) and is answered by the server later goes from "error" to
# "success", as with `useQuery` of convex/react, and as it does where the failure came after an answer.
# What happens: the client below has the new value (`localQueryResult` is 7), the query of TanStack stays "error" without data. An update of the live query is only
# entered where there is data already; so an error after an answer is left behind by the next answer, and a first error never is, until somebody refetches.
# What follows for an app: return null instead of throwing where a query may be early, or refetch (`retry`, a button, an error boundary that resets).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.48.0 @convex-dev/react-query@0.1.0 @tanstack/react-query@5.90.5 \
  react@19.2.0 react-dom@19.2.0 ws@8.18.3 >/dev/null
cat > probe.mjs <<'JS'
import assert from "node:assert/strict";

// What a browser has and TanStack looks for.
globalThis.window = { addEventListener() {}, removeEventListener() {} };
const { WebSocket, WebSocketServer } = await import("ws");
const { ConvexReactClient } = await import("convex/react");
const { anyApi } = await import("convex/server");
const { ConvexQueryClient, convexQuery } = await import("@convex-dev/react-query");
const { QueryClient, QueryObserver } = await import("@tanstack/react-query");

// A server of two queries, one of which fails until it is told otherwise.
const failed = { type: "QueryFailed", errorMessage: "not yet", logLines: [], journal: null };
const updated = (value) => ({ type: "QueryUpdated", value, logLines: [], journal: null });
const results = { "a:early": failed, "a:known": updated(1) };
const ids = {};
const timestamp = (number) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(number));
  return bytes.toString("base64");
};
const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
await new Promise((resolve) => server.on("listening", resolve));
let show;
server.on("connection", (socket) => {
  let [clock, version] = [0, { querySet: 0, identity: 0, ts: timestamp(0) }];
  const send = (querySet, modifications) => {
    const endVersion = { querySet, identity: 0, ts: timestamp(++clock) };
    socket.send(JSON.stringify({ type: "Transition", startVersion: version, endVersion, modifications }));
    version = endVersion;
  };
  show = (path, result) => {
    results[path] = result;
    send(version.querySet, [{ ...result, queryId: ids[path] }]);
  };
  socket.on("message", (text) => {
    const message = JSON.parse(text);
    if (message.type !== "ModifyQuerySet") return;
    const answers = message.modifications.map(({ type, queryId, udfPath }) => {
      if (type === "Remove") return { type: "QueryRemoved", queryId };
      ids[udfPath] = queryId;
      return { ...results[udfPath], queryId };
    });
    send(message.newVersion, answers);
  });
});

const address = `http://127.0.0.1:${server.address().port}`;
const client = new ConvexReactClient(address, { webSocketConstructor: WebSocket, skipConvexDeploymentUrlCheck: true, logger: false });
const convex = new ConvexQueryClient(client);
const queries = new QueryClient({
  defaultOptions: { queries: { queryKeyHashFn: convex.hashFn(), queryFn: convex.queryFn(), retry: false } },
});
convex.connect(queries);
const shown = {};
for (const name of ["early", "known"]) {
  new QueryObserver(queries, convexQuery(anyApi.a[name], {})).subscribe(({ status, data }) => {
    const text = data === undefined ? status : `${status} ${data}`;
    shown[name] ??= [];
    if (shown[name].at(-1) !== text) shown[name].push(text);
  });
}
const pause = () => new Promise((resolve) => setTimeout(resolve, 500));
await pause();
show("a:known", failed);
await pause();
for (const path of ["a:early", "a:known"]) show(path, updated(7));
await pause();
const held = client.watchQuery(anyApi.a.early, {}).localQueryResult();
console.log("the first answer was an error:", shown.early, "and the client below has", held);
console.log("an error came after an answer:", shown.known);
assert.equal(held, 7);
assert.deepEqual(shown.early, ["pending", "error"]);
assert.deepEqual(shown.known, ["pending", "success 1", "error 1", "success 7"]);
process.exit(0);
JS
node probe.mjs
echo "as found"
