// What actions in Node.js may try: imitations with a bound, which harm no machine. Each case is a sentence, the body of an action that
// gets `ctx`, in `outside` the address of a server that behaves badly (outside.mjs) and what HELPERS has, and how it must end.
import { ENDS, MEMORY, TIME, TIME_OR_MEMORY, returns, throwsData } from "./endings.mjs";

const BROKEN = /NodeProcessBroken/;
const PROCESSES = /NodeProcessesLimit/;
/** More than fits between a process and the server, or into the memory of the process. */
const TOO_LARGE = /FunctionArgumentsTooLarge|could not be shown: \d+ bytes|FunctionOutOfMemory/;
const NOT_A_VALUE = /not a supported Convex type|InvalidReturnValue/;

/** The head of their module. `frame` makes what a process sends to the server, see crates/nodejs/src/frame.rs. */
export const HELPERS = `
import { execSync, spawn } from "node:child_process";
import fs, { closeSync, writeSync } from "node:fs";
import { createServer } from "node:http";
import { syncBuiltinESMExports } from "node:module";
import { connect } from "node:net";
import { Worker } from "node:worker_threads";
const SERVER = 4;
const forEver = () => new Promise((resolve) => setTimeout(resolve, 600_000));
const frame = (header, body = "") => {
  const [json, bytes] = [Buffer.from(JSON.stringify(header)), Buffer.from(body)];
  const prefix = Buffer.alloc(8);
  prefix.writeUInt32BE(json.length, 0);
  prefix.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([prefix, json, bytes]);
};
/** The result of whichever call this is. */
const pretend = (body) => {
  for (let call = 1; call <= 200; call++) writeSync(SERVER, frame({ type: "returned", call }, body));
};
const fill = (mebibytes) => Array.from({ length: mebibytes }, () => Buffer.alloc(1 << 20, 1));
const FILL = "globalThis.kept = Array.from({ length: 400 }, () => Buffer.alloc(1 << 20, 1)); setTimeout(() => {}, 600_000);";
`;

export const GROUPS = {
  "Node.js actions end by their time": [
    ["a loop", `for (;;);`, TIME],
    ["a loop in promise jobs", `for (;;) await null;`, TIME],
    ["a loop in setImmediate", `await new Promise(() => { const again = () => setImmediate(again); again(); });`, TIME],
    ["a regular expression", `return /^(a+)+$/.test("a".repeat(60) + "!");`, TIME],
    ["a loop in a thread", `await new Promise(() => new Worker("for (;;);", { eval: true }));`, TIME],
    ["a loop before the exit", `process.on("exit", () => { for (;;); }); process.exit(0);`, TIME],
    ["a promise that never resolves", `await new Promise(() => {});`, TIME],
    ["a program that is waited for", `execSync("sleep 600");`, TIME],
    ["a process that has stopped itself", `process.kill(process.pid, "SIGSTOP"); await forEver();`, TIME],
    ["one that wants no signal", `for (const name of ["SIGTERM", "SIGINT", "SIGHUP", "SIGCONT"]) process.on(name, () => {}); for (;;);`, TIME],
    ["a server that never answers", `await fetch(outside + "/silent");`, TIME],
    ["an answer without end", `for await (const piece of (await fetch(outside + "/endless")).body);`, TIME],
    ["a body without end", `await fetch(outside + "/takes", { method: "POST", duplex: "half", body: new ReadableStream({ pull: (to) => to.enqueue(new Uint8Array(65_536)) }) });`, TIME_OR_MEMORY],
    ["calls without end", `for (;;) await ctx.runQuery("cases:nothing", {});`, TIME],
    ["functions that are scheduled without end", `for (;;) await ctx.scheduler.runAfter(3_600_000, "cases:write", {});`, TIME],
    ["lines without end", `for (;;) console.log("line");`, TIME],
    ["output without end", `for (;;) process.stdout.write("line\\n");`, TIME_OR_MEMORY],
    ["a line without end", `for (;;) process.stdout.write("x".repeat(65_536));`, TIME_OR_MEMORY],
    ["buffers that are changed", `Buffer.concat = () => Buffer.alloc(0); return 1;`, TIME],
    ["who calls an action that waits", `await ctx.runAction("cases:waits", { outside });`, TIME],
  ],
  "the memory of Node.js actions has a limit": [
    ["lists", `const kept = []; for (;;) kept.push(new Array(10_000).fill(kept.length));`, MEMORY],
    ["closures", `let kept = () => 1; for (;;) { const before = kept; kept = () => before; }`, MEMORY],
    ["a text that doubles", `let text = "tide"; for (;;) text += text;`, /Invalid string length|FunctionOutOfMemory/],
    ["buffers", `const kept = fill(400); await forEver(); return kept.length;`, MEMORY],
    ["buffers bit by bit", `const kept = []; for (;;) { kept.push(Buffer.alloc(1 << 20, 1)); await new Promise((resolve) => setTimeout(resolve, 5)); }`, MEMORY],
    ["the memory of a WebAssembly", `const memory = new WebAssembly.Memory({ initial: 6_400 }); new Uint8Array(memory.buffer).fill(1); await forEver(); return memory;`, MEMORY],
    ["a thread", `new Worker(FILL, { eval: true }); await forEver();`, MEMORY],
    ["a process", `spawn(process.execPath, ["-e", FILL]); await forEver();`, MEMORY],
    ["an answer without end", `return (await fetch(outside + "/endless")).text();`, MEMORY],
    ["a file that is too large", `await ctx.storage.store(new Blob([Buffer.alloc(3 << 20)]));`, /FileTooLarge/],
  ],
  "Node.js processes that end": [
    ["by an exit", `process.exit(0);`, /NodeProcessEnded: .*exit code 0/],
    ["by another exit", `process.exit(3);`, /NodeProcessEnded: .*exit code 3/],
    ["by an exit within", `process.reallyExit(5);`, /NodeProcessEnded: .*exit code 5/],
    ["by an exit in a timer", `setTimeout(() => process.exit(4), 1); await forEver();`, /NodeProcessEnded: .*exit code 4/],
    ["by an exit of a thread's caller", `new Worker("process.exit(7)", { eval: true }).on("exit", (code) => process.exit(code)); await forEver();`, /NodeProcessEnded: .*exit code 7/],
    ["by giving up", `process.abort();`, /NodeProcessEnded: .*signal 6/],
    ["by SIGKILL", `process.kill(process.pid, "SIGKILL"); await forEver();`, /NodeProcessEnded: .*signal 9/],
    ["by SIGSEGV", `process.kill(process.pid, "SIGSEGV"); await forEver();`, /NodeProcessEnded: .*signal 11/],
    ["by SIGTERM", `process.kill(process.pid, "SIGTERM"); await forEver();`, /NodeProcessEnded: .*signal 15/],
    ["by an error that nobody handles", `process.removeAllListeners("uncaughtException"); setTimeout(() => { throw new Error("mine"); }, 1); await forEver();`, /NodeProcessEnded/],
    ["by what they let go of", `closeSync(SERVER); return 1;`, /NodeProcessEnded/],
    ["by what they hear of", `closeSync(3); return 1;`, ENDS],
    ["although they have an exit code", `process.exitCode = 9; return 1;`, returns(1)],
  ],
  "what nobody waits for in Node.js": [
    ["a promise that is rejected", `Promise.reject(new RangeError("nobody's")); await forEver();`, /Uncaught RangeError: nobody's \(nobody waited/],
    ["an error in a timer", `setTimeout(() => { throw new Error("mine"); }, 1); await forEver();`, /Uncaught Error: mine \(nobody waited/],
    ["an error in nextTick", `process.nextTick(() => { throw new Error("mine"); }); await forEver();`, /Uncaught Error: mine \(nobody waited/],
    ["an error of a socket", `connect(1, "127.0.0.1"); await forEver();`, /ECONNREFUSED/],
    ["an error of a thread", `new Worker("throw new Error('mine')", { eval: true }); await forEver();`, /mine/],
    ["an error that is handled", `process.on("uncaughtException", () => {}); setTimeout(() => { throw new Error("mine"); }, 1); await forEver();`, /mine/],
    ["an error of a process that can't exit", `process.exit = () => {}; setTimeout(() => { throw new Error("mine"); }, 1); await forEver();`, /mine/],
    ["an error that is no error", `setTimeout(() => { throw null; }, 1); await forEver();`, /null/],
    ["an error that can't be shown", `setTimeout(() => { throw new Proxy({}, { get() { throw 1; }, has() { throw 2; } }); }, 1); await forEver();`, /could not be shown/],
    ["an error after the end", `setTimeout(() => { throw new Error("late"); }, 0); return 1;`, returns(1)],
    ["a rejection after the end", `setTimeout(() => Promise.reject(new Error("late")), 0); return 1;`, returns(1)],
    ["an exit after the end", `setTimeout(() => process.exit(9), 0); return 1;`, returns(1)],
    ["a loop after the end", `setTimeout(() => { for (;;); }, 0); return 1;`, returns(1)],
    ["a call after the end", `setTimeout(() => ctx.runMutation("cases:write", {}), 0); return 1;`, returns(1)],
    ["an interval after the end", `setInterval(() => console.log("still there"), 1); return 1;`, returns(1)],
    ["memory after the end", `setTimeout(() => { globalThis.kept = fill(300); }, 0); return 1;`, returns(1)],
    ["a thread after the end", `new Worker("setInterval(() => {}, 1_000)", { eval: true }); return 1;`, returns(1)],
    ["a process after the end", `spawn("sleep", ["600"]); return 1;`, returns(1)],
    ["a process with a session of its own after the end", `spawn("setsid", ["sleep", "600"], { detached: true, stdio: "ignore" }).unref(); return 1;`, returns(1)],
    ["a server after the end", `await new Promise((resolve) => createServer().listen(0, "127.0.0.1", resolve)); return 1;`, returns(1)],
  ],
  "the processes of Node.js actions have a number": [
    ["a dozen", `for (let i = 0; i < 12; i++) spawn("sleep", ["600"]); await forEver();`, PROCESSES],
    ["a dozen of their own", `for (let i = 0; i < 12; i++) spawn("sleep", ["600"], { detached: true, stdio: "ignore" }).unref(); await forEver();`, PROCESSES],
    ["a dozen of a shell", `spawn("sh", ["-c", "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 600 & done; wait"]); await forEver();`, PROCESSES],
    ["a dozen of a shell that is gone", `spawn("sh", ["-c", "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do setsid sleep 600 & done"]); await forEver();`, PROCESSES],
    ["five generations, each twice as many", `spawn("sh", ["-c", 'start() { [ $1 -gt 0 ] && { start $(($1 - 1)) & start $(($1 - 1)) & }; sleep 600; }; start 4']); await forEver();`, PROCESSES],
    ["some that are left behind by an exit", `for (let i = 0; i < 5; i++) spawn("sleep", ["600"]); process.exit(2);`, /NodeProcessEnded: .*exit code 2/],
    ["one that is not there", `spawn("/nowhere"); await forEver();`, /ENOENT/],
    ["as many as there may be", `for (let i = 0; i < 5; i++) spawn("sleep", ["600"]); await new Promise((resolve) => setTimeout(resolve, 500)); return 1;`, returns(1)],
  ],
  "what looks like what a Node.js process says to the server": [
    ["on the output", `process.stdout.write(frame({ type: "returned", call: 1 }, "7")); process.stdout.write("\\n"); return 1;`, returns(1)],
    ["on the error output", `process.stderr.write(frame({ type: "threw", call: 1, error: {} })); return 1;`, returns(1)],
    ["in the console", `console.log(JSON.stringify({ type: "uncaught", error: { name: "Error", message: "mine", stack: "", data: null } })); return 1;`, returns(1)],
    ["that memory is full", `process.stderr.write("FATAL ERROR: JavaScript heap out of memory\\n"); return 1;`, returns(1)],
    ["text", `writeSync(SERVER, "no frame at all"); await forEver();`, BROKEN],
    ["a length without a frame", `writeSync(SERVER, Buffer.alloc(8, 255)); await forEver();`, BROKEN],
    ["a frame of what is no JSON", `writeSync(SERVER, Buffer.from([0, 0, 0, 2, 0, 0, 0, 0, 123, 33])); await forEver();`, BROKEN],
    ["a frame of JSON that is too deep", `writeSync(SERVER, Buffer.concat([Buffer.from([0, 0, 39, 16, 0, 0, 0, 0]), Buffer.alloc(10_000, "[")])); await forEver();`, BROKEN],
    ["a frame of no kind", `writeSync(SERVER, frame({ type: "nonsense" })); await forEver();`, BROKEN],
    ["a frame without what belongs to it", `writeSync(SERVER, frame({ type: "returned" })); await forEver();`, BROKEN],
    ["half a frame before the result", `writeSync(SERVER, Buffer.from([0, 0, 0, 9, 0, 0, 0, 0, 123])); return 1;`, BROKEN],
    ["half a frame before the end", `writeSync(SERVER, frame({ type: "resting" }).subarray(0, 9)); process.exit(6);`, /NodeProcessEnded: .*exit code 6/],
    ["somebody else's result", `writeSync(SERVER, frame({ type: "returned", call: 4_000_000_000 }, "7")); return 1;`, returns(1)],
    ["somebody else's operation", `writeSync(SERVER, frame({ type: "operation", call: 4_000_000_000, id: 1, name: "1.0/actions/mutation", arguments: "{}", hasBody: false })); return 1;`, returns(1)],
    ["a chunk that nobody waits for", `writeSync(SERVER, frame({ type: "chunk", call: 1, id: 4_000_000_000, isLast: false }, "bytes")); return 1;`, returns(1)],
    ["a line of the console that is too long", `for (let call = 1; call <= 200; call++) writeSync(SERVER, frame({ type: "log", call, level: "LOG", messages: ["x".repeat(200_000)], isTruncated: false })); await forEver();`, BROKEN],
    ["that it rests", `writeSync(SERVER, frame({ type: "resting" })); return 1;`, returns(1)],
    ["its own result", `pretend("7"); await forEver();`, returns(7)],
    ["a result that is no JSON", `pretend("}{"); await forEver();`, /InvalidReturnValue/],
    ["a result that is no text", `pretend(Buffer.from([255])); await forEver();`, BROKEN],
    ["a result that is too deep", `pretend("[".repeat(100_000) + "]".repeat(100_000)); await forEver();`, /InvalidReturnValue/],
    ["JSON that is changed", `JSON.stringify = () => "poisoned"; return 1;`, BROKEN],
    ["files that are changed", `fs.writeSync = () => { throw new Error("mine"); }; syncBuiltinESMExports(); return 1;`, /NodeProcessEnded: .*exit code 1/],
  ],
  "what Node.js actions ask of the server": [
    ["too much at once", `await Promise.all(Array.from({ length: 1_500 }, () => ctx.runQuery("cases:nothing", {})));`, /TooManyConcurrentOperations/],
    ["an action that calls itself", `return ctx.runAction("native:itself", {});`, /TooManyConcurrentRequests|MaximumCallDepthExceeded/],
    ["a query that calls itself", `return ctx.runQuery("cases:endless", {});`, /MaximumCallDepthExceeded/],
    ["a query that does not end", `return ctx.runQuery("cases:loop", {});`, TIME],
    ["an operation that there is not", `return await Convex.asyncSyscall("1.0/nonsense", "{}");`, /Unknown/],
    ["an operation with what is no JSON", `return await Convex.asyncSyscall("1.0/actions/query", "}{");`, /InvalidOperationArguments/],
    ["an operation with JSON that is too deep", `return await Convex.asyncSyscall("1.0/actions/query", "[".repeat(100_000));`, /InvalidOperationArguments/],
    ["an operation of thirty megabytes", `return await Convex.asyncSyscall("1.0/actions/query", JSON.stringify("x".repeat(30_000_000)));`, TOO_LARGE],
    ["the database below the library", `return await Convex.asyncSyscall("1.0/insert", JSON.stringify({ table: "notes", value: {} }));`, /Unknown/],
    ["a request of an isolate", `return await Convex.asyncSyscall("tidemark/fetch", JSON.stringify({ fetch: 1, method: "GET", url: outside + "/hello", headers: [], redirect: "follow", isStream: false }));`, /Unknown/],
    ["to cancel what is not there", `await ctx.scheduler.cancel("0".repeat(32));`, /InvalidArgument/],
    ["to store what is no Blob", `await ctx.storage.store("text");`, /takes a Blob/],
  ],
  "what Node.js actions return, throw and print": [
    ["a text that is too large", `return "x".repeat(17 << 20);`, /FunctionResultTooLarge/],
    ["bytes that are too large", `return new ArrayBuffer(17 << 20);`, /FunctionResultTooLarge|FunctionOutOfMemory/],
    ["a list that is too long", `return new Array(8_193).fill(0);`, /8,?192|too long/i],
    ["a deep value", `let value = 1; for (let i = 0; i < 5_000; i++) value = [value]; return value;`, /nested|stack|deep/i],
    ["a circle", `const one = {}; one.self = one; return one;`, /circular|stack|nested/i],
    ["a function", `return () => 1;`, NOT_A_VALUE],
    ["a stream", `return process.stdout;`, NOT_A_VALUE],
    ["an integer beyond 64 bits", `return 2n ** 63n;`, /64|BigInt/],
    ["a lone surrogate", `return "\\ud800";`, ENDS],
    ["a getter that throws", `return { get a() { throw new Error("mine"); } };`, /mine/],
    ["null thrown", `throw null;`, /Uncaught/],
    ["undefined thrown", `throw undefined;`, /Uncaught/],
    ["a proxy thrown", `throw new Proxy({}, { get() { throw new Error("mine"); } });`, /could not be shown/],
    ["an error whose message throws", `const error = new Error("a"); Object.defineProperty(error, "message", { get() { throw new Error("b"); } }); throw error;`, /could not be shown/],
    ["an error whose stack is a number", `const error = new Error("mine"); error.stack = 7; throw error;`, /mine/],
    ["an error that is its own cause", `const error = new Error("mine"); error.cause = error; throw error;`, /mine/],
    ["an error of thirty megabytes", `throw new Error("x".repeat(30_000_000));`, TOO_LARGE],
    ["a payload of thirty megabytes", throwsData('"x".repeat(30_000_000)'), TOO_LARGE],
    ["an error with half a character", `throw new Error("\\ud800 mine");`, /Uncaught Error: \ufffd mine/],
    ["a payload with half a character", throwsData('JSON.stringify("\\ud800")'), /mine/],
    ["a payload that is no JSON", throwsData('"}{"'), /mine/],
    ["a payload that is too deep", throwsData('"[".repeat(100_000) + "]".repeat(100_000)'), /mine/],
    ["a payload that is no JSON, of a function that is called", `await ctx.runQuery("cases:throwsNoValue", {});`, /mine/],
    ["a line of ten megabytes", `console.log("x".repeat(10_000_000)); return 1;`, returns(1)],
    ["a line that is cut within a character", `console.log("\\u{1f600}".repeat(20_000)); return 1;`, returns(1)],
    ["half a character", `console.log("\\ud800"); return 1;`, returns(1)],
    ["ten thousand lines", `for (let i = 0; i < 10_000; i++) console.log("line", i); return 1;`, returns(1)],
    ["a line of ten megabytes on the output", `process.stdout.write("x".repeat(10_000_000) + "\\n"); return 1;`, returns(1)],
    ["a hundred thousand lines on the output", `process.stdout.write("line\\n".repeat(100_000)); return 1;`, returns(1)],
    ["what is no text", `process.stdout.write(Buffer.alloc(10_000, 255)); return 1;`, returns(1)],
    ["a circle in the console", `const one = {}; one.self = one; console.log(one); return 1;`, returns(1)],
    ["a getter that throws in the console", `console.log({ get a() { throw new Error("mine"); } }, new Proxy({}, { ownKeys() { throw new Error("mine"); } })); return 1;`, returns(1)],
    ["an output that is closed", `process.stdout.destroy(); process.stderr.destroy(); return 1;`, ENDS],
  ],
};
