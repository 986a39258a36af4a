// Components in a cluster of three whose leader is killed every 20 seconds, and comes back: what goes through one client that asks again by
// itself, and through the jobs of the packages, has its effect once.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { anyApi } from "convex/server";
import { killLeaders, startThree } from "./conformance/cluster.mjs";
import { OF_A_LOST_NODE } from "./harness/cluster.mjs";
import { setVariables } from "./harness/functions.mjs";
import { connect } from "./harness/live.mjs";
import { createProject } from "./harness/project.mjs";

const { packages, walls, work } = anyApi;
const APP = new URL("components-app", import.meta.url).pathname;
const EVERY_MS = 20_000;
const AWAY_MS = 3_000;
const KILLS = 5;
/** For jobs that are still to run. */
const WAIT_MS_MAX = 240_000;

const file = { after };
const three = await startThree(file, { allowedInLog: OF_A_LOST_NODE });
const project = await createProject(file, three, { app: APP, isInstalled: true, alone: true });
await setVariables(three, {
  BETTER_AUTH_SECRET: randomBytes(32).toString("base64"),
  RESEND_API_KEY: "re_none",
  JWKS: JSON.stringify({ keys: [] }),
});
await project.mustRun("deploy", "--typecheck", "disable");
const kills = killLeaders(file, three, { everyMs: EVERY_MS, awayMs: AWAY_MS });

test("what is written while leaders are killed is there once", { timeout: 900_000 }, async (context) => {
  const client = connect(context, three);
  const many = (count, call) => Promise.all(Array.from({ length: count }, (_, at) => call(at)));
  let round = 0;
  for (; kills.length < KILLS; round++) {
    await Promise.all([
      many(10, () => client.mutation(packages.count, { by: 1 })),
      many(3, (at) => client.mutation(walls.add, { to: "first", text: `${round} ${at}` })),
      client.mutation(packages.addScores, { scores: [{ name: `player ${round}`, score: 1 }] }),
      client.mutation(work.enqueueIncrements, { count: 3 }),
      many(5, () => client.mutation(packages.addEvent, { value: 1 })),
      client.mutation(walls.scheduleDown, { text: `scheduled ${round}` }),
      client.mutation(packages.limit, { name: "sharded", key: "somebody" }),
    ]);
    await sleep(100);
  }
  const texts = Array.from({ length: round }, (_, number) => number);
  const expected = {
    counted: 10 * round,
    scores: round,
    increments: 3 * round,
    events: { sum: 5 * round, left: 0 },
    first: texts.flatMap((number) => [0, 1, 2].map((at) => `${number} ${at}`)).sort(),
    second: texts.map((number) => `scheduled ${number}`).sort(),
  };
  const look = async () => {
    const { sum, left } = await client.query(packages.summed);
    const { first, second } = await client.query(walls.list);
    return {
      counted: await client.query(packages.counted),
      scores: (await client.query(packages.scores)).count,
      increments: (await client.query(packages.result, { what: "increments" }))[0] ?? 0,
      events: { sum, left },
      first: first.sort(),
      second: second.sort(),
    };
  };
  const deadline = Date.now() + WAIT_MS_MAX;
  let seen = await look();
  while (JSON.stringify(seen) !== JSON.stringify(expected) && Date.now() < deadline) {
    await sleep(500);
    seen = await look();
  }
  assert.deepEqual(seen, expected);
  context.diagnostic(`${round} rounds, ${kills.length} kills`);
});
