// What mutations, queries and live queries cost between processes and on disks, as counts: messages are counted on their way, syncs by the processes
// themselves. Three processes with all roles, and one caller, so that nothing is done for several at once.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startApart } from "./harness/apart.mjs";
import { startCounting } from "./harness/counted.mjs";
import { callFunction } from "./harness/functions.mjs";
import { connect, follow } from "./harness/live.mjs";
import { readMetrics, total } from "./harness/monitoring.mjs";
import { pushApp } from "./harness/project.mjs";

const GROUP = { group: "1" };
const CALLS = 50;
const QUIET_MS = 3_000;
const SETTLE_MS_MAX = 60_000;
/** What was done before may still be told to the others. */
const AFTERWARDS_MS = 300;
/** What is sent whether there is anything to do or not: signs of life, and who is there. */
const PERIODIC = /\.Raft\/(Heartbeat|Introduce|Confirm)$|\.Admin\/Status$|\.TransactionLog\/(WatchPosition|Subscribe)$/;
/** What is looked for now and then, so seldom that nothing of it is counted. */
const RARE = { schedule: { result_sweep_ms: 3_600_000 }, action: { orphan_sweep_ms: 3_600_000 }, files: { sweep_ms: 3_600_000 } };
const APPEND = "/tidemark.txlog.v1.Raft/Append";

test("what a call costs between processes and on disks", { timeout: 300_000 }, async (context) => {
  const counted = [];
  const between = async (port) => {
    counted.push(await startCounting(context, port));
    return counted.at(-1).port;
  };
  const cluster = await startApart(context, [["all"], ["all"], ["all"]], { between, limits: RARE });
  const places = cluster.urls.map((url) => ({ url, adminKey: cluster.adminKey }));
  const metricsOf = async (index) => readMetrics(await (await fetch(`${cluster.monitoring[index]}/metrics`)).text());
  const each = (work) => Promise.all(places.map((_, index) => work(index)));

  const deadline = Date.now() + SETTLE_MS_MAX;
  const ready = async (index) => (await fetch(`${cluster.monitoring[index]}/readyz`)).status === 200;
  while (!(await each(ready)).every((isReady) => isReady)) {
    assert.ok(Date.now() < deadline, "not all processes are ready");
    await sleep(100);
  }
  await pushApp(context, places[0], "journal");
  const leads = await each(async (index) => total(await metricsOf(index), "tidemark_raft_leads", GROUP) === 1);
  const leader = leads.indexOf(true);
  const followers = [0, 1, 2].filter((index) => index !== leader);
  const call = async (index, kind, name, args) => {
    const { body } = await callFunction(places[index], kind, name, args);
    assert.equal(body.status, "success", JSON.stringify(body));
  };
  const applied = async (index) => total(await metricsOf(index), "tidemark_raft_applied_index", GROUP);
  /** Waits until all replicas have it. Where one is behind, the next call may cost more (it begins too early there, and runs twice) or less (two entries, one sync). */
  const append = async (index) => {
    await call(index, "mutation", "journal:append", { text: "x" });
    const upTo = await applied(leader);
    for (const follower of followers) {
      while ((await applied(follower)) < upTo) {
        await sleep(1);
      }
    }
  };
  const count = (index) => call(index, "query", "journal:count");
  const repeat = async (work) => {
    for (let number = 0; number < CALLS; number++) {
      await work();
    }
  };

  const look = async () => {
    await sleep(AFTERWARDS_MS);
    const metrics = await each(metricsOf);
    return {
      messages: counted.map(({ messages }) => messages),
      syncs: metrics.map((of) => total(of, "tidemark_log_sync_seconds")),
      entries: metrics.map((of) => total(of, "tidemark_raft_last_index", GROUP)),
      runs: metrics.map((of) => total(of, "tidemark_fanout_runs_total")),
    };
  };
  /** What was sent to each process, was synced by it and added to its log while `work` was done. */
  const during = async (name, work) => {
    const before = await look();
    await work();
    const after = await look();
    const less = (what) => after[what].map((now, index) => now - before[what][index]);
    const messages = after.messages.map((of, index) => {
      const more = [...of].map(([method, now]) => [method, now - (before.messages[index].get(method) ?? 0)]);
      return Object.fromEntries(more.filter(([method, number]) => number > 0 && !PERIODIC.test(method)));
    });
    const costs = { messages, syncs: less("syncs"), entries: less("entries"), runs: less("runs") };
    context.diagnostic(`${name}: ${JSON.stringify(costs)}`);
    return costs;
  };
  const without = (messages, ...methods) =>
    Object.fromEntries(Object.entries(messages).filter(([method]) => !methods.includes(method)));
  const sum = (messages) => Object.values(messages).reduce((all, number) => all + number, 0);
  /** One entry for each call, told to each follower with the next one or by a message of its own, and one sync on each disk. */
  const assertReplicated = ({ messages, syncs, entries }) => {
    assert.deepEqual(entries, [CALLS, CALLS, CALLS], "entries of the log");
    assert.deepEqual(syncs, [CALLS, CALLS, CALLS], "syncs");
    for (const follower of followers) {
      const appends = messages[follower][APPEND];
      assert.ok(appends >= CALLS && appends <= 2 * CALLS, `${appends} messages with entries or what is committed of them`);
    }
    assert.ok(!(APPEND in messages[leader]), "nobody else leads");
  };
  // The first call of a kind may open what the others use.
  for (const index of [0, 1, 2]) {
    await append(index);
    await count(index);
  }

  await context.test("a cluster where nobody calls says nothing but that it is there, and writes nothing", async () => {
    const { messages, syncs, entries } = await during("nothing", () => sleep(QUIET_MS));
    assert.deepEqual(messages, [{}, {}, {}]);
    assert.deepEqual(syncs, [0, 0, 0]);
    assert.deepEqual(entries, [0, 0, 0]);
  });

  await context.test("a mutation at the leader: one entry to each follower, one sync on each disk, and nothing else", async () => {
    const costs = await during(`${CALLS} mutations at the leader`, () => repeat(() => append(leader)));
    assertReplicated(costs);
    assert.deepEqual(costs.messages.map((messages) => without(messages, APPEND)), [{}, {}, {}]);
  });

  await context.test("a mutation at another node: one call to the leader more", async () => {
    const [caller] = followers;
    const costs = await during(`${CALLS} mutations at a follower`, () => repeat(() => append(caller)));
    assertReplicated(costs);
    assert.equal(sum(costs.messages[leader]), CALLS, "one call for each");
    followers.forEach((follower) => assert.deepEqual(without(costs.messages[follower], APPEND), {}));
  });

  await context.test("a query at the leader: nobody is asked but whether it still leads", async () => {
    const { messages, syncs, entries } = await during(`${CALLS} queries at the leader`, () => repeat(() => count(leader)));
    assert.deepEqual([messages, syncs, entries], [[{}, {}, {}], [0, 0, 0], [0, 0, 0]]);
  });

  await context.test("a query at another node: the leader is asked once what is newest, and the node reads its own replica", async () => {
    const [caller] = followers;
    const { messages, syncs, entries } = await during(`${CALLS} queries at a follower`, () => repeat(() => count(caller)));
    assert.deepEqual([syncs, entries], [[0, 0, 0], [0, 0, 0]]);
    assert.equal(sum(messages[leader]), CALLS, "one call for each");
    followers.forEach((follower) => assert.deepEqual(messages[follower], {}));
  });

  await context.test("a live query runs again on its own node and calls nobody", async () => {
    const [watched] = followers;
    const seen = follow(connect(context, places[watched]), "journal:count");
    const first = await seen.until(() => true);
    let next = first;
    const costs = await during(`${CALLS} changes of a live query at a follower`, () =>
      repeat(async () => {
        await append(leader);
        next += 1;
        await seen.until((number) => number === next);
      }),
    );
    assert.equal(costs.runs[watched], CALLS, "each change is one run");
    assertReplicated(costs);
    assert.deepEqual(costs.messages.map((messages) => without(messages, APPEND)), [{}, {}, {}]);
  });
});
