// Three zones as three processes: the official tools and clients against any of them, and one that is killed.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startApart } from "./harness/apart.mjs";
import { startBalancer } from "./harness/balancer.mjs";
import { OF_A_LOST_NODE, startCluster } from "./harness/cluster.mjs";
import { callFunction } from "./harness/functions.mjs";
import { connect, follow } from "./harness/live.mjs";
import { createProject, pushApp } from "./harness/project.mjs";

const WRITE_MS_MAX = 60_000;
const SEEN_MS_MAX = 30_000;

/** Appends until it is acknowledged. What was in doubt may be there twice, as this client tells no two requests apart. */
async function append(cluster, text) {
  const deadline = Date.now() + WRITE_MS_MAX;
  for (let attempt = 0; ; attempt++) {
    const running = cluster.running;
    const node = running[attempt % running.length];
    const answer = await callFunction(node, "mutation", "journal:append", { text }).catch((error) => ({ error }));
    if (answer.body?.status === "success") {
      return;
    }
    assert.ok(Date.now() < deadline, `nothing is acknowledged any more: ${JSON.stringify(answer.body)} ${answer.error ?? ""}`);
    await sleep(50);
  }
}

async function list(node) {
  const { status, body } = await callFunction(node, "query", "journal:list");
  assert.equal(status, 200, JSON.stringify(body));
  return body.value;
}

async function inTime(promise, what) {
  const late = sleep(SEEN_MS_MAX, null, { ref: false }).then(() => assert.fail(`not within ${SEEN_MS_MAX} ms: ${what}`));
  return Promise.race([promise, late]);
}

test("a cluster of three serves an app at every node", { timeout: 300_000 }, async (context) => {
  const cluster = await startCluster(context);
  const [first, second, third] = cluster.nodes;
  assert.deepEqual([second.adminKey, third.adminKey], [first.adminKey, first.adminKey], "one key opens all");
  await pushApp(context, first, "journal");

  const seen = follow(connect(context, third), "journal:list");
  await inTime(seen.until(() => true), "the first result");
  await append({ running: [second] }, "from the second");
  await inTime(seen.until((result) => result.includes("from the second")), "a write at another node");
  for (const node of cluster.nodes) {
    assert.deepEqual(await list(node), ["from the second"], "what was acknowledged is read everywhere at once");
  }

  const status = await cluster.ask("status");
  const members = status.groups[0].members;
  assert.deepEqual(members.map(({ node }) => node).sort(), [1, 2, 3]);
  assert.ok(members.every(({ voter }) => voter));
  assert.deepEqual(new Set(members.map(({ zone }) => zone)), new Set(cluster.nodes.map(({ zone }) => zone)));
});

test("the leader is killed, and nothing that was acknowledged is lost", { timeout: 600_000 }, async (context) => {
  const cluster = await startCluster(context, { allowedInLog: OF_A_LOST_NODE });
  await pushApp(context, cluster.nodes[0], "journal");
  const leader = await cluster.leader();
  const other = cluster.nodes.find((node) => node !== leader);
  const seen = follow(connect(context, other), "journal:list");
  await inTime(seen.until(() => true), "the first result");

  const acknowledged = [];
  let isOver = false;
  const writing = (async () => {
    for (let number = 1; !isOver; number++) {
      await append(cluster, `entry ${number}`);
      acknowledged.push(`entry ${number}`);
    }
  })();
  await inTime(seen.until((result) => result.includes("entry 20")), "writes before");
  const before = acknowledged.length;
  const killedAt = Date.now();
  await leader.kill();
  while (acknowledged.length < before + 20) {
    assert.ok(Date.now() < killedAt + WRITE_MS_MAX, "writes do not go on");
    await sleep(10);
  }
  context.diagnostic(`20 writes after the leader was killed: ${Date.now() - killedAt} ms`);
  const next = await cluster.leader();
  assert.notEqual(next.node, leader.node);
  isOver = true;
  await writing;

  const last = acknowledged.at(-1);
  const newest = await inTime(seen.until((result) => result.includes(last)), "the subscription goes on");
  for (const text of acknowledged) {
    assert.ok(newest.includes(text), `${text} was acknowledged and is lost`);
  }
  // Whoever was there before stays in its order, and no view went back.
  seen.results.reduce((earlier, later) => {
    assert.deepEqual(later.slice(0, earlier.length), earlier, "a view went back");
    return later;
  });

  // It comes back with what it has missed.
  await cluster.restart(leader);
  await append({ running: [leader] }, "from the one that was gone");
  for (const node of cluster.nodes) {
    assert.equal((await list(node)).at(-1), "from the one that was gone");
  }
});

test("a gateway without anything of its own serves what the others do", { timeout: 300_000 }, async (context) => {
  const cluster = await startCluster(context);
  const gateway = await cluster.startGateway();
  await pushApp(context, gateway, "journal");
  const seen = follow(connect(context, gateway), "journal:list");
  await inTime(seen.until(() => true), "the first result");
  await append({ running: [gateway] }, "by the gateway");
  await append(cluster, "by a node");
  await inTime(seen.until((result) => result.length === 2), "both writes");
  assert.deepEqual(await list(gateway), ["by the gateway", "by a node"]);
});

test("a deployment that is created at one node is served at all, and at none when it is deleted", { timeout: 300_000 }, async (context) => {
  const cluster = await startCluster(context);
  const gateway = await cluster.startGateway();
  const nodes = [...cluster.nodes, gateway];
  const adminKey = /Admin key +(\S+)/.exec(await cluster.operate("create", "shop"))?.[1];
  const places = nodes.map(({ url }) => ({ url: `${url}/d/shop`, adminKey }));
  const untilAllAnswer = (wanted) =>
    inTime(
      Promise.all(
        places.map(async ({ url }) => {
          while ((await fetch(`${url}/instance_name`)).status !== wanted) {
            await sleep(50);
          }
        }),
      ),
      `${wanted} everywhere`,
    );
  await untilAllAnswer(200);
  await pushApp(context, places[1], "journal");
  for (const [number, place] of places.entries()) {
    await append({ running: [place] }, `${number}`);
  }
  for (const place of places) {
    assert.deepEqual(await list(place), places.map((_, number) => `${number}`));
  }
  for (const node of nodes) {
    const { body } = await callFunction(node, "query", "journal:list");
    assert.equal(body.status, "error", "the default deployment has nothing of it");
  }
  assert.match(await cluster.operate("list"), /\bshop +prod\b/);
  const { deployments } = await cluster.ask("status");
  assert.deepEqual(deployments.map(({ name }) => name).sort(), ["dev", "shop"]);

  await cluster.operate("delete", "shop");
  await untilAllAnswer(404);
});

test("every service is apart from the others", { timeout: 300_000 }, async (context) => {
  const gateway = await startApart(context, [["txlog"], ["txlog"], ["txlog"], ["runner"], ["fanout"], ["scheduler", "deploy"], ["blob"], ["gateway"]]);
  await pushApp(context, gateway, "journal");
  const seen = follow(connect(context, gateway), "journal:list");
  await inTime(seen.until(() => true), "the first result");
  const texts = ["one", "two", "three"];
  for (const text of texts) {
    await append({ running: [gateway] }, text);
  }
  await inTime(seen.until((result) => result.length === texts.length), "all writes");
  assert.deepEqual(await list(gateway), texts);
});

test("a node that is stopped in order hands over, and its clients go elsewhere", { timeout: 300_000 }, async (context) => {
  const cluster = await startCluster(context, { allowedInLog: OF_A_LOST_NODE });
  await pushApp(context, cluster.nodes[0], "journal");
  const leader = await cluster.leader();
  await append(cluster, "before");
  assert.equal(await leader.stop(), 0, leader.log);
  const next = await cluster.leader();
  assert.notEqual(next.node, leader.node);
  await append(cluster, "after");
  assert.deepEqual((await list(next)).filter((text, index, all) => all.indexOf(text) === index), ["before", "after"]);
});

test("convex dev watches an app on a cluster, also when the leader is lost; operators see how it stands", { timeout: 600_000 }, async (context) => {
  const cluster = await startCluster(context, { allowedInLog: OF_A_LOST_NODE });
  const leader = await cluster.leader();
  const balancer = await startBalancer(context);
  // The command line is served by a node that does not lead.
  balancer.prefer([...cluster.nodes.filter((node) => node !== leader), leader].map(({ api }) => api));
  const greeter = (word) => `
    import { query } from "./_generated/server";
    export const greet = query({ args: {}, handler: () => "${word}" });
  `;
  const place = { url: balancer.url, adminKey: leader.adminKey };
  const project = await createProject(context, place, { files: { "convex/greeter.ts": greeter("hello") } });
  const watch = project.start("dev");
  const serves = async (word, count) => {
    await watch.prints(/Convex functions ready!/, { count });
    for (const node of cluster.running) {
      assert.equal((await callFunction(node, "query", "greeter:greet")).body.value, word);
    }
  };
  await serves("hello", 1);
  await project.write("convex/greeter.ts", greeter("ahoy"));
  await serves("ahoy", 2);

  const status = async () => {
    const text = (await cluster.print("status")).split("\n\n").find((part) => /, deployments dev$/m.test(part)) ?? "";
    const [, name, term] = /^Group \d+: node (\d) leads term (\d+), last entry \d+, deployments dev$/m.exec(text) ?? [];
    return { text, leader: Number(name), term: Number(term) };
  };
  const before = await status();
  assert.equal(before.leader, leader.node, before.text);
  for (const { node, zone } of cluster.nodes) {
    const row = new RegExp(`^ +${node} +${zone} +127\\.0\\.0\\.1:\\d+ +yes +${node === leader.node ? "leads +-" : "\\d+ +\\d+\\.\\d s"}$`, "m");
    assert.match(before.text, row);
  }

  await leader.kill();
  await cluster.leader();
  const after = await status();
  assert.ok(after.leader !== before.leader && after.term > before.term, after.text);
  await project.write("convex/greeter.ts", greeter("farewell"));
  await serves("farewell", 3);
  await cluster.restart(leader);
  await cluster.caughtUp();
  await serves("farewell", 3);
});
