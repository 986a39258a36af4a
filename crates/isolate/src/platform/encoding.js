// TextEncoder and TextDecoder.
import { decodeUtf8, encodeUtf8 } from "tidemark:host";

export class TextEncoder {
  get encoding() {
    return "utf-8";
  }

  encode(text = "") {
    return encodeUtf8(String(text).toWellFormed());
  }

  encodeInto(text, destination) {
    let read = 0;
    let written = 0;
    for (const character of String(text).toWellFormed()) {
      const bytes = encodeUtf8(character);
      if (written + bytes.length > destination.length) {
        break;
      }
      destination.set(bytes, written);
      written += bytes.length;
      read += character.length;
    }
    return { read, written };
  }
}

const encodings = new Map([
  ["utf-8", "utf-8"],
  ["utf8", "utf-8"],
  ["unicode-1-1-utf-8", "utf-8"],
  ["utf-16le", "utf-16le"],
  ["utf-16", "utf-16le"],
  ["latin1", "windows-1252"],
  ["iso-8859-1", "windows-1252"],
  ["ascii", "windows-1252"],
  ["us-ascii", "windows-1252"],
  ["windows-1252", "windows-1252"],
]);

// The code points of windows-1252 from 0x80 to 0x9f.
const windows1252 = "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ";

export class TextDecoder {
  #encoding;
  #fatal;
  #ignoresMark;
  #pending = new Uint8Array(0);
  #isAtStart = true;

  constructor(label = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
    const encoding = encodings.get(String(label).trim().toLowerCase());
    if (!encoding) {
      throw new RangeError(`The encoding '${label}' is not supported`);
    }
    this.#encoding = encoding;
    this.#fatal = Boolean(fatal);
    this.#ignoresMark = Boolean(ignoreBOM);
  }

  get encoding() {
    return this.#encoding;
  }

  get fatal() {
    return this.#fatal;
  }

  get ignoreBOM() {
    return this.#ignoresMark;
  }

  decode(input = new Uint8Array(0), { stream = false } = {}) {
    let bytes = bytesOf(input);
    if (this.#pending.length > 0) {
      bytes = concat(this.#pending, bytes);
    }
    const kept = stream ? incompleteTail(this.#encoding, bytes) : 0;
    this.#pending = bytes.slice(bytes.length - kept);
    let text = this.#decodeWhole(bytes.subarray(0, bytes.length - kept));
    if (this.#isAtStart && !this.#ignoresMark && text.startsWith("\ufeff")) {
      text = text.slice(1);
    }
    this.#isAtStart = stream ? this.#isAtStart && text === "" : true;
    return text;
  }

  #decodeWhole(bytes) {
    let text;
    if (this.#encoding === "utf-8") {
      text = decodeUtf8(bytes.buffer, bytes.byteOffset, bytes.byteLength, this.#fatal);
    } else if (this.#encoding === "utf-16le") {
      text = decodeUtf16(bytes, this.#fatal);
    } else {
      text = decodeWindows1252(bytes);
    }
    if (text === undefined) {
      throw new TypeError("The encoded data was not valid");
    }
    return text;
  }
}

const strictAtob = globalThis.atob;

// The padding may be wrong, as long as the characters before it are right: Convex is as forgiving.
export function atob(data) {
  if (arguments.length === 0) {
    throw new TypeError("atob() needs a string");
  }
  const text = String(data).replace(/[\t\n\f\r ]+/g, "");
  return strictAtob(/^[A-Za-z0-9+/]{2,}={1,2}$/.test(text) ? text.replace(/=+$/, "") : text);
}

// The bytes of a buffer or of a view of one.
export function bytesOf(input) {
  if (ArrayBuffer.isView(input)) {
    return new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
  }
  if (input instanceof ArrayBuffer) {
    return new Uint8Array(input);
  }
  throw new TypeError("expected an ArrayBuffer or a view of one");
}

export function concat(...parts) {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

// How many bytes at the end may be completed by what follows.
function incompleteTail(encoding, bytes) {
  if (encoding === "utf-16le") {
    const odd = bytes.length % 2;
    const high = bytes[bytes.length - 1 - odd];
    return odd + (high >= 0xd8 && high <= 0xdb ? 2 : 0);
  }
  if (encoding !== "utf-8") {
    return 0;
  }
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back];
    if (byte >= 0xc0) {
      const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      return length > back ? back : 0;
    }
    if (byte < 0x80) {
      return 0;
    }
  }
  return 0;
}

function decodeUtf16(bytes, fatal) {
  const parts = [];
  for (let at = 0; at < bytes.length; at += 8192) {
    const units = [];
    for (let unit = at; unit + 1 < Math.min(at + 8192, bytes.length); unit += 2) {
      units.push(bytes[unit] | (bytes[unit + 1] << 8));
    }
    parts.push(String.fromCharCode(...units));
  }
  const text = parts.join("") + (bytes.length % 2 ? "\ufffd" : "");
  if (fatal && (!text.isWellFormed() || bytes.length % 2)) {
    return undefined;
  }
  return text.toWellFormed();
}

function decodeWindows1252(bytes) {
  let text = "";
  for (const byte of bytes) {
    text += byte >= 0x80 && byte <= 0x9f ? windows1252[byte - 0x80] : String.fromCharCode(byte);
  }
  return text;
}
