// Searches in a cluster of three whose leader is killed every 20 seconds, and comes back: what was acknowledged is found at once, what was
// deleted or changed is not, and in the end every node finds the same.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { anyApi } from "convex/server";
import { killLeaders, startThree } from "./conformance/cluster.mjs";
import { OF_A_LOST_NODE } from "./harness/cluster.mjs";
import { connect, follow } from "./harness/live.mjs";
import { pushApp } from "./harness/project.mjs";

const { notes } = anyApi;
const EVERY_MS = 20_000;
const AWAY_MS = 3_000;
const KILLS = 5;
/** Below the number of documents that one search may find. */
const ROUNDS_MAX = 900;
const PAUSE_MS = 50;

const file = { after };
const three = await startThree(file, { allowedInLog: OF_A_LOST_NODE });
await pushApp(file, three, "search");
const kills = killLeaders(file, three, { everyMs: EVERY_MS, awayMs: AWAY_MS });

/** An action is not run again by the client when its connection is lost: nobody knows whether it ran. */
async function untilAnswered(call) {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      assert.match(error.message, /Connection lost|VectorIndexesUnavailable/);
      await sleep(PAUSE_MS);
    }
  }
}

test("what was acknowledged is found while leaders are killed, and nothing else", { timeout: 900_000 }, async (context) => {
  const [client, watcher] = [connect(context, three), connect(context, three)];
  const find = (text) => client.query(notes.find, { text });
  const near = async (author, vector) => {
    const found = await untilAnswered(() => client.action(notes.nearest, { vector, authors: [author], limit: 10 }));
    return found.map(({ body }) => body);
  };
  const live = follow(watcher, notes.find, { text: "kept" });
  const kept = [];
  let round = 0;
  for (; kills.length < KILLS && round < ROUNDS_MAX; round++) {
    const [word, author, vector] = [`w${round}x`, `author ${round}`, [Math.cos(round), Math.sin(round), 1]];
    const body = `${word} kept`;
    const id = await client.mutation(notes.add, { body, author, vector });
    assert.deepEqual([await find(word), await near(author, vector)], [[body], [body]], `added in round ${round}`);
    if (round % 3 === 1) {
      const changed = `c${round}x kept`;
      await client.mutation(notes.change, { id, body: changed });
      assert.deepEqual([await find(word), await find(`c${round}x`)], [[], [changed]], `changed in round ${round}`);
      kept.push(changed);
    } else if (round % 3 === 2) {
      await client.mutation(notes.remove, { id });
      assert.deepEqual([await find(word), await near(author, vector)], [[], []], `removed in round ${round}`);
    } else {
      kept.push(body);
    }
    await sleep(PAUSE_MS);
  }
  assert.ok(kills.length >= KILLS, `${kills.length} kills in ${round} rounds`);
  const expected = kept.toSorted();
  const isExpected = (found) => JSON.stringify(found.toSorted()) === JSON.stringify(expected);
  await live.until(isExpected);
  for (const node of three.cluster.nodes) {
    await until(() => node.running);
    const found = await connect(context, { url: node.api }).query(notes.find, { text: "kept" });
    assert.deepEqual(found.toSorted(), expected, `found at node ${node.node}`);
  }
  context.diagnostic(`${round} rounds, ${kills.length} kills, ${live.results.length} results of the live search`);
});

async function until(check) {
  while (!check()) {
    await sleep(PAUSE_MS);
  }
}
