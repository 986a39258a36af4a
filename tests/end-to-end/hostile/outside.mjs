// A server of somebody else's that treats its clients as badly as it can, in a way of its own at each path.
import { once } from "node:events";
import { createServer } from "node:http";
import { Readable, pipeline } from "node:stream";
import { gzipSync } from "node:zlib";
import { whenOver } from "../harness/cleanup.mjs";

const PIECE = Buffer.alloc(64 << 10, "tide ");
const DRIP_MS = 50;
/** Unpacked it is larger than any function's memory, on the wire a thousandth of that. */
const UNPACKED_BYTES = 160 << 20;

const redirect = (response, location) => response.writeHead(302, { Location: location }).end();
/** What Node.js would not send. */
const raw = (response, text) => response.socket.end(text);

const WAYS = {
  "/hello": (_, response) => response.end("hello"),
  /** Neither answers nor takes a body. */
  "/silent": () => {},
  /** Takes a body to its end, and says how long it was. */
  "/takes": (request, response) => {
    let bytes = 0;
    request.on("data", (piece) => (bytes += piece.length));
    request.on("end", () => response.end(`${bytes}`));
  },
  "/early": (_, response) => response.end("early"),
  "/endless": (_, response) => pipeline(Readable.from(forEver()), response, () => {}),
  "/drips": (_, response) => {
    const timer = setInterval(() => response.write("."), DRIP_MS);
    response.on("close", () => clearInterval(timer));
  },
  "/stops": (_, response) => response.writeHead(200, { "Content-Length": 1_000 }).write("half"),
  "/breaks": (_, response) => {
    response.writeHead(200, { "Content-Length": 1_000 });
    response.write("half", () => response.destroy());
  },
  "/more": (_, response) => raw(response, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more"),
  "/garbage": (_, response) => raw(response, "no HTTP at all\r\n\r\n"),
  "/heads": (_, response) => raw(response, `HTTP/1.1 200 OK\r\n${"a: b\r\n".repeat(10_000)}\r\n`),
  "/head": (_, response) => raw(response, `HTTP/1.1 200 OK\r\na: ${"b".repeat(4 << 20)}\r\n\r\n`),
  "/packed": (_, response) => response.writeHead(200, { "Content-Encoding": "gzip" }).end(packed()),
  "/circle": (_, response) => redirect(response, "/circle"),
  "/there": (_, response) => redirect(response, "/back"),
  "/back": (_, response) => redirect(response, "/there"),
  "/deeper": ({ url }, response) => redirect(response, `${url}/deeper`),
  "/nowhere": (_, response) => redirect(response, "http://127.0.0.1:1/"),
  "/file": (_, response) => redirect(response, "file:///etc/passwd"),
};

async function* forEver() {
  for (;;) {
    yield PIECE;
  }
}

let zeros;

function packed() {
  zeros ??= gzipSync(Buffer.alloc(UNPACKED_BYTES));
  return zeros;
}

/** Its `url`, and `countOpen`, which says how many requests are under way. It ends with the test. */
export async function startOutside(context) {
  const open = new Set();
  const server = createServer((request, response) => {
    open.add(request);
    response.on("close", () => open.delete(request));
    const [, first] = request.url.split("/");
    WAYS[`/${first}`](request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  whenOver(context, () => {
    server.closeAllConnections();
    server.close();
  });
  const countOpen = () => {
    // Who reads nothing more of a client does not learn that it has gone.
    open.forEach((request) => request.resume());
    return open.size;
  };
  return { url: `http://127.0.0.1:${server.address().port}`, countOpen };
}
