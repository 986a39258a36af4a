#!/usr/bin/env bash
# npm convex 1.48.0 (cli/lib/logs.ts): `convex logs --history N` prints fewer executions when N is larger than what there is.
#
# The guess: with three executions in the log, `--history 4` prints three.
# What happens: it prints one. The tool takes the answer of its first poll and cuts it at (how many there are − N); that is −1, which
# counts from the end. 5 prints two, 6 and more print all three. Without `--history` the answer of the first poll is dropped: it
# only says where "now" is.
# What follows for a server: what it answers to cursor 0 is history and nothing else; and a test that looks for an old line
# must ask for exactly as many executions as there are, or for twice as many.
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.48.0 >/dev/null
mkdir convex
cat > server.mjs <<'JS'
// The function log of a deployment that has run three queries. What comes next is waited for; that it is asked for is noted.
import { createServer } from "node:http";
import { writeFileSync } from "node:fs";

const execution = (number) => ({
  kind: "Completion", udfType: "Query", identifier: `app:run${number}`, componentPath: null, logLines: [],
  timestamp: number, cachedResult: false, executionTime: 0.001, success: null, error: null,
  requestId: `request${number}`, executionId: `execution${number}`, usageStats: {}, executionTimestamp: number,
  caller: "Tester", environment: "isolate", identityType: "user", returnBytes: 1,
});
const server = createServer((request, response) => {
  const url = new URL(request.url, "http://localhost");
  if (url.pathname !== "/api/stream_function_logs") {
    response.writeHead(404).end("{}");
  } else if (url.searchParams.get("cursor") === "0") {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ entries: [1, 2, 3].map(execution), newCursor: 3 }));
  } else {
    // The first answer is printed by now.
    writeFileSync("asked-again", "");
  }
});
server.listen(0, "127.0.0.1", () => writeFileSync("port", String(server.address().port)));
JS
node server.mjs &
server=$!
until [ -s port ]; do sleep 0.1; done
export CONVEX_SELF_HOSTED_URL="http://127.0.0.1:$(cat port)" CONVEX_SELF_HOSTED_ADMIN_KEY='dev|0123'

# Prints how many executions the tool shows until it waits for new ones.
shown() {
  rm -f asked-again
  timeout 60 node node_modules/convex/bin/main.js logs --success "$@" > printed 2>&1 &
  local tool=$!
  for _ in $(seq 300); do
    [ -e asked-again ] && break
    sleep 0.1
  done
  [ -e asked-again ] || { cat printed >&2; exit 1; }
  kill "$tool" 2>/dev/null || true
  wait "$tool" 2>/dev/null || true
  grep -c 'Function executed' printed || true
}
result="none: $(shown)"
for history in 1 2 3 4 5 6 7; do
  result="$result, $history: $(shown --history "$history")"
done
echo "$result"
[ "$result" = "none: 0, 1: 1, 2: 2, 3: 3, 4: 1, 5: 2, 6: 3, 7: 3" ]
echo "as found"
