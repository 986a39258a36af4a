// MIME types: parsing, writing, and which one headers tell, by the MIME Sniffing and Fetch standards.
import { isToken } from "tidemark:headers";

const trim = (text) => text.replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, "");

// `{ essence, parameters }`, or null.
export function mimeTypeOfText(text) {
  const [whole, ...rest] = [...split(trim(text), ";")];
  const essence = whole.replace(/[\t\n\r ]+$/, "").toLowerCase();
  const parts = essence.split("/");
  if (parts.length !== 2 || !parts.every(isToken)) {
    return null;
  }
  const parameters = new Map();
  for (const part of rest) {
    const equals = part.indexOf("=");
    const name = part.slice(0, equals).replace(/^[\t\n\r ]+/, "").toLowerCase();
    if (equals < 0 || !isToken(name) || parameters.has(name)) {
      continue;
    }
    const raw = part.slice(equals + 1);
    const isQuoted = raw.startsWith('"');
    const value = isQuoted ? unquote(raw) : raw.replace(/[\t\n\r ]+$/, "");
    if ((isQuoted || value !== "") && /^[\t\x20-\x7e\x80-\xff]*$/.test(value)) {
      parameters.set(name, value);
    }
  }
  return { essence, parameters };
}

// The pieces between separators that are outside of quotes.
function* split(text, separator) {
  let start = 0;
  let isQuoted = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === '"') {
      isQuoted = !isQuoted;
    } else if (character === "\\" && isQuoted) {
      at++;
    } else if (character === separator && !isQuoted) {
      yield text.slice(start, at);
      start = at + 1;
    }
  }
  yield text.slice(start);
}

// What stands in quotes at the begin of a text.
function unquote(text) {
  let value = "";
  for (let at = 1; at < text.length && text[at] !== '"'; at++) {
    if (text[at] === "\\" && at + 1 < text.length) {
      at++;
    }
    value += text[at];
  }
  return value;
}

export function serializeMimeType({ essence, parameters }) {
  let text = essence;
  for (const [name, value] of parameters) {
    text += `;${name}=${isToken(value) ? value : `"${value.replace(/["\\]/g, "\\$&")}"`}`;
  }
  return text;
}

// The type of a body with these headers, or null. Of several types the last one counts, with the charset of one before it
// that has the same essence.
export function mimeTypeOf(headers) {
  const text = headers.get("content-type");
  let type = null;
  let charset = null;
  for (const part of text === null ? [] : split(text, ",")) {
    const parsed = mimeTypeOfText(part);
    if (parsed === null || parsed.essence === "*/*") {
      continue;
    }
    const isOther = parsed.essence !== type?.essence;
    type = parsed;
    if (isOther) {
      charset = parsed.parameters.get("charset") ?? null;
    } else if (charset !== null && !parsed.parameters.has("charset")) {
      parsed.parameters.set("charset", charset);
    }
  }
  return type;
}
