// TextEncoder and TextDecoder.
import { decodeUtf8, encodeUtf8 } from "tidemark:host";
import { dictionary, domString, usvString } from "tidemark:webidl";

const nothing = new Uint8Array(0);

export class TextEncoder {
  get encoding() {
    return "utf-8";
  }

  encode(text = "") {
    return encodeUtf8(usvString(text));
  }

  encodeInto(text, destination) {
    if (!(destination instanceof Uint8Array)) {
      throw new TypeError("The destination must be a Uint8Array");
    }
    const whole = usvString(text);
    const all = encodeUtf8(whole);
    if (all.length <= destination.length) {
      destination.set(all);
      return { read: whole.length, written: all.length };
    }
    let read = 0;
    let written = 0;
    for (const character of whole) {
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

// The labels of each, from the Encoding standard.
const labels = {
  "utf-8": "unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8",
  "utf-16le": "csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16 utf-16le",
  "utf-16be": "unicodefffe utf-16be",
  "windows-1252":
    "ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591 iso_8859-1 " +
    "iso_8859-1:1987 l1 latin1 us-ascii windows-1252 x-cp1252",
};

const encodings = new Map(
  Object.entries(labels).flatMap(([encoding, names]) => names.split(" ").map((name) => [name, encoding])),
);

const normalLabel = (text) => text.replace(/^[\t\n\f\r ]+|[\t\n\f\r ]+$/g, "").toLowerCase();

// The code points of windows-1252 from 0x80 to 0x9f.
const windows1252 = "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ";

export class TextDecoder {
  #encoding;
  #fatal;
  #ignoresMark;
  #pending = nothing;
  #isAtStart = true;

  constructor(label = "utf-8", options = undefined) {
    const { fatal = false, ignoreBOM = false } = dictionary(options, "The options of a TextDecoder");
    const encoding = label === "utf-8" ? label : encodings.get(normalLabel(domString(label)));
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

  decode(input = undefined, options = undefined) {
    const { stream = false } = dictionary(options, "The options of decode()");
    let bytes = input === undefined ? nothing : bytesOf(input);
    if (this.#pending.length > 0) {
      bytes = concat([this.#pending, bytes]);
      this.#pending = nothing;
    }
    const kept = stream ? incompleteTail(this.#encoding, bytes) : 0;
    if (kept > 0) {
      this.#pending = bytes.slice(bytes.length - kept);
      bytes = bytes.subarray(0, bytes.length - kept);
    }
    const wasAtStart = this.#isAtStart;
    this.#isAtStart = true;
    const text = decodeWhole(this.#encoding, bytes, this.#fatal);
    if (text === undefined) {
      this.#pending = nothing;
      throw new TypeError("The encoded data was not valid");
    }
    this.#isAtStart = !stream || (wasAtStart && text === "");
    return wasAtStart && !this.#ignoresMark && text.startsWith("\ufeff") ? text.slice(1) : text;
  }
}

// What a new decoder would decode.
export function decodeText(bytes) {
  const text = decodeUtf8(bytes.buffer, bytes.byteOffset, bytes.byteLength, false);
  return text.startsWith("\ufeff") ? text.slice(1) : text;
}

// Undefined if the bytes are not valid and that is fatal.
function decodeWhole(encoding, bytes, fatal) {
  switch (encoding) {
    case "utf-8":
      return decodeUtf8(bytes.buffer, bytes.byteOffset, bytes.byteLength, fatal);
    case "windows-1252":
      return decodeWindows1252(bytes);
    default:
      return decodeUtf16(bytes, encoding === "utf-16be", fatal);
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

export const isBuffer = (value) =>
  ArrayBuffer.isView(value) || value instanceof ArrayBuffer || value instanceof SharedArrayBuffer;

// The bytes of a buffer or of a view of one.
export function bytesOf(input) {
  if (ArrayBuffer.isView(input)) {
    return new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
  }
  if (isBuffer(input)) {
    return new Uint8Array(input);
  }
  throw new TypeError("expected an ArrayBuffer or a view of one");
}

// Of an array, not of arguments: there may be more parts than a call can have arguments.
export function concat(parts) {
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
  if (encoding === "windows-1252") {
    return 0;
  }
  if (encoding !== "utf-8") {
    const odd = bytes.length % 2;
    const high = bytes[bytes.length - (encoding === "utf-16be" ? 2 : 1) - odd];
    return odd + (high >= 0xd8 && high <= 0xdb ? 2 : 0);
  }
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back];
    if (byte >= 0xc2 && byte <= 0xf4) {
      const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      return length > back && (back === 1 || mayFollow(byte, bytes[bytes.length - back + 1])) ? back : 0;
    }
    if (byte < 0x80 || byte > 0xbf) {
      return 0;
    }
  }
  return 0;
}

// Whether the second byte of a character can stand after its first.
function mayFollow(first, second) {
  switch (first) {
    case 0xe0:
      return second >= 0xa0;
    case 0xed:
      return second < 0xa0;
    case 0xf0:
      return second >= 0x90;
    case 0xf4:
      return second < 0x90;
    default:
      return true;
  }
}

function decodeUtf16(bytes, isBigEndian, fatal) {
  const low = isBigEndian ? 1 : 0;
  const parts = [];
  for (let at = 0; at < bytes.length; at += 8192) {
    const units = [];
    for (let unit = at; unit + 1 < Math.min(at + 8192, bytes.length); unit += 2) {
      units.push(bytes[unit + low] | (bytes[unit + 1 - low] << 8));
    }
    parts.push(String.fromCharCode(...units));
  }
  const text = parts.join("") + (bytes.length % 2 ? "\ufffd" : "");
  if (fatal && (!text.isWellFormed() || bytes.length % 2)) {
    return undefined;
  }
  return text.toWellFormed();
}

const decodeWindows1252 = (bytes) =>
  decodeLatin1(bytes).replace(/[\x80-\x9f]/g, (character) => windows1252[character.charCodeAt(0) - 0x80]);

// Each byte is a character.
export function decodeLatin1(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) {
    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return text;
}
