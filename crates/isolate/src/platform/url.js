// URL and URLSearchParams. The host parses.
import { decodeUtf8, encodeUtf8 } from "tidemark:host";
import { parseUrl, setUrlPart } from "tidemark:requests";

// What makes a URL's parameters follow its search, and the other way round.
let updateUrl;
let replaceParameters;

export class URLSearchParams {
  #pairs = [];
  #url = null;

  static {
    replaceParameters = (parameters, search, url) => {
      parameters.#pairs = parsePairs(search.startsWith("?") ? search.slice(1) : search);
      parameters.#url = url;
    };
  }

  constructor(init = "") {
    if (typeof init === "object" && init !== null) {
      this.#pairs = typeof init[Symbol.iterator] === "function" ? pairsOf(init) : pairsOf(Object.entries(init));
    } else {
      const text = String(init);
      this.#pairs = parsePairs(text.startsWith("?") ? text.slice(1) : text);
    }
  }

  get size() {
    return this.#pairs.length;
  }

  append(name, value) {
    this.#pairs.push([String(name), String(value)]);
    this.#changed();
  }

  delete(name, value) {
    this.#pairs = this.#pairs.filter(
      (pair) => !(pair[0] === String(name) && (value === undefined || pair[1] === String(value))),
    );
    this.#changed();
  }

  get(name) {
    return this.#pairs.find((pair) => pair[0] === String(name))?.[1] ?? null;
  }

  getAll(name) {
    return this.#pairs.filter((pair) => pair[0] === String(name)).map((pair) => pair[1]);
  }

  has(name, value) {
    return this.#pairs.some((pair) => pair[0] === String(name) && (value === undefined || pair[1] === String(value)));
  }

  set(name, value) {
    const first = this.#pairs.find((pair) => pair[0] === String(name));
    if (first) {
      first[1] = String(value);
      this.#pairs = this.#pairs.filter((pair) => pair === first || pair[0] !== String(name));
    } else {
      this.#pairs.push([String(name), String(value)]);
    }
    this.#changed();
  }

  sort() {
    this.#pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    this.#changed();
  }

  forEach(callback, thisValue) {
    for (const [name, value] of this.#pairs) {
      callback.call(thisValue, value, name, this);
    }
  }

  *entries() {
    for (const [name, value] of this.#pairs) {
      yield [name, value];
    }
  }

  *keys() {
    for (const [name] of this.#pairs) {
      yield name;
    }
  }

  *values() {
    for (const [, value] of this.#pairs) {
      yield value;
    }
  }

  [Symbol.iterator]() {
    return this.entries();
  }

  toString() {
    return this.#pairs.map(([name, value]) => `${encodePart(name)}=${encodePart(value)}`).join("&");
  }

  #changed() {
    if (this.#url) {
      updateUrl(this.#url, this.toString());
    }
  }
}

function pairsOf(iterable) {
  return [...iterable].map((pair) => {
    const [name, value, ...rest] = [...pair];
    if (value === undefined || rest.length > 0) {
      throw new TypeError("URLSearchParams needs pairs of a name and a value");
    }
    return [String(name), String(value)];
  });
}

function parsePairs(text) {
  return text
    .split("&")
    .filter((part) => part !== "")
    .map((part) => {
      const equals = part.indexOf("=");
      return equals < 0
        ? [decodePart(part), ""]
        : [decodePart(part.slice(0, equals)), decodePart(part.slice(equals + 1))];
    });
}

// Percent-decodes, leaving what is no escape as it is.
function decodePart(part) {
  const spaced = part.replaceAll("+", " ");
  if (!spaced.includes("%")) {
    return spaced;
  }
  const bytes = [];
  for (let at = 0; at < spaced.length; ) {
    const escape = /^%[0-9a-fA-F]{2}/.exec(spaced.slice(at, at + 3));
    if (escape) {
      bytes.push(Number.parseInt(escape[0].slice(1), 16));
      at += 3;
    } else {
      const character = String.fromCodePoint(spaced.codePointAt(at));
      bytes.push(...encodeUtf8(character.toWellFormed()));
      at += character.length;
    }
  }
  return decodeUtf8(new Uint8Array(bytes).buffer, 0, bytes.length, false);
}

// As forms are encoded: letters, digits and *-._ stay, a space becomes a plus.
function encodePart(text) {
  let encoded = "";
  for (const byte of encodeUtf8(text.toWellFormed())) {
    const character = String.fromCharCode(byte);
    if (/[A-Za-z0-9*\-._]/.test(character)) {
      encoded += character;
    } else if (character === " ") {
      encoded += "+";
    } else {
      encoded += `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    }
  }
  return encoded;
}

export class URL {
  #parts;
  #parameters = new URLSearchParams();

  static {
    updateUrl = (url, search) => {
      url.#parts = setUrlPart(url.#parts.href, "search", search);
    };
  }

  constructor(input, base = undefined) {
    this.#parts = parseUrl(String(input), base === undefined ? "" : String(base));
    replaceParameters(this.#parameters, this.#parts.search, this);
  }

  static canParse(input, base = undefined) {
    return URL.parse(input, base) !== null;
  }

  static parse(input, base = undefined) {
    try {
      return new URL(input, base);
    } catch {
      return null;
    }
  }

  get origin() {
    return this.#parts.origin;
  }

  get searchParams() {
    return this.#parameters;
  }

  toString() {
    return this.#parts.href;
  }

  toJSON() {
    return this.#parts.href;
  }

  static {
    const names = [
      "href",
      "protocol",
      "username",
      "password",
      "host",
      "hostname",
      "port",
      "pathname",
      "search",
      "hash",
    ];
    for (const name of names) {
      Object.defineProperty(URL.prototype, name, {
        get() {
          return this.#parts[name];
        },
        set(value) {
          this.#parts = setUrlPart(this.#parts.href, name, String(value));
          if (name === "href" || name === "search") {
            replaceParameters(this.#parameters, this.#parts.search, this);
          }
        },
        configurable: true,
        enumerable: true,
      });
    }
  }
}
