// The console's lines, as the isolates write them: one formatted text per argument.
import { inspect } from "node:util";
import { callForLog } from "./calls.mjs";
import { send } from "./frames.mjs";
import { mapText } from "./stacks.mjs";

let linesMax;
let charsMax;

export function installConsole(logLinesMax, logLineCharsMax) {
  linesMax = logLinesMax;
  charsMax = logLineCharsMax;
  Object.assign(console, methods);
}

function write(level, messages) {
  const call = callForLog();
  // One more than the limit, by which the server sees that there were more.
  if (call === undefined || ++call.lines > linesMax + 1) {
    return;
  }
  let left = charsMax;
  let isTruncated = false;
  const kept = [];
  for (const message of messages) {
    kept.push(message.slice(0, left));
    isTruncated ||= message.length > left;
    left = Math.max(0, left - message.length);
    if (isTruncated) {
      break;
    }
  }
  send({ type: "log", call: call.id, level, messages: kept, isTruncated });
}

function format(values) {
  return values.map((value) => {
    try {
      // One character more than is kept, so that it counts as cut.
      return mapText(inspect(value, { maxStringLength: charsMax + 1 }));
    } catch (error) {
      return `[could not be shown: ${String(error)}]`;
    }
  });
}

const timers = new Map();
const counts = new Map();

const writer =
  (level) =>
  (...values) =>
    write(level, format(values));

function elapsed(label, values) {
  if (timers.has(label)) {
    write("INFO", [`${label}: ${Math.round(performance.now() - timers.get(label))}ms`, ...format(values)]);
  } else {
    write("WARN", [`Timer '${label}' does not exist`]);
  }
}

const methods = {
  log: writer("LOG"),
  info: writer("INFO"),
  warn: writer("WARN"),
  error: writer("ERROR"),
  debug: writer("DEBUG"),
  dir: (value) => write("LOG", format([value])),
  trace(...values) {
    const frames = mapText(new Error().stack).split("\n").slice(2);
    const messages = ["Trace:", ...format(values)];
    messages.push([messages.pop(), ...frames].join("\n"));
    write("LOG", messages);
  },
  time(label = "default") {
    if (timers.has(label)) {
      write("WARN", [`Timer '${label}' already exists`]);
      return;
    }
    timers.set(label, performance.now());
  },
  timeLog: (label = "default", ...values) => elapsed(label, values),
  timeEnd(label = "default") {
    elapsed(label, []);
    timers.delete(label);
  },
  assert(condition, ...values) {
    if (!condition) {
      write("ERROR", ["Assertion failed", ...format(values)]);
    }
  },
  count(label = "default") {
    counts.set(label, (counts.get(label) ?? 0) + 1);
    write("LOG", [`${label}: ${counts.get(label)}`]);
  },
  countReset(label = "default") {
    counts.delete(label);
  },
};
