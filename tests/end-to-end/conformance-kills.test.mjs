// The same rules as in conformance.test.mjs, held against a cluster of three whose leader is killed every 20 seconds, and comes back: through
// one client that asks again by itself, or with CONFORMANCE_CLIENTS=all through every one.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { killLeaders, startServerOfThree } from "./conformance/cluster.mjs";
import { connectWatched, holdThrough, repetitions, watchFetch } from "./conformance/interruptions.mjs";
import { holdToRules } from "./conformance/suite.mjs";
import { CLIENTS } from "./harness/clients.mjs";
import { OF_A_LOST_NODE } from "./harness/cluster.mjs";

const EVERY_MS = 20_000;
const AWAY_MS = 3_000;
const clients = process.env.CONFORMANCE_CLIENTS === "all" ? Object.keys(CLIENTS) : ["npm, WebSocket"];

const file = { after };
const place = await startServerOfThree(file, { allowedInLog: OF_A_LOST_NODE });
watchFetch();
const kills = killLeaders(file, place, { everyMs: EVERY_MS, awayMs: AWAY_MS });
await holdToRules(file, place.server, { clients, connectTo: connectWatched, hold: holdThrough(kills) });

test("the leader was killed all the while", (context) => {
  const pauses = kills.slice(1).map((time, index) => time - kills[index]);
  context.diagnostic(`${kills.length} kills, ${pauses} ms apart; ${repetitions.length} rules were held once more: ${repetitions.join("; ")}`);
  assert.ok(kills.length > 0 && Math.max(0, ...pauses) < 3 * EVERY_MS, `the leader was not killed often enough: ${pauses}`);
  assert.ok(Date.now() - kills.at(-1) < 3 * EVERY_MS, "nor at the end");
});
