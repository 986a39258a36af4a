// Ports for processes that are started later.
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";

// Below those that a system gives to who asks for any, and those of clusters: none of these is taken by somebody else until it is needed. Above
// them, as below, are some that `fetch` refuses.
const FIRST = 7_000;
const LAST = 9_999;

/** Different ones that nobody uses at this moment. */
export async function freePorts(count) {
  const held = [];
  while (held.length < count) {
    const server = createServer().listen(randomInt(FIRST, LAST + 1), "127.0.0.1");
    const isFree = await once(server, "listening").then(
      () => true,
      (error) => {
        if (error.code !== "EADDRINUSE") throw error;
        return false;
      },
    );
    if (isFree) held.push(server);
  }
  const ports = held.map((server) => server.address().port);
  await Promise.all(held.map((server) => once(server.close(), "close")));
  return ports;
}
