"use node";
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import { action, ConvexError } from "./_deps/node/LIBRARY.js";

let calls = 0;

export const echo = action(async (context, values) => ({ values, requestId: context.requestId }));
export const count = action(async () => ++calls);
export const surroundings = action(async () => {
  const files = {};
  for (const number of fs.readdirSync("/proc/self/fd")) {
    try {
      files[number] = fs.readlinkSync(`/proc/self/fd/${number}`);
    } catch {
      // The folder that is being read.
    }
  }
  return {
    environment: { ...process.env },
    folder: process.cwd(),
    home: os.homedir(),
    temporary: os.tmpdir(),
    umask: process.umask(),
    files,
    arguments: process.argv.length,
    session: fs.readFileSync("/proc/self/stat", "utf8").split(") ")[1].split(" ")[3],
    pid: process.pid,
  };
});
export const askMany = action(async (context, { count }) => {
  const numbers = Array.from({ length: count }, (_, number) => number);
  return Promise.all(numbers.map((number) => context.ask("who", { number })));
});
export const askTooMany = action(async (context, { count }) => {
  const asked = Array.from({ length: count }, (_, number) => context.ask("who", { number }));
  return (await Promise.allSettled(asked)).map(({ status, reason }) => reason?.message.split(":")[0] ?? status);
});
export const failedOperation = action(async (context, { operation }) => {
  try {
    await context.ask(operation);
  } catch (error) {
    return { message: error.message, data: "data" in error ? error.data : "none" };
  }
});
export const syncOperation = action(async () => Convex.syscall("1.0/queryStream", "{}"));
export const throwing = action(async function throwing() {
  console.error(new RangeError("shown"));
  inner();
});
function inner() {
  throw new TypeError("no");
}
export const throwingConvexError = action(async () => {
  throw new ConvexError({ code: 7 });
});
export const throwingText = action(async () => {
  throw "only text";
});
export const notAwaited = action(async () => {
  Promise.reject(new RangeError("nobody waits"));
  await new Promise(() => setTimeout(() => {}, 60_000));
});
export const exit = action(async (_, { code }) => process.exit(code));
export const signal = action(async (_, { name }) => {
  process.kill(process.pid, name);
  await new Promise(() => setTimeout(() => {}, 60_000));
});
export const garbage = action(async () => {
  fs.writeSync(4, "this is no frame at all");
  await new Promise(() => setTimeout(() => {}, 60_000));
});
export const loop = action(async () => {
  console.log("before");
  for (;;);
});
export const sleep = action(async (context, { ms }) => {
  await context.ask("began", { pid: process.pid });
  await new Promise((resolve) => setTimeout(resolve, ms));
  return "slept";
});
export const leakHeap = action(async () => {
  const kept = [];
  for (;;) kept.push(new Array(1_000).fill(kept.length));
});
export const leakBuffers = action(async () => {
  const kept = [];
  for (;;) {
    kept.push(Buffer.alloc(4 << 20, kept.length));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
});
const kept = [];
export const keep = action(async (_, { mebibytes }) => {
  kept.push(Buffer.alloc(mebibytes << 20, 1));
  return process.pid;
});
export const long = action(async (_, { bytes }) => "x".repeat(bytes));
export const lines = action(async (_, { count }) => {
  console.log("a", 1, { b: [2n] });
  console.warn("w".repeat(40_000));
  process.stdout.write("to standard output\nand more");
  process.stdout.write(" of it\n");
  process.stderr.write("to standard error\n");
  for (let line = 0; line < count; line++) console.info(line);
});
export const levels = action(async () => {
  for (const level of ["debug", "info", "log", "warn", "error"]) console[level](level);
});
export const leaveChildren = action(async (context) => {
  const children = [
    spawn("sleep", ["600"], { detached: true, stdio: "ignore" }),
    spawn("sh", ["-c", "sleep 601 & exit"], { stdio: "ignore" }),
    spawn("sh", ["-c", "setsid sleep 602 & exit"], { stdio: "ignore", env: { PATH: process.env.PATH } }),
  ];
  children.forEach((child) => child.unref());
  await new Promise((resolve) => setTimeout(resolve, 300));
  await context.ask("family", { pid: process.pid });
  return process.pid;
});
export const startMany = action(async (_, { count }) => {
  for (let at = 0; at < count; at++) spawn("sleep", ["603"], { detached: at % 2 === 0, stdio: "ignore" });
  await new Promise((resolve) => setTimeout(resolve, 60_000));
});
export const exitWithChildren = action(async () => {
  spawn("sleep", ["604"], { detached: true, stdio: "ignore" });
  await new Promise((resolve) => setTimeout(resolve, 100));
  process.exit(1);
});
export const leaveTimer = action(async (context, { file }) => {
  setInterval(() => {
    fs.appendFileSync(file, ".");
    context.ask("late").catch((error) => fs.appendFileSync(file, error.message));
  }, 5);
  return process.pid;
});
export const wedge = action(async () => {
  // Behind the answer, and before anything that the server says to it.
  setImmediate(() => {
    for (;;);
  });
  return process.pid;
});
export const wedgeLater = action(async () => {
  setTimeout(() => {
    for (;;);
  }, 50);
  return process.pid;
});
export const goOn = action(async (context) => {
  context.ask("slow");
  return "returned";
});
export const write = action(async (_, { text }) => fs.appendFileSync("notes", text));
export const read = action(async () => (fs.existsSync("notes") ? fs.readFileSync("notes", "utf8") : null));
export const storeAndGet = action(async (context, { bytes }) => {
  const content = Buffer.alloc(bytes, "0123456789abcdef!");
  const id = await context.store(new Blob([content], { type: "text/plain" }), { sha256: "abc" });
  const blob = await context.get(id);
  const same = Buffer.from(await blob.arrayBuffer()).equals(content);
  return { id, type: blob.type, same, missing: await context.get("missing") };
});
export const hidden = action(async () => 1, { isInternal: true });
export default action(async () => "default");
export const notAFunction = { some: "value" };
