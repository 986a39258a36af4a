#!/usr/bin/env bash
# npm sirv 3.0.2: of a file of ten bytes, the last three (`Range: bytes=-3`) are the first four, and the first one (`bytes=0-0`) is all ten.
#
# The guess: `bytes=-3` is bytes 7 to 9 and `bytes=0-0` byte 0, as RFC 9110 has them (14.1.2) and npm send 1.2.1 answers; with an `If-Range` of another
# version the answer is the whole file (13.1.5).
# What happens: the numbers around the "-" are taken for begin and end, where nothing is 0 and an end of 0 is the end of the file. `If-Range` is not read; npm
# serve-handler 6.1.8 doesn't read it either. The status is 206 and `Content-Range` tells what was sent, which few clients compare with what they asked for.
# What follows: a reader of archives or columns, which begins with the end of a file, gets its beginning; a download that goes on after the file
# was replaced is made of two files. Serve such files by something else.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error sirv@3.0.2 send@1.2.1 serve-handler@6.1.8 >/dev/null
mkdir files
printf 0123456789 > files/digits.txt
cat > probe.mjs <<'JS'
import assert from "node:assert";
import { once } from "node:events";
import { createServer, request } from "node:http";
import send from "send";
import handler from "serve-handler";
import sirv from "sirv";

const serveFiles = sirv("files", { etag: true });
const servers = {
  sirv: (request, response) => serveFiles(request, response),
  "serve-handler": (request, response) => handler(request, response, { public: "files", etag: true }),
  send: (request, response) => send(request, request.url, { root: "files" }).pipe(response),
};
const asked = {
  "0-0": { range: "bytes=0-0" },
  "2-4": { range: "bytes=2-4" },
  "-3": { range: "bytes=-3" },
  "2-4 of another version": { range: "bytes=2-4", "if-range": '"another"' },
};
const seen = {};
for (const [name, listener] of Object.entries(servers)) {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  seen[name] = {};
  for (const [range, headers] of Object.entries(asked)) {
    const [response] = await once(request({ port: server.address().port, path: "/digits.txt", headers, agent: false }).end(), "response");
    seen[name][range] = `${response.statusCode} ${Buffer.concat(await response.toArray())}`;
  }
  server.close();
}
console.log(seen);
assert.deepEqual(seen, {
  sirv: { "0-0": "206 0123456789", "2-4": "206 234", "-3": "206 0123", "2-4 of another version": "206 234" },
  "serve-handler": { "0-0": "206 0", "2-4": "206 234", "-3": "206 789", "2-4 of another version": "206 234" },
  send: { "0-0": "206 0", "2-4": "206 234", "-3": "206 789", "2-4 of another version": "200 0123456789" },
});
JS
timeout 60 node probe.mjs
echo "as found"
