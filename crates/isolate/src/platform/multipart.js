// multipart/form-data: writing it (RFC 7578, as browsers do), and reading what is written so.
import { random } from "tidemark:host";
import { File, blobBytes } from "tidemark:blob";
import { TextDecoder, TextEncoder, concat, decodeLatin1, decodeText } from "tidemark:encoding";
import { isToken } from "tidemark:headers";

const encoder = new TextEncoder();

const escapeName = (text) => text.replace(/\n/g, "%0A").replace(/\r/g, "%0D").replace(/"/g, "%22");

const unescapeName = (text) => text.replace(/%0A/gi, "\n").replace(/%0D/gi, "\r").replace(/%22/g, '"');

const normalizeNewlines = (text) => text.replace(/\r\n?|\n/g, "\r\n");

// `{ bytes, boundary }`
export function writeForm(entries) {
  const boundary = `----formdata-tidemark-0${String(Math.floor(random() * 1e11)).padStart(11, "0")}`;
  const parts = entries.flatMap(([name, value]) => {
    const head = `--${boundary}\r\nContent-Disposition: form-data; name="${escapeName(normalizeNewlines(name))}"`;
    if (typeof value === "string") {
      return [encoder.encode(`${head}\r\n\r\n${normalizeNewlines(value)}\r\n`)];
    }
    const file = `; filename="${escapeName(value.name)}"\r\nContent-Type: ${value.type || "application/octet-stream"}`;
    return [encoder.encode(`${head}${file}\r\n\r\n`), blobBytes(value), encoder.encode("\r\n")];
  });
  return { bytes: concat([...parts, encoder.encode(`--${boundary}--\r\n`)]), boundary };
}

const CR = 0x0d;
const LF = 0x0a;
const DASH = 0x2d;

const malformed = (why) => new TypeError(`The body is no multipart/form-data: ${why}`);

// The pairs of a form.
export function readForm(bytes, boundary) {
  if (boundary === undefined) {
    throw malformed("its type has no boundary");
  }
  const delimiter = encoder.encode(`--${boundary}`);
  const entries = [];
  let end = bytes.length;
  while (isNewline(bytes, end - 2)) {
    end -= 2;
  }
  let at = 0;
  while (isNewline(bytes, at)) {
    at += 2;
  }
  for (;;) {
    if (!startsWith(bytes, delimiter, at)) {
      throw malformed("a boundary is missing");
    }
    at += delimiter.length;
    if (at === end - 2 && bytes[at] === DASH && bytes[at + 1] === DASH) {
      return entries;
    }
    if (!isNewline(bytes, at)) {
      throw malformed("something follows a boundary");
    }
    const part = readHead(bytes, at + 2);
    const bodyEnd = find(bytes, delimiter, part.at);
    if (bodyEnd < 0) {
      throw malformed("it is cut off");
    }
    entries.push([part.name, valueOf(part, bytes.subarray(part.at, bodyEnd))]);
    at = bodyEnd + 2;
  }
}

const isNewline = (bytes, at) => bytes[at] === CR && bytes[at + 1] === LF;

function startsWith(bytes, wanted, at) {
  for (let index = 0; index < wanted.length; index++) {
    if (bytes[at + index] !== wanted[index]) {
      return false;
    }
  }
  return true;
}

// Where a newline and then the delimiter begin, or -1.
function find(bytes, delimiter, from) {
  for (let at = from; (at = bytes.indexOf(CR, at)) >= 0; at++) {
    if (bytes[at + 1] === LF && startsWith(bytes, delimiter, at + 2)) {
      return at;
    }
  }
  return -1;
}

// The headers of a part, and where its body begins.
function readHead(bytes, start) {
  const part = { name: null, filename: null, type: null, isBase64: false, at: start };
  while (!isNewline(bytes, part.at)) {
    const lineEnd = bytes.indexOf(CR, part.at);
    if (lineEnd < 0 || bytes[lineEnd + 1] !== LF) {
      throw malformed("a line of a part's headers has no end");
    }
    const line = bytes.subarray(part.at, lineEnd);
    const text = decodeLatin1(line);
    const colon = text.indexOf(":");
    const name = text.slice(0, Math.max(colon, 0)).replace(/^[\t ]+|[\t ]+$/g, "");
    if (!isToken(name) || text.includes("\n")) {
      throw malformed("a part has a header without a name");
    }
    const value = text.slice(colon + 1).replace(/^[\t ]+|[\t ]+$/g, "");
    switch (name.toLowerCase()) {
      case "content-disposition":
        readDisposition(part, new TextDecoder("utf-8", { ignoreBOM: true }).decode(line.subarray(colon + 1)));
        break;
      case "content-type":
        part.type = value;
        break;
      case "content-transfer-encoding":
        part.isBase64 = value === "base64";
        break;
    }
    part.at = lineEnd + 2;
  }
  if (part.name === null) {
    throw malformed("a part has no name");
  }
  part.at += 2;
  return part;
}

function readDisposition(part, text) {
  const found = /^[\t ]*form-data; name="([^"\n\r]*)"(?:; filename="([^"\n\r]*)")?$/.exec(text);
  if (found === null) {
    throw malformed("a part has a Content-Disposition that names no field");
  }
  part.name = unescapeName(found[1]);
  part.filename = found[2] === undefined ? null : unescapeName(found[2]);
}

function valueOf({ filename, type, isBase64 }, raw) {
  const bytes = isBase64 ? Uint8Array.fromBase64(decodeLatin1(raw)) : raw;
  if (filename === null) {
    return decodeText(bytes);
  }
  return new File([bytes], filename, { type: type === null ? "text/plain" : /^[\0-\x7f]*$/.test(type) ? type : "" });
}
