// Three zones as three processes: the official tools and clients against any of them, and one that is killed.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { startApart } from "./harness/apart.mjs";
import { startBalancer } from "./harness/balancer.mjs";
import { OF_A_LOST_NODE, startCluster } from "./harness/cluster.mjs";
import { callFunction } from "./harness/functions.mjs";
import { connect, follow } from "./harness/live.mjs";
import { freePorts } from "./harness/ports.mjs";
import { createProject, pushApp } from "./harness/project.mjs";
import { tidemarkBinary } from "./harness/tidemark.mjs";

const WRITE_MS_MAX = 60_000;
const SEEN_MS_MAX = 30_000;
const GROUPS = 2;

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

/** What a node says of itself to those who watch it. */
async function standing(node) {
  const ready = await fetch(new URL("/readyz", node.metrics));
  const metrics = await (await fetch(node.metrics)).text();
  const value = (name) => Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "m").exec(metrics)?.[1]);
  return { status: ready.status, text: await ready.text(), without: value("tidemark_raft_groups_without_leader") };
}

test("whoever is left without a quorum says so, whether it led or not", { timeout: 600_000 }, async (context) => {
  const cluster = await startCluster(context, { allowedInLog: OF_A_LOST_NODE });
  await pushApp(context, cluster.nodes[0], "journal");
  const leads = await cluster.leader();
  const [follows, other] = cluster.nodes.filter((node) => node !== leads);
  const until = (node, isReady) =>
    inTime(
      (async () => {
        for (;;) {
          const { status, text, without } = await standing(node);
          if ((status === 200) === isReady && without === (isReady ? 0 : GROUPS)) {
            assert.match(text, isReady ? /^txlog: ready$/m : /^txlog: group \d has no leader that is known here$/m);
            return;
          }
          await sleep(100);
        }
      })(),
      `${node.zone} is ${isReady ? "" : "not "}ready`,
    );
  await Promise.all(cluster.nodes.map((node) => until(node, true)));
  await Promise.all([leads.kill(), other.kill()]);
  await until(follows, false);
  assert.match(await cluster.print("status"), /^Group 1: nobody leads term /m);
  await cluster.restart(leads);
  await until(follows, true);
  await append(cluster, "by two");
  const next = await cluster.leader();
  await (next === leads ? follows : leads).kill();
  await until(next, false);
  assert.match(await cluster.print("status"), /^Group 1: nobody leads term /m);
  await Promise.all(cluster.nodes.filter((node) => node !== next).map((node) => cluster.restart(node)));
  await Promise.all(cluster.nodes.map((node) => until(node, true)));
  await append(cluster, "by all");
});

test("a node that comes back at another address is a member again once that is said", { timeout: 600_000 }, async (context) => {
  const cluster = await startCluster(context, { allowedInLog: [...OF_A_LOST_NODE, /this node's address is another one/] });
  await pushApp(context, cluster.nodes[0], "journal");
  const leader = await cluster.leader();
  const [moved, other] = cluster.nodes.filter((node) => node !== leader);
  assert.equal(await moved.stop(), 0, moved.log);
  const [port] = await freePorts(1);
  const config = await readFile(moved.config, "utf8");
  await writeFile(moved.config, config.replace(/^internal_port = .*$/m, `internal_port = ${port}`));
  for (let number = 0; number < 100; number++) {
    await append(cluster, `${number}`);
  }
  // The leader calls it where it was, so it does not serve yet.
  const serves = cluster.restart(moved);
  const told = (async () => {
    while (!/this node's address is another one than the group knows/.test(moved.log)) await sleep(20);
  })();
  await inTime(Promise.race([told, serves]), "the node finds that it has moved");
  await cluster.print("add-node", `${moved.node}`, "--at", `127.0.0.1:${port}`);
  await serves;
  await cluster.caughtUp();
  const { groups } = await cluster.ask("status");
  for (const { members } of groups) {
    const { address, zone, voter } = members.find(({ node }) => node === moved.node);
    assert.deepEqual([address, zone, voter], [`127.0.0.1:${port}`, moved.zone, true]);
  }
  await other.kill();
  await append(cluster, "with its vote");
  assert.equal((await list(moved)).at(-1), "with its vote");
});

test("operators are refused what can't be, and are understood by variables alone", { timeout: 300_000 }, async (context) => {
  const cluster = await startCluster(context);
  const leader = await cluster.leader();
  const refused = (words, why) => assert.rejects(cluster.print(...words), ({ code, stderr }) => code === 1 && why.test(stderr), words.join(" "));
  await refused(["add-node", "4", "--at", "127.0.0.1:1", "--instead-of", "9"], /node 9 is no voter/);
  await refused(["transfer-leader", "--to", "9"], /node 9 is no voter/);
  assert.equal(await cluster.print("remove-node", "99"), "Node 99 is in no group: nothing was to be removed.\n");
  assert.deepEqual(await cluster.ask("remove-node", "99"), { removed: null });

  const folder = dirname(leader.config);
  const variables = {
    TIDEMARK_CLUSTER_NAME: "local",
    TIDEMARK_INTERNAL_PORT: leader.internal.split(":").at(-1),
    TIDEMARK_TLS_CA: join(dirname(folder), "ca.pem"),
    TIDEMARK_TLS_CERTIFICATE: join(folder, "certificate.pem"),
    TIDEMARK_TLS_KEY: join(folder, "key.pem"),
  };
  const { stdout } = await promisify(execFile)(tidemarkBinary(), ["cluster", "status", "--json"], { env: { ...process.env, ...variables } });
  assert.deepEqual([JSON.parse(stdout).cluster, JSON.parse(stdout).node], ["local", leader.node]);
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
