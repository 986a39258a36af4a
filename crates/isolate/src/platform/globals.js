// Puts the platform into the global object. Everything is writable and configurable: packages replace parts of it.
import { now, random } from "tidemark:host";
import { AbortController, AbortSignal } from "tidemark:abort";
import { AsyncLocalStorage, AsyncResource, queueMicrotask } from "tidemark:async-context";
import { Blob, File, FormData } from "tidemark:blob";
import { structuredClone } from "tidemark:clone";
import { console } from "tidemark:console";
import { Crypto, CryptoKey, SubtleCrypto, crypto } from "tidemark:crypto";
import { TextDecoder, TextEncoder } from "tidemark:encoding";
import { process } from "tidemark:environment";
import { CustomEvent, Event, EventTarget } from "tidemark:events";
import { Headers, Request, Response, fetch } from "tidemark:fetch";
import {
  Intl,
  clearImmediate,
  clearInterval,
  clearTimeout,
  refuseLocales,
  setImmediate,
  setInterval,
  setTimeout,
  streams,
} from "tidemark:forbidden";
import { Convex } from "tidemark:syscalls";
import { URL, URLSearchParams } from "tidemark:url";

const performance = {
  // The clock stands still within a call and at import.
  now: () => 0,
  get timeOrigin() {
    return now();
  },
  mark() {},
  measure() {},
};

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
    Request,
    Response,
    SubtleCrypto,
    TextDecoder,
    TextEncoder,
    URL,
    URLSearchParams,
    clearImmediate,
    clearInterval,
    clearTimeout,
    console,
    crypto,
    fetch,
    navigator: { userAgent: "Convex/1.0" },
    performance,
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
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true, enumerable: false });
  }
  Object.defineProperty(Math, "random", { value: random, configurable: true, writable: true });
  refuseLocales();
}
