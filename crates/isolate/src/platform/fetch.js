// Headers, Request and Response, whose bodies are held in memory.
import { Blob, FormData } from "tidemark:blob";
import { TextDecoder, TextEncoder, bytesOf } from "tidemark:encoding";
import { codedError, unavailable } from "tidemark:errors";
import { AbortController } from "tidemark:abort";
import { URL, URLSearchParams } from "tidemark:url";

const tokenPattern = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

export class Headers {
  // Lower-case name to the values, in the order in which they were added.
  #values = new Map();

  constructor(init = undefined) {
    if (init === undefined) {
      return;
    }
    if ((typeof init !== "object" || init === null) && typeof init !== "function") {
      throw new TypeError("Headers are made of an object or of pairs of a name and a value");
    }
    const isIterable = init[Symbol.iterator] !== undefined && init[Symbol.iterator] !== null;
    for (const pair of isIterable ? init : Object.entries(init)) {
      const parts = [...pair];
      if (parts.length !== 2) {
        throw new TypeError(`A header is a pair of a name and a value, not of ${parts.length}`);
      }
      this.append(...parts);
    }
  }

  append(name, value) {
    const key = normalName(name);
    this.#values.set(key, [...(this.#values.get(key) ?? []), normalValue(value)]);
  }

  delete(name) {
    this.#values.delete(normalName(name));
  }

  get(name) {
    return this.#values.get(normalName(name))?.join(", ") ?? null;
  }

  getSetCookie() {
    return [...(this.#values.get("set-cookie") ?? [])];
  }

  has(name) {
    return this.#values.has(normalName(name));
  }

  set(name, value) {
    this.#values.set(normalName(name), [normalValue(value)]);
  }

  forEach(callback, thisValue) {
    for (const [name, value] of this) {
      callback.call(thisValue, value, name, this);
    }
  }

  *entries() {
    for (const name of [...this.#values.keys()].sort()) {
      if (name === "set-cookie") {
        yield* this.#values.get(name).map((value) => [name, value]);
      } else {
        yield [name, this.get(name)];
      }
    }
  }

  *keys() {
    for (const [name] of this) {
      yield name;
    }
  }

  *values() {
    for (const [, value] of this) {
      yield value;
    }
  }

  [Symbol.iterator]() {
    return this.entries();
  }
}

function normalName(name) {
  const text = String(name);
  if (!tokenPattern.test(text)) {
    throw new TypeError(`Invalid header name: '${text}'`);
  }
  return text.toLowerCase();
}

function normalValue(value) {
  const text = String(value).replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, "");
  if (/[\0\n\r]/.test(text) || /[^\0-\xff]/.test(text)) {
    throw new TypeError(`Invalid header value: '${text}'`);
  }
  return text;
}

// The bytes of a body, which stays unused.
let copyBytes;

// What Request and Response share.
class Body {
  #bytes;
  #isUsed = false;

  constructor(bytes) {
    this.#bytes = bytes;
  }

  get bodyUsed() {
    return this.#isUsed;
  }

  get body() {
    if (this.#bytes === null) {
      return null;
    }
    throw codedError("NoStream", "Bodies as streams are not available yet. Use arrayBuffer(), text() or json().");
  }

  async arrayBuffer() {
    return this.#take().slice().buffer;
  }

  async bytes() {
    return this.#take().slice();
  }

  async text() {
    return new TextDecoder().decode(this.#take());
  }

  async json() {
    return JSON.parse(await this.text());
  }

  async blob() {
    return new Blob([this.#take()], { type: this.headers.get("content-type") ?? "" });
  }

  async formData() {
    const type = this.headers.get("content-type") ?? "";
    if (!type.startsWith("application/x-www-form-urlencoded")) {
      throw unavailable("formData() of this content type", "FormParse");
    }
    const form = new FormData();
    for (const [name, value] of new URLSearchParams(await this.text())) {
      form.append(name, value);
    }
    return form;
  }

  static {
    copyBytes = (body) => {
      if (body.#isUsed) {
        throw new TypeError("The body has been used already");
      }
      return body.#bytes;
    };
  }

  #take() {
    if (this.#isUsed) {
      throw new TypeError("The body has been used already");
    }
    this.#isUsed = this.#bytes !== null;
    return this.#bytes ?? new Uint8Array(0);
  }
}

// The bytes of a body, and the content type that it implies.
function extractBody(body) {
  if (body === null || body === undefined) {
    return { bytes: null, type: null };
  }
  if (body instanceof URLSearchParams) {
    return { bytes: encoder.encode(String(body)), type: "application/x-www-form-urlencoded;charset=UTF-8" };
  }
  if (body instanceof Blob) {
    throw codedError("NoStream", "A Blob as a body is not available yet. Use await blob.arrayBuffer().");
  }
  if (body instanceof FormData) {
    throw unavailable("FormData as a body", "FormParse");
  }
  if (ArrayBuffer.isView(body) || body instanceof ArrayBuffer) {
    return { bytes: bytesOf(body).slice(), type: null };
  }
  return { bytes: encoder.encode(String(body)), type: "text/plain;charset=UTF-8" };
}

const encoder = new TextEncoder();

const methods = new Set(["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"]);
const forbiddenMethods = new Set(["CONNECT", "TRACE", "TRACK"]);

export class Request extends Body {
  #url;
  #method;
  #headers;
  #signal;

  constructor(input, init = undefined) {
    init ??= {};
    const original = input instanceof Request ? input : null;
    const hasBody = init.body !== undefined && init.body !== null;
    const { bytes, type } = hasBody || !original ? extractBody(init.body) : { bytes: copyBytes(original), type: null };
    super(bytes);
    this.#url = original ? original.url : new URL(String(input)).href;
    const method = String(init.method ?? original?.method ?? "GET");
    this.#method = methods.has(method.toUpperCase()) ? method.toUpperCase() : method;
    if (!tokenPattern.test(method) || forbiddenMethods.has(method.toUpperCase())) {
      throw new TypeError(`'${method}' is not a method that a request can have`);
    }
    if (bytes !== null && (this.#method === "GET" || this.#method === "HEAD")) {
      throw new TypeError("A request with method GET or HEAD can't have a body");
    }
    this.#headers = new Headers(init.headers ?? original?.headers ?? undefined);
    this.#signal = init.signal ?? original?.signal ?? new AbortController().signal;
    if (type && !this.#headers.has("content-type")) {
      this.#headers.set("content-type", type);
    }
  }

  get url() {
    return this.#url;
  }

  get method() {
    return this.#method;
  }

  get headers() {
    return this.#headers;
  }

  get signal() {
    return this.#signal;
  }

  clone() {
    return new Request(this);
  }
}

const statusesWithoutBody = new Set([101, 103, 204, 205, 304]);
const redirectStatuses = new Set([301, 302, 303, 307, 308]);

export class Response extends Body {
  #status;
  #statusText;
  #headers;
  #type = "default";

  constructor(body = null, init = undefined) {
    init ??= {};
    const { bytes, type } = extractBody(body);
    super(bytes);
    // An unsigned short, as the standard has it.
    this.#status = init.status === undefined ? 200 : new Uint16Array([init.status])[0];
    if (this.#status < 200 || this.#status > 599) {
      throw new RangeError("The status of a response must be between 200 and 599");
    }
    if (bytes !== null && statusesWithoutBody.has(this.#status)) {
      throw new TypeError(`A response with status ${this.#status} can't have a body`);
    }
    this.#statusText = String(init.statusText ?? "");
    this.#headers = new Headers(init.headers ?? undefined);
    if (type && !this.#headers.has("content-type")) {
      this.#headers.set("content-type", type);
    }
  }

  static json(data, init = undefined) {
    const text = JSON.stringify(data);
    if (text === undefined) {
      throw new TypeError("The value has no JSON");
    }
    const response = new Response(text, init);
    if (!new Headers(init?.headers ?? undefined).has("content-type")) {
      response.headers.set("content-type", "application/json");
    }
    return response;
  }

  static redirect(url, status = 302) {
    if (!redirectStatuses.has(status)) {
      throw new RangeError(`${status} is not a status of a redirect`);
    }
    return new Response(null, { status, headers: { location: new URL(String(url)).href } });
  }

  static error() {
    const response = new Response();
    response.#status = 0;
    response.#type = "error";
    return response;
  }

  get status() {
    return this.#status;
  }

  get statusText() {
    return this.#statusText;
  }

  get ok() {
    return this.#status >= 200 && this.#status < 300;
  }

  get headers() {
    return this.#headers;
  }

  get type() {
    return this.#type;
  }

  get url() {
    return "";
  }

  get redirected() {
    return false;
  }

  clone() {
    const { status, statusText, headers } = this;
    return new Response(copyBytes(this), { status, statusText, headers });
  }
}

export async function fetch(_input, _init = undefined) {
  throw unavailable("fetch()", "Fetch");
}
