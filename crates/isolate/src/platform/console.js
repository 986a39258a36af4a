// console: formats in the guest, so that the host only stores text.
import { now } from "tidemark:host";
import { formatArguments } from "tidemark:inspect";
import { log } from "tidemark:requests";

const timers = new Map();
const counts = new Map();

const write =
  (level) =>
  (...values) => {
    log(level, formatArguments(values));
  };

function logElapsed(label, values) {
  if (timers.has(label)) {
    log("INFO", [`${label}: ${now() - timers.get(label)}ms`, ...formatArguments(values)]);
  } else {
    log("WARN", [`Timer '${label}' does not exist`]);
  }
}

export const console = {
  log: write("LOG"),
  info: write("INFO"),
  warn: write("WARN"),
  error: write("ERROR"),
  debug: write("DEBUG"),
  trace(...values) {
    const messages = ["Trace:", ...formatArguments(values)];
    const frames = new Error().stack.split("\n").slice(1);
    log("LOG", [...messages.slice(0, -1), [messages.at(-1), ...frames].join("\n").trimEnd()]);
  },
  time(label = "default") {
    if (timers.has(label)) {
      log("WARN", [`Timer '${label}' already exists`]);
      return;
    }
    timers.set(label, now());
  },
  timeLog(label = "default", ...values) {
    logElapsed(label, values);
  },
  timeEnd(label = "default") {
    logElapsed(label, []);
    timers.delete(label);
  },
  assert(condition, ...values) {
    if (!condition) {
      log("ERROR", ["Assertion failed", ...formatArguments(values)]);
    }
  },
  count(label = "default") {
    counts.set(label, (counts.get(label) ?? 0) + 1);
    log("LOG", [`${label}: ${counts.get(label)}`]);
  },
  countReset(label = "default") {
    counts.delete(label);
  },
  table: write("LOG"),
  dir: (value) => log("LOG", formatArguments([value])),
  group: write("LOG"),
  groupCollapsed: write("LOG"),
  groupEnd() {},
};
