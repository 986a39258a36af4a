#!/usr/bin/env bash
# npm range-parser 1.3.0 (1.2.0, too), and so send 1.2.1, serve-handler 6.1.8 and, by a parser of its own, @fastify/send 4.2.1: "the last 100 bytes" of a file that
# has ten are 416.
#
# The guess: `Range: bytes=-100` of a shorter file is all of it, status 206: "if the selected representation is shorter than the specified suffix-length,
# the entire representation is used" (RFC 9110, 14.1.2). An end behind the file's (5-100) is cut to it, after all.
# What happens: the range begins at −90, which is taken for unsatisfiable. serve-handler sends the whole file with the 416.
# What follows: a reader that asks for the last 64 KiB of a file, to find its table of contents, fails at small files; it must know the length first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error range-parser@1.3.0 send@1.2.1 @fastify/send@4.2.1 serve-handler@6.1.8 >/dev/null
mkdir files
printf 0123456789 > files/digits.txt
cat > probe.mjs <<'JS'
import assert from "node:assert";
import { once } from "node:events";
import { createServer, request } from "node:http";
import { send as fastifySend } from "@fastify/send";
import parseRange from "range-parser";
import send from "send";
import handler from "serve-handler";

const servers = {
  send: (request, response) => send(request, request.url, { root: "files" }).pipe(response),
  "@fastify/send": async (request, response) => {
    const { statusCode, headers, stream } = await fastifySend(request, request.url, { root: "files" });
    stream.pipe(response.writeHead(statusCode, headers));
  },
  "serve-handler": (request, response) => handler(request, response, { public: "files" }),
};
const ranges = ["bytes=-3", "bytes=-10", "bytes=-11", "bytes=-100", "bytes=5-100"];
const seen = { "range-parser": ranges.map((range) => JSON.stringify(parseRange(10, range))).join(" ") };
for (const [name, listener] of Object.entries(servers)) {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  seen[name] = [];
  for (const range of ranges) {
    const [response] = await once(request({ port: server.address().port, path: "/digits.txt", headers: { range }, agent: false }).end(), "response");
    const body = Buffer.concat(await response.toArray()).toString();
    seen[name].push(`${response.statusCode} ${response.headers["content-range"]}${body.length === 10 ? " whole" : ""}`);
  }
  server.close();
}
console.log(seen);
const found = ["206 bytes 7-9/10", "206 bytes 0-9/10 whole", "416 bytes */10", "416 bytes */10", "206 bytes 5-9/10"];
assert.deepEqual(seen, {
  "range-parser": '[{"start":7,"end":9}] [{"start":0,"end":9}] -1 -1 [{"start":5,"end":9}]',
  send: found,
  "@fastify/send": found,
  "serve-handler": found.map((answer) => (answer.startsWith("416") ? `${answer} whole` : answer)),
});
JS
timeout 60 node probe.mjs
echo "as found"
