// The official client over a WebSocket, and what it sees of a query while that changes.
import { ConvexClient } from "convex/browser";
import { WebSocket } from "ws";
import { whenOver } from "./cleanup.mjs";

/** A client that is closed with the test. */
export function connect(context, tidemark) {
  const client = new ConvexClient(tidemark.url, { webSocketConstructor: WebSocket });
  whenOver(context, () => client.close());
  return client;
}

/** Follows a query in a client: `results` are all that came, `until(check)` waits until `check` holds for the newest of them. */
export function follow(client, query, args = {}) {
  const results = [];
  const waiting = new Set();
  client.onUpdate(query, args, (result) => {
    results.push(result);
    waiting.forEach((look) => look());
  });
  const until = (check) =>
    new Promise((resolve) => {
      const look = () => {
        const newest = results.at(-1);
        if (results.length > 0 && check(newest)) {
          waiting.delete(look);
          resolve(newest);
        }
      };
      waiting.add(look);
      look();
    });
  return { results, until };
}
