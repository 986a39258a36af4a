// Streams. The classes come from the npm package web-streams-polyfill (decision 27); what it lacks is here.
import {
  ByteLengthQueuingStrategy,
  CountQueuingStrategy,
  ReadableByteStreamController,
  ReadableStream,
  ReadableStreamBYOBReader,
  ReadableStreamBYOBRequest,
  ReadableStreamDefaultController,
  ReadableStreamDefaultReader,
  TransformStream,
  TransformStreamDefaultController,
  WritableStream,
  WritableStreamDefaultController,
  WritableStreamDefaultWriter,
} from "tidemark:web-streams";
import { TextDecoder, TextEncoder, concat } from "tidemark:encoding";
import { domString } from "tidemark:webidl";

// The package's iterator inherits from no iterator.
Object.setPrototypeOf(
  Object.getPrototypeOf(new ReadableStream().values()),
  Object.getPrototypeOf(Object.getPrototypeOf(async function* () {}).prototype),
);

class TextEncoderStream {
  #transform;

  constructor() {
    const encoder = new TextEncoder();
    // The first half of a pair whose second half may be the next chunk's first character.
    let pending = "";
    this.#transform = new TransformStream({
      transform(chunk, controller) {
        let text = pending + domString(chunk);
        const isCut = /[\ud800-\udbff]$/.test(text);
        pending = isCut ? text.at(-1) : "";
        text = isCut ? text.slice(0, -1) : text;
        if (text !== "") {
          controller.enqueue(encoder.encode(text));
        }
      },
      flush(controller) {
        if (pending !== "") {
          controller.enqueue(encoder.encode(pending));
        }
      },
    });
  }

  get encoding() {
    this.#transform;
    return "utf-8";
  }

  get readable() {
    return this.#transform.readable;
  }

  get writable() {
    return this.#transform.writable;
  }
}

class TextDecoderStream {
  #decoder;
  #transform;

  constructor(label = "utf-8", options = undefined) {
    const decoder = new TextDecoder(label, options);
    const decode = (controller, chunk, stream) => {
      const text = decoder.decode(chunk, { stream });
      if (text !== "") {
        controller.enqueue(text);
      }
    };
    this.#decoder = decoder;
    this.#transform = new TransformStream({
      transform(chunk, controller) {
        if (chunk === undefined) {
          throw new TypeError("A chunk must be an ArrayBuffer or a view of one");
        }
        decode(controller, chunk, true);
      },
      flush(controller) {
        decode(controller, undefined, false);
      },
    });
  }

  get encoding() {
    return this.#decoder.encoding;
  }

  get fatal() {
    return this.#decoder.fatal;
  }

  get ignoreBOM() {
    return this.#decoder.ignoreBOM;
  }

  get readable() {
    return this.#transform.readable;
  }

  get writable() {
    return this.#transform.writable;
  }
}

// As they are named in the global object.
export const streams = {
  ByteLengthQueuingStrategy,
  CountQueuingStrategy,
  ReadableByteStreamController,
  ReadableStream,
  ReadableStreamBYOBReader,
  ReadableStreamBYOBRequest,
  ReadableStreamDefaultController,
  ReadableStreamDefaultReader,
  TextDecoderStream,
  TextEncoderStream,
  TransformStream,
  TransformStreamDefaultController,
  WritableStream,
  WritableStreamDefaultController,
  WritableStreamDefaultWriter,
};

// Whether a stream was read from or cancelled. The standard names this for other standards; the package keeps it so.
export const isDisturbed = (stream) => stream._disturbed;

// A byte stream of bytes that stay as they are: what it hands out is a copy, since its readers take chunks over.
export function streamOfBytes(bytes, chunkBytes = Infinity) {
  let at = 0;
  return new ReadableStream({
    type: "bytes",
    pull(controller) {
      const chunk = bytes.slice(at, at + chunkBytes);
      at += chunk.length;
      if (chunk.length > 0) {
        controller.enqueue(chunk);
      }
      if (at >= bytes.length) {
        controller.close();
        controller.byobRequest?.respond(0);
      }
    },
  });
}

// All that a stream of bytes still has, as bytes that are nobody else's.
export async function readBytes(stream) {
  const reader = stream.getReader();
  const chunks = [];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) {
      return concat(chunks);
    }
    if (!(value instanceof Uint8Array)) {
      throw new TypeError("A chunk of a body must be a Uint8Array");
    }
    chunks.push(value);
  }
}
