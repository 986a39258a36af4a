// Blob, File and FormData, in memory.
import { now } from "tidemark:host";
import { TextDecoder, TextEncoder, bytesOf, concat } from "tidemark:encoding";
import { codedError } from "tidemark:errors";

const encoder = new TextEncoder();

let blobBytes;

export class Blob {
  #bytes;
  #type;

  static {
    blobBytes = (blob) => blob.#bytes;
  }

  constructor(parts = [], { type = "" } = {}) {
    if (typeof parts !== "object" || parts === null || typeof parts[Symbol.iterator] !== "function") {
      throw new TypeError("The parts of a Blob must be an iterable object");
    }
    this.#bytes = concat(...[...parts].map(bytesOfPart));
    this.#type = /^[\x20-\x7e]*$/.test(type) ? String(type).toLowerCase() : "";
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
    return new TextDecoder().decode(this.#bytes);
  }

  slice(start = 0, end = this.size, type = "") {
    return new Blob([this.#bytes.slice(start, end)], { type });
  }

  stream() {
    throw codedError("NoStream", "Blob.stream() is not available yet. Use arrayBuffer() or text().");
  }
}

function bytesOfPart(part) {
  if (part instanceof Blob) {
    return blobBytes(part);
  }
  return ArrayBuffer.isView(part) || part instanceof ArrayBuffer ? bytesOf(part).slice() : encoder.encode(String(part));
}

export class File extends Blob {
  #name;
  #lastModified;

  constructor(parts, name, options = {}) {
    super(parts, options);
    this.#name = String(name);
    this.#lastModified = options.lastModified ?? now();
  }

  get name() {
    return this.#name;
  }

  get lastModified() {
    return this.#lastModified;
  }
}

export class FormData {
  #entries = [];

  constructor(form = undefined) {
    if (form !== undefined) {
      throw new TypeError("There are no forms here: FormData is made without arguments");
    }
  }

  append(name, value, filename) {
    this.#entries.push([String(name), entryValue(value, filename)]);
  }

  delete(name) {
    this.#entries = this.#entries.filter(([known]) => known !== String(name));
  }

  get(name) {
    return this.#entries.find(([known]) => known === String(name))?.[1] ?? null;
  }

  getAll(name) {
    return this.#entries.filter(([known]) => known === String(name)).map(([, value]) => value);
  }

  has(name) {
    return this.#entries.some(([known]) => known === String(name));
  }

  set(name, value, filename) {
    const index = this.#entries.findIndex(([known]) => known === String(name));
    const entry = [String(name), entryValue(value, filename)];
    if (index < 0) {
      this.#entries.push(entry);
      return;
    }
    this.#entries[index] = entry;
    this.#entries = this.#entries.filter((known, at) => at <= index || known[0] !== entry[0]);
  }

  forEach(callback, thisValue) {
    for (const [name, value] of this.#entries) {
      callback.call(thisValue, value, name, this);
    }
  }

  *entries() {
    yield* this.#entries;
  }

  *keys() {
    for (const [name] of this.#entries) {
      yield name;
    }
  }

  *values() {
    for (const [, value] of this.#entries) {
      yield value;
    }
  }

  [Symbol.iterator]() {
    return this.entries();
  }
}

function entryValue(value, filename) {
  if (!(value instanceof Blob)) {
    return String(value);
  }
  if (value instanceof File && filename === undefined) {
    return value;
  }
  return new File([value], filename ?? "blob", { type: value.type });
}
