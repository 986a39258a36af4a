// Clients of HTTP actions, honest and otherwise. Each asks at `url`, goes on until the server lets go of it or `ended` (a promise) is
// there, and says what it saw.
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const PIECE = Buffer.alloc(64 << 10);
/** How long one that goes away stays. */
const STAY_MS = 200;

/** The status and the text of the answer, or that it was cut. */
export async function asks(url) {
  try {
    const response = await fetch(url, { method: "POST", body: "a body" });
    return `${response.status} ${await response.text()}`;
  } catch {
    return "cut";
  }
}

/** A request whose body is written as one likes. The server may close the connection at any time. */
function open(url, headers = {}) {
  const request = httpRequest(url, { method: "POST", headers, agent: false });
  request.on("error", () => {});
  request.on("response", (response) => response.on("error", () => {}).resume());
  return request;
}

export async function sendsWithoutEnd(url, ended) {
  const request = open(url);
  let isOver = false;
  ended.then(() => (isOver = true));
  const closed = new Promise((resolve) => request.on("close", resolve));
  while (!isOver && !request.destroyed) {
    if (!request.write(PIECE)) {
      await Promise.race([new Promise((resolve) => request.once("drain", resolve)), closed, ended]);
    }
  }
  request.destroy();
}

export async function stops(url, ended) {
  const request = open(url, { "Content-Length": 1_000 });
  request.write("half");
  await ended;
  request.destroy();
}

/** Again and again, since it may have gone before anybody has seen it. */
export async function leaves(url, ended) {
  let isOver = false;
  ended.then(() => (isOver = true));
  while (!isOver) {
    const request = open(url, { "Content-Length": 1_000 });
    request.write("half");
    await sleep(STAY_MS);
    request.destroy();
    await sleep(STAY_MS);
  }
}

export async function takesNothing(url, ended) {
  const { host, hostname, port, pathname, search } = new URL(url);
  const socket = connect(port, hostname).pause();
  socket.on("error", () => {});
  socket.write(`POST ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 0\r\n\r\n`);
  await ended;
  socket.destroy();
}

export async function leavesAnswer(url) {
  const request = httpRequest(url, { method: "POST", agent: false }).end();
  request.on("error", () => {});
  const [response] = await once(request, "response");
  response.on("error", () => {});
  await once(response, "readable");
  request.destroy();
}
