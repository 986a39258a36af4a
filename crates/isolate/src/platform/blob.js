// Blob and File, in memory.
import { now } from "tidemark:host";
import { TextEncoder, bytesOf, concat, decodeText, isBuffer } from "tidemark:encoding";
import { streamOfBytes } from "tidemark:streams";
import { dictionary, domString, isObject, member, needArguments, usvString } from "tidemark:webidl";

const STREAM_CHUNK_BYTES = 65_536;

const encoder = new TextEncoder();

export let isBlob;

// The bytes of a blob, which nobody may change: slices share them.
export let blobBytes;

// A blob of bytes that nobody else has.
export let blobOf;

export class Blob {
  #bytes;
  #type;

  static {
    isBlob = (value) => isObject(value) && #bytes in value;
    blobBytes = (blob) => blob.#bytes;
    blobOf = (bytes, type) => {
      const blob = new Blob([], { type });
      blob.#bytes = bytes;
      return blob;
    };
  }

  constructor(parts = [], options = undefined) {
    if (!isObject(parts) || typeof parts[Symbol.iterator] !== "function") {
      throw new TypeError("The parts of a Blob must be an iterable object");
    }
    const init = dictionary(options, "The options of a Blob");
    const endings = member(init, "endings", ["transparent", "native"]) ?? "transparent";
    this.#type = typeOf(init.type === undefined ? "" : init.type);
    const given = [...parts];
    const bytes = given.map((part) => bytesOfPart(part, endings));
    // Only what somebody else can change is copied.
    this.#bytes = bytes.length === 1 && !isBuffer(given[0]) ? bytes[0] : concat(bytes);
  }

  get size() {
    return this.#bytes.length;
  }

  get type() {
    return this.#type;
  }

  async arrayBuffer() {
    return this.#bytes.slice().buffer;
  }

  async bytes() {
    return this.#bytes.slice();
  }

  async text() {
    return decodeText(this.#bytes);
  }

  slice(start = 0, end = undefined, type = "") {
    const part = new Blob([], { type });
    part.#bytes = this.#bytes.subarray(Number(start), end === undefined ? undefined : Number(end));
    return part;
  }

  stream() {
    return streamOfBytes(this.#bytes, STREAM_CHUNK_BYTES);
  }
}

function typeOf(value) {
  const text = domString(value);
  return /^[\x20-\x7e]*$/.test(text) ? text.toLowerCase() : "";
}

function bytesOfPart(part, endings) {
  if (isBlob(part)) {
    return blobBytes(part);
  }
  if (isBuffer(part)) {
    return bytesOf(part);
  }
  const text = usvString(part);
  return encoder.encode(endings === "native" ? text.replace(/\r\n?/g, "\n") : text);
}

export class File extends Blob {
  #name;
  #lastModified;

  constructor(parts, name, options = undefined) {
    needArguments(arguments.length, 2, "File");
    super(parts, options);
    this.#name = usvString(name);
    const time = options?.lastModified;
    this.#lastModified = time === undefined ? now() : Math.trunc(Number(time)) || 0;
  }

  get name() {
    return this.#name;
  }

  get lastModified() {
    return this.#lastModified;
  }
}
