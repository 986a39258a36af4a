// fetch(). The host sends requests, and brings bodies chunk by chunk as they are read.
import { operation } from "tidemark:host";
import { unavailable } from "tidemark:errors";
import { phase } from "tidemark:phase";
import { Request, partsOf } from "tidemark:request";
import { syscall } from "tidemark:requests";
import { answerOf } from "tidemark:response";
import { streams } from "tidemark:streams";

const { ReadableStream } = streams;

let lastNumber = 0;

export async function fetch(input, init = undefined) {
  if (phase() !== "action") {
    throw unavailable("fetch()", "Fetch");
  }
  const { signal, body, ...head } = partsOf(new Request(input, init));
  signal?.throwIfAborted();
  const exchange = new Exchange(signal);
  try {
    return await exchange.run(head, body);
  } catch (error) {
    exchange.end();
    throw error;
  }
}

// One request and its answer.
class Exchange {
  #fetch = ++lastNumber;
  #signal;
  // What reads the answer's body, once there is one.
  #reading = null;
  // Why the host was told to let go of everything: `{ reason }`.
  #stopped = null;
  #abort = () => this.#stop(this.#signal.reason);

  constructor(signal) {
    this.#signal = signal;
    signal?.addEventListener("abort", this.#abort);
  }

  // The signal does not matter any more.
  end() {
    this.#signal?.removeEventListener("abort", this.#abort);
  }

  #stop(reason) {
    this.end();
    this.#stopped ??= { reason };
    this.#reading?.error(reason);
    syscall("tidemark/fetchAbort", JSON.stringify({ fetch: this.#fetch }));
  }

  async #ask(name, args, bytes = undefined) {
    try {
      return await operation(name, JSON.stringify({ fetch: this.#fetch, ...args }), bytes);
    } catch (cause) {
      throw this.#stopped ? this.#stopped.reason : new TypeError(`fetch failed: ${cause.message}`, { cause });
    }
  }

  async run(head, body) {
    const isStream = body !== null && !body.isBytes;
    const bytes = body === null || isStream ? undefined : body.buffer();
    const answered = this.#ask("tidemark/fetch", { ...head, isStream }, bytes);
    if (isStream) {
      this.#send(body.stream());
    }
    const { hasBody, ...answer } = JSON.parse(await answered);
    if (!hasBody) {
      this.end();
    }
    return answerOf({ ...answer, stream: hasBody ? this.#answerBody() : null });
  }

  // A body that can't be read to its end stops everything.
  async #send(stream) {
    const reader = stream.getReader();
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) {
          await this.#ask("tidemark/fetchWrite", { isLast: true });
          return;
        }
        if (!(value instanceof Uint8Array)) {
          throw new TypeError("A chunk of a body must be a Uint8Array");
        }
        // A server may have answered without waiting for the rest.
        if ((await this.#ask("tidemark/fetchWrite", { isLast: false }, value.slice().buffer)) === "false") {
          await reader.cancel();
          return;
        }
      }
    } catch (error) {
      reader.cancel(error).catch(() => {});
      this.#stop(error);
    }
  }

  #answerBody() {
    return new ReadableStream({
      type: "bytes",
      start: (controller) => {
        this.#reading = controller;
      },
      pull: async (controller) => {
        // Bytes, or text at the end.
        const chunk = await this.#ask("tidemark/fetchRead", {});
        if (typeof chunk !== "string") {
          controller.enqueue(new Uint8Array(chunk));
          return;
        }
        this.end();
        controller.close();
        controller.byobRequest?.respond(0);
      },
      cancel: () => this.#stop(undefined),
    });
  }
}
