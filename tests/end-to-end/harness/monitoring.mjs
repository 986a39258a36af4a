// What operators see of a Tidemark: its port for them, Prometheus' tools, a collector of traces.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { whenOver } from "./cleanup.mjs";
import { parseEnvironment, temporaryFolder, tidemarkBinary } from "./tidemark.mjs";

// Where `make setup` unpacks them.
const PROMETHEUS = new URL("../.prometheus/", import.meta.url).pathname;
/** Without Prometheus' programs a test is skipped, but not where everything has been set up. */
export const withoutPrometheus =
  !existsSync(join(PROMETHEUS, "promtool")) && !process.env.CI && "Prometheus is not there: `make setup` brings it";

/** The address of the port for operators, of a Tidemark that was started with TIDEMARK_METRICS_PORT. */
export async function monitoringUrl(tidemark) {
  const variables = parseEnvironment(await readFile(join(tidemark.dataFolder, "env"), "utf8"));
  return variables.TIDEMARK_METRICS_URL.replace(/\/metrics$/, "");
}

/** Runs promtool, which must find nothing wrong. Returns what it prints. */
export function promtool(words, { input, folder } = {}) {
  const { error, status, stdout, stderr } = spawnSync(join(PROMETHEUS, "promtool"), words, { encoding: "utf8", input, cwd: folder });
  assert.ifError(error);
  assert.equal(status, 0, `promtool ${words.join(" ")}:\n${stdout}${stderr}`);
  return stdout;
}

/** The metrics of a text, by their names: their kind, and their series as [labels, value]. Those of a histogram are its counts. */
export function readMetrics(text) {
  const metrics = new Map();
  for (const line of text.split("\n")) {
    const [, name, kind] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? [];
    if (name) {
      metrics.set(name, { kind, series: [] });
    }
    const [, full, labels, value] = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (full) {
      const metric = metrics.get(full) ?? metrics.get(full.replace(/_count$/, ""));
      const pairs = [...(labels ?? "").matchAll(/([a-z]+)="((?:[^"\\]|\\.)*)"/g)].map(([, label, text]) => [label, text]);
      metric?.series.push([Object.fromEntries(pairs), Number(value)]);
    }
  }
  return metrics;
}

/** The sum of a metric's series that have these labels. */
export function total(metrics, name, labels = {}) {
  const metric = metrics.get(name);
  assert.ok(metric, `${name} is not served`);
  const has = (series) => Object.entries(labels).every(([label, value]) => series[label] === value);
  return metric.series.filter(([series]) => has(series)).reduce((sum, [, value]) => sum + value, 0);
}

/** A collector that takes traces, for the length of a test: its address, and the spans that have come so far. */
export async function startCollector(context) {
  const child = spawn(join(dirname(tidemarkBinary()), "otlp-receiver"), { stdio: ["ignore", "pipe", "inherit"] });
  whenOver(context, async () => {
    if (child.exitCode === null && child.kill()) {
      await once(child, "close");
    }
  });
  const spans = [];
  const lines = createInterface(child.stdout);
  const [url] = await once(lines, "line");
  lines.on("line", (line) => spans.push(JSON.parse(line)));
  return { url, spans };
}

/**
 * A Prometheus, for the length of a test, that scrapes `instances` (addresses without a scheme, by name) as one cluster every second, and
 * evaluates the rules of `ruleFiles` as often.
 */
export async function startPrometheus(context, instances, ruleFiles) {
  const folder = await temporaryFolder(context);
  const targets = Object.entries(instances).map(([instance, address]) => ({ targets: [address], labels: { instance } }));
  const config = join(folder, "prometheus.yml");
  const settings = {
    global: { scrape_interval: "1s", scrape_timeout: "1s", evaluation_interval: "1s" },
    scrape_configs: [{ job_name: "tidemark", static_configs: targets }],
    rule_files: ruleFiles,
  };
  // JSON is YAML.
  await writeFile(config, JSON.stringify(settings));
  const words = [`--config.file=${config}`, `--storage.tsdb.path=${join(folder, "data")}`, "--web.listen-address=127.0.0.1:0"];
  const child = spawn(join(PROMETHEUS, "prometheus"), words, { stdio: ["ignore", "ignore", "pipe"] });
  whenOver(context, async () => {
    if (child.exitCode === null && child.kill()) {
      await once(child, "close");
    }
  });
  let log = "";
  const lines = createInterface(child.stderr);
  const address = await new Promise((resolve, reject) => {
    lines.on("line", (line) => {
      log += `${line}\n`;
      const [, found] = /msg="Listening on" address=(\S+)/.exec(line) ?? [];
      found && resolve(found);
    });
    lines.once("close", () => reject(new Error(`Prometheus does not listen:\n${log}`)));
    child.once("error", reject);
  });
  return new Prometheus(`http://${address}`);
}

class Prometheus {
  constructor(url) {
    this.url = url;
  }

  async #ask(path, parameters = {}) {
    const response = await fetch(`${this.url}/api/v1/${path}?${new URLSearchParams(parameters)}`);
    const { status, data, error } = await response.json();
    assert.equal(status, "success", `${path} ${JSON.stringify(parameters)}: ${error}`);
    return data;
  }

  /** What an expression is at a time, as [{metric, value: [time, text]}]. */
  async query(query, time) {
    return (await this.#ask("query", { query, time })).result;
  }

  /** The same from `start` to `end` every `step` seconds, as [{metric, values: [[time, text]]}]. */
  async queryRange(query, { start, end, step }) {
    return (await this.#ask("query_range", { query, start, end, step })).result;
  }

  /** The series that a selector has found so far. */
  async series(selector) {
    return this.#ask("series", { "match[]": selector });
  }

  /** All rules, with their `health` and, of alarms, their `state`. */
  async rules() {
    return (await this.#ask("rules")).groups.flatMap(({ rules }) => rules);
  }

  /** Those that it scrapes, with their `health`. */
  async targets() {
    return (await this.#ask("targets")).activeTargets;
  }
}
