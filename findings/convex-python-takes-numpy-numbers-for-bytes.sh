#!/usr/bin/env bash
# PyPI convex 0.8.1 with numpy 2.3.4: a number of numpy's (np.int64(5), np.float32(1.5), np.bool_(True)) becomes bytes, and which bytes
# depends on how it is sent.
#
# The guess: np.int64(5) is sent like 5, as a number, or is refused, since no type of Convex is meant by it.
# What happens: the library does not know the type (np.int64 is no int, while np.float64 is a float), asks whether the value has a
# buffer, which scalars of numpy have, and takes it for bytes. By HTTP the eight bytes of its memory are sent. The WebSocket
# client calls bytes(…) on it, which for an integer means that many zeros: five of them. A subscription to the same query,
# whose arguments are not converted, refuses it.
# What follows for an app: a row of a data frame must be converted (`.item()`, `.tolist()`) before it is an argument. For a server: an
# `ArgumentValidationError` that shows bytes where a number was expected may come from here.
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error ws@8.18.0 >/dev/null
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check convex==0.8.1 numpy==2.3.4
cat > server.mjs <<'JS'
// A server of the sync protocol: every mutation returns its argument, every query as well. Prints the arguments as they came.
import { appendFileSync, writeFileSync } from "node:fs";
import { WebSocketServer } from "ws";

const moment = (number) => Buffer.from(BigUint64Array.of(BigInt(number)).buffer).toString("base64");
const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
server.on("connection", (socket) => {
  let version = { querySet: 0, identity: 0, ts: moment(0) };
  let moments = 0;
  const transition = (change, modifications) => {
    const endVersion = { ...version, ...change, ts: moment(++moments) };
    socket.send(JSON.stringify({ type: "Transition", startVersion: version, endVersion, modifications }));
    version = endVersion;
  };
  socket.on("message", (data) => {
    const message = JSON.parse(data);
    if (message.type === "Mutation") {
      const [result] = message.args;
      appendFileSync("received", `${JSON.stringify(result.value)}\n`);
      const ts = moment(moments + 1);
      const { requestId } = message;
      socket.send(JSON.stringify({ type: "MutationResponse", requestId, success: true, result, ts, logLines: [] }));
      transition({}, []);
    } else if (message.type === "ModifyQuerySet") {
      const answer = ({ type, queryId, args }) =>
        type === "Add"
          ? { type: "QueryUpdated", queryId, value: args[0], logLines: [], journal: null }
          : { type: "QueryRemoved", queryId };
      transition({ querySet: message.newVersion }, message.modifications.map(answer));
    }
  });
});
server.on("listening", () => writeFileSync("port", String(server.address().port)));
JS
node server.mjs &
server=$!
until [ -s port ]; do sleep 0.1; done
cat > probe.py <<'PY'
import json
import numpy as np
from convex import ConvexClient, convex_to_json

values = [5, np.float64(1.5), np.int64(5), np.float32(1.5), np.bool_(True)]
by_http = [convex_to_json(value) for value in values]
client = ConvexClient("http://127.0.0.1:" + open("port").read())
for value in values:
    client.mutation("numbers:add", {"value": value})
by_socket = [json.loads(line) for line in open("received")]
for value, one, other in zip(values, by_http, by_socket):
    print(f"{value!r:20} HTTP: {one!s:28} WebSocket: {other}")
zeros = {"$bytes": "AAAAAAA="}
assert by_http == [5, 1.5, {"$bytes": "BQAAAAAAAAA="}, {"$bytes": "AADAPw=="}, {"$bytes": "AQ=="}], by_http
assert by_socket == [5, 1.5, zeros, {"$bytes": "AADAPw=="}, {"$bytes": "AQ=="}], by_socket

assert next(client.subscribe("numbers:list", {"value": 5})) == {"value": 5.0}
try:
    next(client.subscribe("numbers:list", {"value": np.int64(5)}))
    raise SystemExit("the subscription took it")
except Exception as error:
    print("subscribe:", error)
    assert "Failed to serialize" in str(error)
PY
timeout 60 venv/bin/python probe.py
echo "as found"
