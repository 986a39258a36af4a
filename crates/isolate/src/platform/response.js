// Response
import { Body, extractBody, installBody } from "tidemark:body";
import { Headers, addType, cloneHeaders, makeImmutable } from "tidemark:headers";
import { parseUrl } from "tidemark:requests";
import { byteString, dictionary, needArguments, usvString } from "tidemark:webidl";

const statusesWithoutBody = new Set([101, 103, 204, 205, 304]);
const redirectStatuses = new Set([301, 302, 303, 307, 308]);

let bodyOf;

// The response that a server has given; `stream` is its body or null.
export let answerOf;

// What a client is sent of a response; null if it is none.
export let partsOfResponse;

export class Response {
  #body = null;
  #status = 200;
  #statusText = "";
  #headers;
  #type = "default";
  #url = "";
  #redirected = false;

  static {
    bodyOf = (response) => response.#body;
    answerOf = ({ status, statusText, headers, url, redirected, stream }) => {
      const response = new Response();
      response.#status = status;
      response.#statusText = statusText;
      response.#headers = makeImmutable(new Headers(headers));
      response.#type = "basic";
      response.#url = url;
      response.#redirected = redirected;
      response.#body = stream === null ? null : new Body(null, stream);
      return response;
    };
    partsOfResponse = (value) =>
      typeof value === "object" && value !== null && #body in value
        ? { status: value.#status, headers: [...value.#headers], body: value.#body }
        : null;
  }

  constructor(body = null, init = undefined) {
    this.#fill(extractBody(body), dictionary(init, "The init of a Response"));
  }

  #fill({ body, type }, { status, statusText, headers }) {
    if (status !== undefined) {
      this.#status = unsignedShort(status);
      if (this.#status < 200 || this.#status > 599) {
        throw new RangeError("The status of a response must be between 200 and 599");
      }
    }
    if (statusText !== undefined) {
      this.#statusText = byteString(statusText);
      if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(this.#statusText)) {
        throw new TypeError("The text of a status is one line");
      }
    }
    this.#headers = new Headers(headers);
    if (body !== null && !statusesWithoutBody.has(this.#status)) {
      this.#body = body;
    } else if (body !== null && !body.isEmpty) {
      // An empty one is what published packages give such a response.
      throw new TypeError(`A response with status ${this.#status} can't have a body`);
    }
    if (type !== null && this.#body !== null) {
      addType(this.#headers, type);
    }
  }

  static error() {
    const response = new Response();
    response.#status = 0;
    response.#type = "error";
    makeImmutable(response.#headers);
    return response;
  }

  static json(data, init = undefined) {
    needArguments(arguments.length, 1, "Response.json");
    const text = JSON.stringify(data);
    if (text === undefined) {
      throw new TypeError("The value has no JSON");
    }
    const response = new Response();
    response.#fill({ ...extractBody(text), type: "application/json" }, dictionary(init, "The init of a Response"));
    return response;
  }

  static redirect(url, status = 302) {
    needArguments(arguments.length, 1, "Response.redirect");
    const location = parseUrl(usvString(url), "").href;
    const code = unsignedShort(status);
    if (!redirectStatuses.has(code)) {
      throw new RangeError(`${code} is not a status of a redirect`);
    }
    const response = new Response(null, { status: code, headers: { location } });
    makeImmutable(response.#headers);
    return response;
  }

  get type() {
    return this.#type;
  }

  get url() {
    return this.#url;
  }

  get redirected() {
    return this.#redirected;
  }

  get status() {
    return this.#status;
  }

  get ok() {
    return this.#status >= 200 && this.#status < 300;
  }

  get statusText() {
    return this.#statusText;
  }

  get headers() {
    return this.#headers;
  }

  clone() {
    if (this.#body?.isUnusable) {
      throw new TypeError("Response.clone: Body has already been consumed.");
    }
    const copy = new Response();
    copy.#body = this.#body?.clone() ?? null;
    copy.#status = this.#status;
    copy.#statusText = this.#statusText;
    copy.#headers = cloneHeaders(this.#headers);
    copy.#type = this.#type;
    copy.#url = this.#url;
    copy.#redirected = this.#redirected;
    return copy;
  }
}

installBody(Response, (response) => bodyOf(response));

// As the standard converts it.
const unsignedShort = (value) => new Uint16Array([value])[0];
