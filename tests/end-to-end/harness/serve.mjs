// Servers of somebody else's, for as long as a test lasts.

import { once } from "node:events";
import { createServer } from "node:http";
import { whenOver } from "./cleanup.mjs";

/** Has a handler answer requests on loopback until the test is over. Its address. */
export async function serve(context, handler) {
  const server = createServer(handler);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  whenOver(context, () => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}
