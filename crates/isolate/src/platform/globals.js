// Puts the platform into the global object. Everything is writable and configurable: packages replace parts of it.
import { now, random } from "tidemark:host";
import { AbortController, AbortSignal } from "tidemark:abort";
import { AsyncLocalStorage, AsyncResource, queueMicrotask } from "tidemark:async-context";
import { Blob, File, FormData } from "tidemark:blob";
import { structuredClone } from "tidemark:clone";
import { console } from "tidemark:console";
import { Crypto, CryptoKey, SubtleCrypto, crypto } from "tidemark:crypto";
import { TextDecoder, TextEncoder, atob } from "tidemark:encoding";
import { process } from "tidemark:environment";
import { CustomEvent, Event, EventTarget, makeGlobalTarget } from "tidemark:events";
import { Headers, Request, Response, fetch } from "tidemark:fetch";
import {
  Intl,
  clearImmediate,
  clearInterval,
  clearTimeout,
  setImmediate,
  setInterval,
  setTimeout,
  streams,
} from "tidemark:forbidden";
import { installLocale } from "tidemark:locale";
import { Convex } from "tidemark:syscalls";
import { URL, URLSearchParams } from "tidemark:url";

class Performance extends EventTarget {
  // The clock stands still within a call and at import.
  now() {
    return 0;
  }

  get timeOrigin() {
    return now();
  }

  mark() {}

  measure() {}
}

class Navigator {
  get userAgent() {
    return "Convex/1.0";
  }
}

// What the standard says of every interface: objects name it, and `for … in` finds its members.
function finishInterface(name, value) {
  const prototype = value.prototype;
  for (const [key, property] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
    if (key !== "constructor" && property.configurable) {
      Object.defineProperty(prototype, key, { enumerable: true });
    }
  }
  Object.defineProperty(prototype, Symbol.toStringTag, { value: name, configurable: true });
}

// These are properties of the global object that `for … in` finds, as in browsers.
const enumerable = new Set([
  "clearImmediate",
  "clearInterval",
  "clearTimeout",
  "crypto",
  "fetch",
  "navigator",
  "performance",
  "queueMicrotask",
  "setImmediate",
  "setInterval",
  "setTimeout",
  "structuredClone",
]);

export function installGlobals() {
  const globals = {
    AbortController,
    AbortSignal,
    AsyncLocalStorage,
    AsyncResource,
    Blob,
    Convex,
    Crypto,
    CryptoKey,
    CustomEvent,
    Event,
    EventTarget,
    File,
    FormData,
    Headers,
    Intl,
    Navigator,
    Performance,
    Request,
    Response,
    SubtleCrypto,
    TextDecoder,
    TextEncoder,
    URL,
    URLSearchParams,
    atob,
    clearImmediate,
    clearInterval,
    clearTimeout,
    console,
    crypto,
    fetch,
    navigator: new Navigator(),
    performance: new Performance(),
    process,
    queueMicrotask,
    self: globalThis,
    setImmediate,
    setInterval,
    setTimeout,
    structuredClone,
    ...streams,
  };
  for (const [name, value] of Object.entries(globals)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true, enumerable: enumerable.has(name) });
    if (typeof value === "function" && /^[A-Z]/.test(name) && value.prototype) {
      finishInterface(name, value);
    }
  }
  for (const name of ["console", "process"]) {
    Object.defineProperty(globals[name], Symbol.toStringTag, { value: name, configurable: true });
  }
  makeGlobalTarget();
  Object.defineProperty(Math, "random", { value: random, configurable: true, writable: true });
  installLocale();
}
