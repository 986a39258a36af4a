// A cluster on this machine whose processes each have some of the roles, without certificates, for the length of a test.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { whenOver } from "./cleanup.mjs";
import { CALM } from "./cluster.mjs";
import { freePorts } from "./ports.mjs";
import { alarmingLines, limitsText, parseEnvironment, temporaryFolder, tidemarkBinary } from "./tidemark.mjs";

const START_MS_MAX = 120_000;
const STOP_MS_MAX = 60_000;

/**
 * Starts a process for each of `roles`, of which the last has the gateway, and waits until that one serves. Returns where, and where each
 * process is asked by operators, and in `urls` where each would serve clients. `settings` and `limits` (by group and name) stand at the end of each configuration.
 * Where `between` is given, others call a process at the port that it makes of the process's own.
 */
export async function startApart(context, roles, { settings = "", limits = {}, between = null } = {}) {
  const folder = await temporaryFolder(context);
  const secret = join(folder, "secret");
  await writeFile(secret, randomBytes(32), { mode: 0o600 });
  const ports = await freePorts(5 * roles.length);
  const internal = await Promise.all(roles.map((_, index) => between?.(ports[5 * index + 3]) ?? ports[5 * index + 3]));
  const peers = internal.map((port) => `127.0.0.1:${port}`);
  const [api, site] = ports.slice(5 * (roles.length - 1));
  for (const [index, names] of roles.entries()) {
    const own = join(folder, `${index + 1}`);
    await mkdir(own);
    const [port, sitePort, grpcPort, internalPort, metricsPort] = ports.slice(5 * index);
    const lines = [
      `data_dir = ${JSON.stringify(join(own, "data"))}`,
      `blobs_url = ${JSON.stringify(`file://${join(folder, "blobs")}`)}`,
      `roles = ${JSON.stringify(names)}`,
      `port = ${port}\nsite_port = ${sitePort}\ngrpc_port = ${grpcPort}`,
      `internal_port = ${internalPort}\nmetrics_port = ${metricsPort}`,
      `cloud_url = "http://127.0.0.1:${api}"\nsite_url = "http://127.0.0.1:${site}"`,
      `[node]\nid = ${index + 1}\nzone = "zone-${index % 3}"\naddress = "${peers[index]}"`,
      `[cluster]\npeers = ${JSON.stringify(peers)}\nsecret_file = ${JSON.stringify(secret)}`,
      settings,
      limitsText({ ...CALM, ...limits }),
    ];
    const config = join(own, "tidemark.toml");
    await writeFile(config, `${lines.join("\n")}\n`);
    startProcess(context, config, names);
  }
  const env = join(folder, `${roles.length}`, "data", "env");
  const deadline = Date.now() + START_MS_MAX;
  for (;;) {
    const text = await readFile(env, "utf8").catch(() => null);
    if (text) {
      const variables = parseEnvironment(text);
      const monitoring = roles.map((_, index) => `http://127.0.0.1:${ports[5 * index + 4]}`);
      const urls = roles.map((_, index) => `http://127.0.0.1:${ports[5 * index]}`);
      return { url: variables.CONVEX_SELF_HOSTED_URL, adminKey: variables.CONVEX_SELF_HOSTED_ADMIN_KEY, monitoring, urls };
    }
    assert.ok(Date.now() < deadline, `the gateway does not serve after ${START_MS_MAX} ms`);
    await sleep(50);
  }
}

/** It is stopped when the test ends, which then fails if the log holds what somebody must look at. */
function startProcess(context, config, names) {
  const child = spawn(tidemarkBinary(), ["serve", "--config", config], { stdio: ["ignore", "pipe", "pipe"] });
  const closed = once(child, "close");
  let log = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => (log += text));
  }
  whenOver(context, async () => {
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
    await closed;
    clearTimeout(timer);
    assert.equal(child.exitCode, 0, `${names} did not stop cleanly:\n${log}`);
    const unexpected = alarmingLines(log).filter((line) => !line.includes("the lead was not handed over"));
    assert.deepEqual(unexpected, [], `lines in the log of ${names} that no test expects`);
  });
}
