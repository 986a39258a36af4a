// Three zones as processes on this machine, for the length of a test.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { whenOver } from "./cleanup.mjs";
import { Tidemark, limitsText, temporaryFolder, tidemarkBinary } from "./tidemark.mjs";

const run = promisify(execFile);
const LEADER_MS_MAX = 60_000;
const CAUGHT_UP_MS_MAX = 120_000;
/** So many entries may be under way while others write. */
const BEHIND_MAX = 20;
/** A node that has not answered for longer may be the one that was killed. */
const SILENT_MS_MAX = 1_000;
const POLL_MS = 100;

// At its end all nodes stop one after the other: the last but one may find nobody who would lead, and jobs of the last one can't commit any
// more, until its time for stopping is over.
const OF_THE_END = /the lead was not handed over|raft stopped|receive from RaftCore|services had not ended when the time for stopping/;

/** No leader is lost because a busy machine has not let it run for a moment. For clusters whose nodes all stay: they may say nothing of one. */
export const CALM = { store: { election_ms_min: 1_000, election_ms_max: 2_000 } };

/** What the nodes that are left say of the one that is gone. */
export const OF_A_LOST_NODE = [
  /unreachable|not reached|can't be reached|connection|transport|leader|elect|heartbeat/i,
  // What a node appended before another one led is refused, and done again.
  /a batch is not applied .*Refused/,
  // Scheduled ones run at most once.
  /actions have failed because their process ended/,
];

/**
 * Starts the cluster that `make cluster` starts, and waits until every node serves. They are stopped when the test ends, as one alone is.
 * `settings` (texts by name) go before what its configurations have, `limits` (by group and name) behind it, `environment` is that of each
 * node.
 */
export async function startCluster(context, { allowedInLog = [], settings = {}, limits = {}, environment = {} } = {}) {
  const folder = await temporaryFolder(context);
  const xtask = join(dirname(tidemarkBinary()), "xtask");
  const manifest = new URL("../../../xtask", import.meta.url).pathname;
  await run(xtask, ["cluster", "prepare", folder], { env: { ...process.env, CARGO_MANIFEST_DIR: manifest } });
  const { nodes, gateway } = JSON.parse(await readFile(join(folder, "cluster.json"), "utf8"));
  const allLimits = allowedInLog.length === 0 ? { ...CALM, ...limits } : limits;
  const lines = Object.entries(settings).map(([name, text]) => `${name} = ${JSON.stringify(text)}\n`);
  for (const { config } of nodes) {
    await writeFile(config, `${lines.join("")}${await readFile(config, "utf8")}\n${limitsText(allLimits)}`);
  }
  const started = nodes.map(({ node, zone, config, internal, url, siteUrl, metricsUrl }) => {
    const tidemark = new Tidemark(dirname(config), [...allowedInLog, OF_THE_END], config);
    return Object.assign(tidemark, { node, zone, internal, api: url, site: siteUrl, metrics: metricsUrl });
  });
  started.forEach((tidemark) => whenOver(context, () => tidemark.end()));
  await Promise.all(started.map((tidemark) => tidemark.start(environment)));
  return new Cluster(started, environment, async () => {
    const tidemark = new Tidemark(dirname(gateway.config), allowedInLog, gateway.config);
    whenOver(context, () => tidemark.end());
    await tidemark.start();
    return tidemark;
  });
}

class Cluster {
  /** `startGateway` starts a process that is a gateway and nothing else: all that it serves others do. */
  constructor(nodes, environment, startGateway) {
    this.nodes = nodes;
    this.environment = environment;
    this.startGateway = startGateway;
  }

  get running() {
    return this.nodes.filter((node) => node.running);
  }

  /** Starts a node that was killed, or stopped. */
  async restart(node) {
    await node.start(this.environment);
  }

  /** What `tidemark cluster` prints as JSON, asked of a node that runs. */
  async ask(...words) {
    return JSON.parse(await this.print(...words, "--json"));
  }

  /** What it prints for people. */
  async print(...words) {
    const { stdout } = await run(tidemarkBinary(), ["cluster", ...words, "--config", this.running[0].config]);
    return stdout;
  }

  /** What `tidemark deployment` prints, beside a node that runs. */
  async operate(...words) {
    const [{ config, dataFolder }] = this.running;
    const secret = join(dirname(dirname(config)), "secret");
    const server = ["--data-dir", dataFolder, "--cluster-secret-file", secret];
    const { stdout } = await run(tidemarkBinary(), ["deployment", ...server, ...words]);
    return stdout;
  }

  /** The node that leads the group of the deployment, once one that runs does. */
  async leader() {
    const deadline = Date.now() + LEADER_MS_MAX;
    for (;;) {
      const status = await this.ask("status").catch((error) => ({ error }));
      const group = status.groups?.find((group) => status.deployments.some((deployment) => deployment.group === group.group));
      const leader = this.running.find((node) => node.node === group?.leader);
      if (leader) {
        return leader;
      }
      assert.ok(Date.now() < deadline, `nobody leads after ${LEADER_MS_MAX} ms: ${JSON.stringify(status)} ${status.error ?? ""}`);
      await sleep(POLL_MS);
    }
  }

  /** Waits until every node has what the leaders have. */
  async caughtUp() {
    const isThere = ({ entriesBehind, silentMs }) => (entriesBehind ?? Infinity) <= BEHIND_MAX && (silentMs ?? Infinity) <= SILENT_MS_MAX;
    const isCaughtUp = ({ leader, members }) => leader !== null && members.every((member) => member.node === leader || isThere(member));
    const deadline = Date.now() + CAUGHT_UP_MS_MAX;
    for (;;) {
      const status = await this.ask("status").catch((error) => ({ error }));
      if (status.groups?.every(isCaughtUp)) {
        return;
      }
      assert.ok(Date.now() < deadline, `not caught up after ${CAUGHT_UP_MS_MAX} ms: ${JSON.stringify(status)} ${status.error ?? ""}`);
      await sleep(POLL_MS);
    }
  }
}
