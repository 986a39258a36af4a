// The body that Request and Response share. It holds bytes, and becomes a stream only for those who ask for one.
import { Blob, blobBytes, isBlob } from "tidemark:blob";
import { TextEncoder, bytesOf, decodeText, isBuffer } from "tidemark:encoding";
import { unavailable } from "tidemark:errors";
import { FormData, formEntries } from "tidemark:form-data";
import { mimeTypeOf, serializeMimeType } from "tidemark:mime";
import { readForm, writeForm } from "tidemark:multipart";
import { isDeterministic, phase } from "tidemark:phase";
import { isDisturbed, readBytes, streamOfBytes, streams } from "tidemark:streams";
import { URLSearchParams } from "tidemark:url";
import { domString, isObject } from "tidemark:webidl";

const { ReadableStream, TransformStream } = streams;

const encoder = new TextEncoder();

export class Body {
  // One of the two is null. Bytes that somebody else has as well are copied before they are handed out.
  #bytes;
  #stream;
  #isShared;
  #isUsed = false;

  constructor(bytes, stream, isShared = false) {
    this.#bytes = bytes;
    this.#stream = stream;
    this.#isShared = isShared;
  }

  get isUsed() {
    return this.#stream === null ? this.#isUsed : isDisturbed(this.#stream);
  }

  get isUnusable() {
    return this.isUsed || (this.#stream !== null && this.#stream.locked);
  }

  get isBytes() {
    return this.#stream === null;
  }

  get isEmpty() {
    return this.#bytes !== null && this.#bytes.length === 0;
  }

  stream() {
    if (this.#stream === null) {
      this.#stream = streamOfBytes(this.#isUsed ? new Uint8Array(0) : this.#bytes);
      this.#bytes = null;
      if (this.#isUsed) {
        // As if its bytes had been read by a reader.
        this.#stream.getReader().cancel();
      }
    }
    return this.#stream;
  }

  // The bytes, for a reader who does not change them; a promise of them if they come from a stream.
  take() {
    if (this.isUnusable) {
      throw new TypeError("Body is unusable: Body has already been read");
    }
    if (this.#stream !== null) {
      return readBytes(this.#stream);
    }
    this.#isUsed = true;
    return this.#bytes;
  }

  // Takes bytes as an ArrayBuffer that holds nothing else, for a reader who does not change it.
  buffer() {
    const bytes = this.take();
    return bytes.byteLength === bytes.buffer.byteLength ? bytes.buffer : bytes.slice().buffer;
  }

  // Bytes that were taken, for a reader who may keep or change them.
  own(bytes) {
    return this.#isShared || bytes.byteLength !== bytes.buffer.byteLength ? bytes.slice() : bytes;
  }

  clone() {
    if (this.#stream === null) {
      this.#isShared = true;
      return new Body(this.#bytes, null, true);
    }
    const [mine, other] = this.#stream.tee();
    this.#stream = mine;
    return new Body(null, other);
  }

  // Leaves this one used.
  move() {
    if (this.#stream !== null) {
      return new Body(null, this.#stream.pipeThrough(new TransformStream()));
    }
    this.#isUsed = true;
    return new Body(this.#bytes, null, this.#isShared);
  }
}

const whole = (bytes, type, isShared = false) => ({ body: new Body(bytes, null, isShared), type, isReplayable: true });

// What a value is as a body, and the content type that it implies. `isReplayable` is false for streams.
export function extractBody(value) {
  if (value === null || value === undefined) {
    return { body: null, type: null, isReplayable: true };
  }
  if (typeof value === "string") {
    return whole(encoder.encode(value), "text/plain;charset=UTF-8");
  }
  if (isBlob(value)) {
    return whole(blobBytes(value), value.type || null, true);
  }
  if (isBuffer(value)) {
    return whole(bytesOf(value).slice(), null);
  }
  if (value instanceof URLSearchParams) {
    return whole(encoder.encode(String(value)), "application/x-www-form-urlencoded;charset=UTF-8");
  }
  if (value instanceof FormData) {
    const { bytes, boundary } = writeForm(formEntries(value));
    return whole(bytes, `multipart/form-data; boundary=${boundary}`);
  }
  if (value instanceof ReadableStream) {
    if (value.locked || isDisturbed(value)) {
      throw new TypeError("Body is unusable: the stream is locked or was read from");
    }
    return { body: new Body(null, value), type: null, isReplayable: false };
  }
  if (isObject(value) && typeof value[Symbol.asyncIterator] === "function") {
    return { body: new Body(null, ReadableStream.from(value)), type: null, isReplayable: false };
  }
  return extractBody(domString(value));
}

function parseForm(bytes, headers) {
  const type = mimeTypeOf(headers);
  if (type?.essence === "multipart/form-data") {
    if (isDeterministic() || phase() === "import") {
      throw unavailable("formData() of multipart bodies", "FormParse");
    }
    return formOf(readForm(bytes, type.parameters.get("boundary")));
  }
  if (type?.essence === "application/x-www-form-urlencoded") {
    return formOf(new URLSearchParams(decodeText(bytes)));
  }
  throw new TypeError(
    'Content-Type was not one of "multipart/form-data" or "application/x-www-form-urlencoded".',
  );
}

function formOf(entries) {
  const form = new FormData();
  for (const [name, value] of entries) {
    form.append(name, value);
  }
  return form;
}

const nothing = new Uint8Array(0);

// Gives a class what a body can be read by. `bodyOf(object)` is its Body or null.
export function installBody(Class, bodyOf) {
  async function read(object, convert) {
    const body = bodyOf(object);
    if (body === null) {
      return convert(nothing.slice(), object);
    }
    let bytes = body.take();
    if (!(bytes instanceof Uint8Array)) {
      bytes = await bytes;
    }
    return convert(bytes, object, body);
  }
  const own = (bytes, body) => body?.own(bytes) ?? bytes;
  const members = {
    get body() {
      return bodyOf(this)?.stream() ?? null;
    },
    get bodyUsed() {
      return bodyOf(this)?.isUsed ?? false;
    },
    arrayBuffer() {
      return read(this, (bytes, _, body) => own(bytes, body).buffer);
    },
    blob() {
      return read(this, (bytes, { headers }) => {
        const type = mimeTypeOf(headers);
        return new Blob([bytes], { type: type === null ? "" : serializeMimeType(type) });
      });
    },
    bytes() {
      return read(this, (bytes, _, body) => own(bytes, body));
    },
    formData() {
      return read(this, (bytes, { headers }) => parseForm(bytes, headers));
    },
    json() {
      return read(this, (bytes) => JSON.parse(decodeText(bytes)));
    },
    text() {
      return read(this, decodeText);
    },
  };
  for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(members))) {
    Object.defineProperty(Class.prototype, name, { ...property, enumerable: false });
  }
}
