// What operators see of a Tidemark: its port for them, Prometheus' tools, a collector of traces.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { whenOver } from "./cleanup.mjs";
import { parseEnvironment, tidemarkBinary } from "./tidemark.mjs";

/** Without promtool a test is skipped, but not where everything has been set up. */
export const withoutPromtool =
  spawnSync("promtool", ["--version"]).error && !process.env.CI && "promtool is not there: `make setup` installs it";

/** The address of the port for operators, of a Tidemark that was started with TIDEMARK_METRICS_PORT. */
export async function monitoringUrl(tidemark) {
  const variables = parseEnvironment(await readFile(join(tidemark.dataFolder, "env"), "utf8"));
  return variables.TIDEMARK_METRICS_URL.replace(/\/metrics$/, "");
}

/** Runs promtool, which must find nothing wrong. Returns what it prints. */
export function promtool(words, { input, folder } = {}) {
  const { error, status, stdout, stderr } = spawnSync("promtool", words, { encoding: "utf8", input, cwd: folder });
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
