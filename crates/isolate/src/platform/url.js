// URL and URLSearchParams. The host parses.
import { decodeUtf8, encodeUtf8 } from "tidemark:host";
import { parseUrl, setUrlPart } from "tidemark:requests";
import { isObject, makeIterable, needArguments, usvString } from "tidemark:webidl";

// What makes a URL's parameters follow its search, and the other way round.
let updateUrl;
let replaceParameters;

let pairAt;

export class URLSearchParams {
  #pairs = [];
  #url = null;

  static {
    replaceParameters = (parameters, search, url) => {
      parameters.#pairs = parsePairs(search.startsWith("?") ? search.slice(1) : search);
      parameters.#url = url;
    };
    pairAt = (parameters, index) => parameters.#pairs[index];
  }

  constructor(init = "") {
    if (isObject(init)) {
      const isSequence = init[Symbol.iterator] !== undefined && init[Symbol.iterator] !== null;
      this.#pairs = pairsOf(isSequence ? init : membersOf(init));
    } else {
      const text = usvString(init);
      this.#pairs = parsePairs(text.startsWith("?") ? text.slice(1) : text);
    }
  }

  get size() {
    return this.#pairs.length;
  }

  append(name, value) {
    needArguments(arguments.length, 2, "URLSearchParams.append");
    this.#pairs.push([usvString(name), usvString(value)]);
    this.#changed();
  }

  delete(name, value = undefined) {
    needArguments(arguments.length, 1, "URLSearchParams.delete");
    const isMeant = matcher(name, value);
    this.#pairs = this.#pairs.filter((pair) => !isMeant(pair));
    this.#changed();
  }

  get(name) {
    needArguments(arguments.length, 1, "URLSearchParams.get");
    return this.#pairs.find(matcher(name))?.[1] ?? null;
  }

  getAll(name) {
    needArguments(arguments.length, 1, "URLSearchParams.getAll");
    return this.#pairs.filter(matcher(name)).map(([, value]) => value);
  }

  has(name, value = undefined) {
    needArguments(arguments.length, 1, "URLSearchParams.has");
    return this.#pairs.some(matcher(name, value));
  }

  set(name, value) {
    needArguments(arguments.length, 2, "URLSearchParams.set");
    const isMeant = matcher(name);
    const text = usvString(value);
    const first = this.#pairs.find(isMeant);
    if (first) {
      first[1] = text;
      this.#pairs = this.#pairs.filter((pair) => pair === first || !isMeant(pair));
    } else {
      this.#pairs.push([usvString(name), text]);
    }
    this.#changed();
  }

  sort() {
    this.#pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    this.#changed();
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

makeIterable(URLSearchParams, (parameters, index) => pairAt(parameters, index));

// Whether a pair has a name, and a value if one is given.
function matcher(name, value = undefined) {
  const wantedName = usvString(name);
  const wantedValue = value === undefined ? undefined : usvString(value);
  return (pair) => pair[0] === wantedName && (wantedValue === undefined || pair[1] === wantedValue);
}

function membersOf(object) {
  return Reflect.ownKeys(object)
    .filter((key) => Object.getOwnPropertyDescriptor(object, key)?.enumerable)
    .map((key) => [key, object[key]]);
}

function pairsOf(iterable) {
  return [...iterable].map((pair) => {
    const parts = isObject(pair) ? [...pair] : [];
    if (parts.length !== 2) {
      throw new TypeError("URLSearchParams needs pairs of a name and a value");
    }
    return parts.map(usvString);
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
  try {
    return decodeURIComponent(spaced);
  } catch {
    return decodeBytes(spaced);
  }
}

// Also where escapes are broken, or of bytes that are no UTF-8.
function decodeBytes(text) {
  const bytes = [];
  for (let at = 0; at < text.length; ) {
    const escape = /^%[0-9a-fA-F]{2}/.exec(text.slice(at, at + 3));
    if (escape) {
      bytes.push(Number.parseInt(escape[0].slice(1), 16));
      at += 3;
    } else {
      const character = String.fromCodePoint(text.codePointAt(at));
      bytes.push(...encodeUtf8(character));
      at += character.length;
    }
  }
  return decodeUtf8(new Uint8Array(bytes).buffer, 0, bytes.length, false);
}

// As forms are encoded: letters, digits and *-._ stay, a space becomes a plus.
const encodePart = (text) =>
  encodeURIComponent(text)
    .replace(/[!'()~]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll("%20", "+");

export class URL {
  #parts;
  #parameters = new URLSearchParams();

  static {
    updateUrl = (url, search) => {
      url.#parts = setUrlPart(url.#parts.href, "search", search);
    };
  }

  constructor(input, base = undefined) {
    needArguments(arguments.length, 1, "URL");
    const text = usvString(input);
    const baseText = base === undefined ? undefined : usvString(base);
    if (baseText === "") {
      throw new TypeError("Invalid base URL: ''");
    }
    this.#parts = parseUrl(text, baseText ?? "");
    replaceParameters(this.#parameters, this.#parts.search, this);
  }

  static canParse(input, base = undefined) {
    needArguments(arguments.length, 1, "URL.canParse");
    return URL.parse(input, base) !== null;
  }

  static parse(input, base = undefined) {
    needArguments(arguments.length, 1, "URL.parse");
    const text = usvString(input);
    const baseText = base === undefined ? undefined : usvString(base);
    try {
      return new URL(text, baseText);
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
          this.#parts = setUrlPart(this.#parts.href, name, usvString(value));
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
