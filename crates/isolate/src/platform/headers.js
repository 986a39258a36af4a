// Headers
import { domString, isObject, makeIterable, needArguments } from "tidemark:webidl";

const tokenPattern = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

export const isToken = (text) => tokenPattern.test(text);

// What may not be changed any more: the headers of `Response.error()` and its like.
export let makeImmutable;

// Gives headers the content type of a body, unless they name another.
export let addType;

// A copy that may be changed only if the original may.
export let cloneHeaders;

let listOf;

export class Headers {
  // Lower-case names to what `get` answers, without set-cookie, whose values are never joined.
  #values = new Map();
  #cookies = [];
  #isImmutable = false;
  // In the order of iteration, until something changes.
  #list = null;

  static {
    makeImmutable = (headers) => {
      headers.#isImmutable = true;
      return headers;
    };
    addType = (headers, type) => {
      if (!headers.#values.has("content-type")) {
        headers.#values.set("content-type", type);
        headers.#list = null;
      }
    };
    cloneHeaders = (headers) => {
      const copy = new Headers(headers);
      copy.#isImmutable = headers.#isImmutable;
      return copy;
    };
    listOf = (headers) => {
      if (headers.#list === null) {
        const names = [...headers.#values.keys()];
        if (headers.#cookies.length > 0) {
          names.push("set-cookie");
        }
        headers.#list = names
          .sort()
          .flatMap((name) =>
            name === "set-cookie"
              ? headers.#cookies.map((cookie) => [name, cookie])
              : [[name, headers.#values.get(name)]],
          );
      }
      return headers.#list;
    };
  }

  constructor(init = undefined) {
    if (init === undefined) {
      return;
    }
    if (!isObject(init)) {
      throw new TypeError("Headers are made of an object or of pairs of a name and a value");
    }
    const iterate = init[Symbol.iterator];
    if (iterate === Headers.prototype.entries && #values in init) {
      this.#values = new Map(init.#values);
      this.#cookies = [...init.#cookies];
    } else if (iterate !== undefined && iterate !== null) {
      for (const pair of init) {
        const parts = isObject(pair) ? [...pair] : [];
        if (parts.length !== 2) {
          throw new TypeError("A header is a pair of a name and a value");
        }
        this.#append(parts[0], parts[1]);
      }
    } else {
      for (const key of Reflect.ownKeys(init)) {
        if (Object.getOwnPropertyDescriptor(init, key)?.enumerable) {
          this.#append(key, init[key]);
        }
      }
    }
  }

  append(name, value) {
    needArguments(arguments.length, 2, "Headers.append");
    this.#append(name, value);
  }

  delete(name) {
    needArguments(arguments.length, 1, "Headers.delete");
    const key = nameOf(name);
    this.#change();
    this.#values.delete(key);
    if (key === "set-cookie") {
      this.#cookies = [];
    }
  }

  get(name) {
    needArguments(arguments.length, 1, "Headers.get");
    const key = nameOf(name);
    if (key === "set-cookie") {
      return this.#cookies.length > 0 ? this.#cookies.join(", ") : null;
    }
    return this.#values.get(key) ?? null;
  }

  getSetCookie() {
    return [...this.#cookies];
  }

  has(name) {
    needArguments(arguments.length, 1, "Headers.has");
    const key = nameOf(name);
    return key === "set-cookie" ? this.#cookies.length > 0 : this.#values.has(key);
  }

  set(name, value) {
    needArguments(arguments.length, 2, "Headers.set");
    const key = nameOf(name);
    const text = valueOf(value);
    this.#change();
    if (key === "set-cookie") {
      this.#cookies = [text];
    } else {
      this.#values.set(key, text);
    }
  }

  #append(name, value) {
    const key = nameOf(name);
    const text = valueOf(value);
    this.#change();
    if (key === "set-cookie") {
      this.#cookies.push(text);
    } else {
      const known = this.#values.get(key);
      this.#values.set(key, known === undefined ? text : `${known}, ${text}`);
    }
  }

  #change() {
    if (this.#isImmutable) {
      throw new TypeError("These headers are immutable");
    }
    this.#list = null;
  }
}

makeIterable(Headers, (headers, index) => listOf(headers)[index]);

function nameOf(value) {
  const text = domString(value);
  if (!isToken(text)) {
    throw new TypeError(`Invalid header name: '${text}'`);
  }
  return text.toLowerCase();
}

const isSpace = (code) => code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d;

function valueOf(given) {
  const text = domString(given);
  let start = 0;
  let end = text.length;
  while (start < end && isSpace(text.charCodeAt(start))) {
    start++;
  }
  while (end > start && isSpace(text.charCodeAt(end - 1))) {
    end--;
  }
  const value = text.slice(start, end);
  if (/[\0\n\r]|[^\0-\xff]/.test(value)) {
    throw new TypeError(`Invalid header value: '${value}'`);
  }
  return value;
}
