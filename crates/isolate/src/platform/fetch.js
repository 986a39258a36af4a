// fetch(). The host sends requests, and brings bodies chunk by chunk as they are read.
import { operation } from "tidemark:host";
import { TextEncoder, atob, decodeLatin1 } from "tidemark:encoding";
import { unavailable } from "tidemark:errors";
import { mimeTypeOfText, serializeMimeType } from "tidemark:mime";
import { phase } from "tidemark:phase";
import { Request, partsOf } from "tidemark:request";
import { syscall } from "tidemark:requests";
import { answerOf } from "tidemark:response";
import { streamOfBytes, streams } from "tidemark:streams";

const { ReadableStream } = streams;

let lastNumber = 0;

export async function fetch(input, init = undefined) {
  if (phase() !== "action") {
    throw unavailable("fetch()", "Fetch");
  }
  const { signal, body, ...head } = partsOf(new Request(input, init));
  signal?.throwIfAborted();
  if (head.url.startsWith("data:")) {
    return answerOfData(head);
  }
  const exchange = new Exchange(signal);
  try {
    return await exchange.run(head, body);
  } catch (error) {
    exchange.end();
    throw error;
  }
}

// What a data: URL holds (Fetch standard, "data: URL processor").
function answerOfData({ url, method }) {
  const text = url.slice("data:".length).replace(/#.*$/s, "");
  const comma = text.indexOf(",");
  if (comma < 0) {
    throw new TypeError("fetch failed: a data: URL has a comma before its data");
  }
  let type = text.slice(0, comma).replace(/^[\t\n\f\r ]+|[\t\n\f\r ]+$/g, "");
  let bytes = percentDecoded(text.slice(comma + 1));
  const base64 = /; *base64$/i.exec(type);
  if (base64 !== null) {
    type = type.slice(0, base64.index);
    bytes = bytesOfBase64(bytes);
  }
  const mime = mimeTypeOfText(type.startsWith(";") ? `text/plain${type}` : type);
  return answerOf({
    status: 200,
    statusText: "OK",
    headers: [["content-type", mime === null ? "text/plain;charset=US-ASCII" : serializeMimeType(mime)]],
    url: url.replace(/#.*$/s, ""),
    redirected: false,
    stream: method === "HEAD" ? null : streamOfBytes(bytes),
  });
}

function percentDecoded(text) {
  const bytes = new TextEncoder().encode(text);
  let length = 0;
  for (let at = 0; at < bytes.length; at++) {
    const code = bytes[at] === 0x25 ? String.fromCharCode(bytes[at + 1], bytes[at + 2]) : "";
    const isCode = /^[0-9A-Fa-f]{2}$/.test(code);
    bytes[length++] = isCode ? parseInt(code, 16) : bytes[at];
    at += isCode ? 2 : 0;
  }
  return bytes.slice(0, length);
}

function bytesOfBase64(bytes) {
  try {
    return Uint8Array.from(atob(decodeLatin1(bytes)), (character) => character.charCodeAt(0));
  } catch (cause) {
    throw new TypeError("fetch failed: the data of a data: URL are not base64", { cause });
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
