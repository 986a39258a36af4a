// The official clients of all languages behind one face. Values are in Convex's JSON encoding on this side of it; each client
// converts them with its own library, there and back.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { ConvexClient, ConvexHttpClient } from "convex/browser";
import { makeFunctionReference } from "convex/server";
import { ConvexError, convexToJson, jsonToConvex } from "convex/values";
import { WebSocket } from "ws";
import { whenOver } from "./cleanup.mjs";

const ANSWER_MS_MAX = 90_000;
const folder = new URL("../clients", import.meta.url).pathname;

/** Names, and how a client is connected to a URL. It is closed with the test. */
export const CLIENTS = {
  "npm, HTTP": async (_context, url) => new NpmHttp(url),
  "npm, WebSocket": async (context, url) => new NpmWebSocket(context, url),
  "Python, HTTP": async (context, url) => new Program(context, python, [join(folder, "client.py"), url, "ConvexHttpClient"]),
  Python: async (context, url) => new LiveProgram(context, python, [join(folder, "client.py"), url, "ConvexClient"]),
  Rust: async (context, url) => new LiveProgram(context, rustClient(), [url]),
};

/** The Python that has the packages of clients/requirements.txt: `xtask setup` makes it. */
export const python = join(folder, ".venv", "bin", "python");

/** What `xtask end-to-end` has built. */
function rustClient() {
  assert.ok(process.env.RUST_CLIENT, "RUST_CLIENT names the program of clients/rust; `xtask end-to-end` builds it");
  return process.env.RUST_CLIENT;
}

/** A value, or what was thrown: `{ value }`, `{ error }`, or `{ error, data }` for a ConvexError. */
async function outcome(promise) {
  try {
    return { value: convexToJson((await promise) ?? null) };
  } catch (error) {
    return error instanceof ConvexError ? { error: error.message, data: convexToJson(error.data) } : { error: error.message };
  }
}

class NpmHttp {
  #client;

  constructor(url) {
    this.#client = new ConvexHttpClient(url, { logger: false });
  }

  call(kind, path, args) {
    return outcome(this.#client[kind](makeFunctionReference(path), jsonToConvex(args)));
  }

  async setAuth(token) {
    token === null ? this.#client.clearAuth() : this.#client.setAuth(token);
  }
}

class NpmWebSocket {
  #client;

  constructor(context, url) {
    this.#client = new ConvexClient(url, { webSocketConstructor: WebSocket, logger: false });
    whenOver(context, () => this.#client.close());
  }

  call(kind, path, args) {
    return outcome(this.#client[kind](makeFunctionReference(path), jsonToConvex(args)));
  }

  async setAuth(token) {
    // A function that gives null would leave the connection signed in (docs/reference/clients.md).
    token === null ? this.#client.client.clearAuth() : this.#client.setAuth(async () => token);
  }

  /** `next()` waits for the next result, `unsubscribe()` ends it. */
  async subscribe(path, args) {
    const results = [];
    const waiting = [];
    const add = (result) => (waiting.length > 0 ? waiting.shift()(result) : results.push(result));
    const unsubscribe = this.#client.onUpdate(
      makeFunctionReference(path),
      jsonToConvex(args),
      (value) => add(outcome(Promise.resolve(value))),
      (error) => add(outcome(Promise.reject(error))),
    );
    return {
      next: () => (results.length > 0 ? results.shift() : new Promise((resolve) => waiting.push(resolve))),
      unsubscribe,
    };
  }
}

/** A program of another language, which takes commands as lines of JSON. One at a time. */
class Program {
  #child;
  #answers;
  #last = Promise.resolve();
  #stderr = "";

  constructor(context, program, words) {
    this.#child = spawn(program, words, { stdio: ["pipe", "pipe", "pipe"] });
    this.#child.stderr.setEncoding("utf8").on("data", (text) => (this.#stderr += text));
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    const failed = once(this.#child, "error").then(([error]) => error);
    failed.then((error) => (this.#stderr += error.message));
    whenOver(context, async () => {
      if (this.#child.exitCode === null && this.#child.pid !== undefined) {
        this.#child.kill("SIGKILL");
        await once(this.#child, "close");
      }
    });
  }

  do(command) {
    const answer = this.#last.then(async () => {
      this.#child.stdin.write(`${JSON.stringify(command)}\n`);
      const timer = setTimeout(() => this.#child.kill("SIGKILL"), ANSWER_MS_MAX);
      const { value: line } = await this.#answers.next();
      clearTimeout(timer);
      assert.ok(line, `the client ended, or was ended since it did not answer to ${JSON.stringify(command)}:\n${this.#stderr}`);
      return JSON.parse(line);
    });
    this.#last = answer.catch(() => {});
    return answer;
  }

  call(kind, path, args) {
    return this.do({ do: "call", kind, path, args });
  }

  setAuth(token) {
    return this.do({ do: "set_auth", token });
  }
}

class LiveProgram extends Program {
  async subscribe(path, args) {
    const { subscription, error } = await this.do({ do: "subscribe", path, args });
    assert.equal(error, undefined);
    return {
      next: () => this.do({ do: "next", subscription }),
      unsubscribe: () => this.do({ do: "unsubscribe", subscription }),
    };
  }
}
