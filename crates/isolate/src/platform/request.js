// Request
import { AbortController, AbortSignal } from "tidemark:abort";
import { Body, extractBody, installBody } from "tidemark:body";
import { Headers, addType, isToken } from "tidemark:headers";
import { parseUrl } from "tidemark:requests";
import { byteString, dictionary, domString, member, needArguments, usvString } from "tidemark:webidl";

const normalizedMethods = new Set(["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"]);
const forbiddenMethods = new Set(["CONNECT", "TRACE", "TRACK"]);

// What a request says of itself: the values that each can have.
const choices = {
  mode: ["same-origin", "cors", "no-cors", "navigate", "websocket"],
  credentials: ["omit", "same-origin", "include"],
  cache: ["default", "no-store", "reload", "no-cache", "force-cache", "only-if-cached"],
  redirect: ["follow", "manual", "error"],
  referrerPolicy: [
    "",
    "no-referrer",
    "no-referrer-when-downgrade",
    "same-origin",
    "origin",
    "strict-origin",
    "origin-when-cross-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
  ],
};

const choiceNames = Object.keys(choices);

const initialChoices = {
  mode: "cors",
  credentials: "same-origin",
  cache: "default",
  redirect: "follow",
  referrerPolicy: "",
};

let bodyOf;

// What is sent of a request: its signal is the one that it follows, or null.
export let partsOf;

// The request that a client of this server has sent; `stream` is its body or null.
export let requestOf;

export class Request {
  #url;
  #method = "GET";
  #headers;
  #body = null;
  #choices;
  #referrer = "about:client";
  #integrity = "";
  #keepalive = false;
  // Made when it is asked for: it follows another one, or none.
  #signal = null;
  #followed = null;

  static {
    bodyOf = (request) => request.#body;
    partsOf = (request) => ({
      method: request.#method,
      url: request.#url,
      headers: [...request.#headers],
      redirect: request.#choices.redirect,
      body: request.#body,
      signal: request.#followed,
    });
    requestOf = ({ url, method, headers, stream }) => {
      const request = new Request(url);
      request.#method = method;
      request.#headers = new Headers(headers);
      request.#body = stream === null ? null : new Body(null, stream);
      return request;
    };
  }

  constructor(input, options = undefined) {
    needArguments(arguments.length, 1, "Request");
    const original = typeof input === "object" && input !== null && #url in input ? input : null;
    const init = dictionary(options, "The init of a Request");
    this.#url = original ? original.#url : urlOf(usvString(input));
    if (init.window !== undefined && init.window !== null) {
      throw new TypeError("'window' can only be null");
    }
    this.#choose(init, original);
    if (init.referrer !== undefined) {
      this.#referrer = referrerOf(usvString(init.referrer));
    } else if (original && Object.keys(init).length === 0) {
      this.#referrer = original.#referrer;
    }
    this.#integrity = init.integrity === undefined ? (original?.#integrity ?? "") : domString(init.integrity);
    this.#keepalive = init.keepalive === undefined ? (original?.#keepalive ?? false) : Boolean(init.keepalive);
    this.#method = init.method === undefined ? (original?.#method ?? "GET") : methodOf(byteString(init.method));
    this.#followed = init.signal === undefined ? (original?.#followed ?? null) : init.signal;
    if (this.#followed !== null && !(this.#followed instanceof AbortSignal)) {
      throw new TypeError("Failed to construct 'Request': member signal is not of type AbortSignal.");
    }
    this.#headers = new Headers(init.headers === undefined ? original?.#headers : init.headers);
    this.#takeBody(init, original);
  }

  #choose(init, original) {
    this.#choices = original ? original.#choices : initialChoices;
    for (const name of choiceNames) {
      const chosen = member(init, name, choices[name]);
      if (chosen !== undefined) {
        this.#choices = { ...this.#choices, [name]: chosen };
      }
    }
    if (init.mode !== undefined && this.#choices.mode === "navigate") {
      throw new TypeError("A request can't have mode 'navigate'");
    }
    if (this.#choices.cache === "only-if-cached" && this.#choices.mode !== "same-origin") {
      throw new TypeError("'only-if-cached' can be set only with mode 'same-origin'");
    }
  }

  #takeBody(init, original) {
    const hasBody = init.body !== undefined && init.body !== null;
    const inherited = hasBody ? null : (original?.#body ?? null);
    if ((hasBody || inherited !== null) && (this.#method === "GET" || this.#method === "HEAD")) {
      throw new TypeError("Request with GET/HEAD method cannot have body.");
    }
    const duplex = member(init, "duplex", ["half"]);
    if (hasBody) {
      const { body, type, isReplayable } = extractBody(init.body);
      if (!isReplayable && this.#keepalive) {
        throw new TypeError("A stream can't be the body of a request with keepalive");
      }
      if (!isReplayable && duplex === undefined) {
        throw new TypeError("RequestInit: duplex option is required when sending a body.");
      }
      this.#body = body;
      if (type !== null) {
        addType(this.#headers, type);
      }
    } else if (inherited !== null) {
      if (inherited.isUnusable) {
        throw new TypeError("Cannot construct a Request with a Request object that has already been used.");
      }
      this.#body = inherited.move();
    }
  }

  get method() {
    return this.#method;
  }

  get url() {
    return this.#url;
  }

  get headers() {
    return this.#headers;
  }

  get destination() {
    this.#url;
    return "";
  }

  get referrer() {
    return this.#referrer;
  }

  get referrerPolicy() {
    return this.#choices.referrerPolicy;
  }

  get mode() {
    return this.#choices.mode;
  }

  get credentials() {
    return this.#choices.credentials;
  }

  get cache() {
    return this.#choices.cache;
  }

  get redirect() {
    return this.#choices.redirect;
  }

  get integrity() {
    return this.#integrity;
  }

  get keepalive() {
    return this.#keepalive;
  }

  get isReloadNavigation() {
    this.#url;
    return false;
  }

  get isHistoryNavigation() {
    this.#url;
    return false;
  }

  get signal() {
    this.#signal ??= this.#followed === null ? new AbortController().signal : AbortSignal.any([this.#followed]);
    return this.#signal;
  }

  get duplex() {
    this.#url;
    return "half";
  }

  clone() {
    if (this.#body?.isUnusable) {
      throw new TypeError("unusable");
    }
    const copy = new Request(this.#url, { signal: this.#followed });
    copy.#method = this.#method;
    copy.#headers = new Headers(this.#headers);
    copy.#choices = this.#choices;
    copy.#referrer = this.#referrer;
    copy.#integrity = this.#integrity;
    copy.#keepalive = this.#keepalive;
    copy.#body = this.#body?.clone() ?? null;
    return copy;
  }
}

installBody(Request, (request) => bodyOf(request));

function urlOf(text) {
  const { href, username, password } = parseUrl(text, "");
  if (username !== "" || password !== "") {
    throw new TypeError(`Request cannot be constructed from a URL that includes credentials: ${text}`);
  }
  return href;
}

function methodOf(text) {
  const upper = text.toUpperCase();
  if (!isToken(text) || forbiddenMethods.has(upper)) {
    throw new TypeError(`'${text}' is not a valid HTTP method.`);
  }
  return normalizedMethods.has(upper) ? upper : text;
}

// An empty text is no referrer. What is of another origin is nothing that code without an origin could tell.
function referrerOf(text) {
  return text === "" ? "" : parseUrl(text, "").href;
}
