// Puts the platform into the global object. Everything is writable and configurable: packages replace parts of it.
import { random } from "tidemark:host";
import { AbortController, AbortSignal } from "tidemark:abort";
import { AsyncLocalStorage, AsyncResource, queueMicrotask } from "tidemark:async-context";
import { Blob, File } from "tidemark:blob";
import { refuseToClone, structuredClone } from "tidemark:clone";
import { console } from "tidemark:console";
import { Crypto, crypto } from "tidemark:crypto";
import { CryptoKey } from "tidemark:crypto-key";
import { TextDecoder, TextEncoder, atob } from "tidemark:encoding";
import { process } from "tidemark:environment";
import { CustomEvent, Event, EventTarget, makeGlobalTarget } from "tidemark:events";
import { fetch } from "tidemark:fetch";
import { FormData } from "tidemark:form-data";
import { Headers } from "tidemark:headers";
import { Intl } from "tidemark:intl";
import { installLocale } from "tidemark:locale";
import { MessageChannel, MessageEvent, MessagePort } from "tidemark:messages";
import {
  Performance,
  PerformanceEntry,
  PerformanceMark,
  PerformanceMeasure,
  performance,
} from "tidemark:performance";
import { Request } from "tidemark:request";
import { Response } from "tidemark:response";
import { streams } from "tidemark:streams";
import { SubtleCrypto } from "tidemark:subtle";
import { Convex } from "tidemark:syscalls";
import { clearImmediate, clearInterval, clearTimeout, setImmediate, setInterval, setTimeout } from "tidemark:timers";
import { URL, URLSearchParams } from "tidemark:url";

class Navigator {
  get userAgent() {
    return "Convex/1.0";
  }
}

const ofFunctions = new Set(["length", "name", "prototype"]);

// What the standard says of every interface: objects name it, and `for … in` finds its members.
function finishInterface(name, value) {
  const prototype = value.prototype;
  for (const owner of [value, prototype]) {
    for (const [key, property] of Object.entries(Object.getOwnPropertyDescriptors(owner))) {
      if (property.configurable && key !== "constructor" && !(owner === value && ofFunctions.has(key))) {
        Object.defineProperty(owner, key, { enumerable: true });
      }
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
    MessageChannel,
    MessageEvent,
    MessagePort,
    Navigator,
    Performance,
    PerformanceEntry,
    PerformanceMark,
    PerformanceMeasure,
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
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true, enumerable: enumerable.has(name) });
    if (typeof value === "function" && /^[A-Z]/.test(name) && value.prototype) {
      finishInterface(name, value);
    }
  }
  for (const name of ["console", "process"]) {
    Object.defineProperty(globals[name], Symbol.toStringTag, { value: name, configurable: true });
  }
  for (const Class of [FormData, Headers, Request, Response, URL, URLSearchParams, ...Object.values(streams)]) {
    refuseToClone(Class);
  }
  makeGlobalTarget();
  Object.defineProperty(Math, "random", { value: random, configurable: true, writable: true });
  installLocale();
}
