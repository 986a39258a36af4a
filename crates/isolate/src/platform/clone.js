// structuredClone
import { Blob, File, isBlob } from "tidemark:blob";
import { copyKey, isCryptoKey } from "tidemark:crypto-key";
import { isObject } from "tidemark:webidl";

const errorConstructors = { Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };

const typedArrays = [
  Uint8Array,
  Int8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
];

// Classes of the platform whose objects have no copies.
const refused = [Promise, WeakMap, WeakSet, WeakRef];

export function refuseToClone(Class) {
  refused.push(Class);
}

export function structuredClone(value, options = undefined) {
  if (arguments.length === 0) {
    throw new TypeError('The "value" argument must be specified');
  }
  const transfer = transferList(options);
  const result = clone(value, new Map());
  for (const buffer of transfer) {
    buffer.transfer();
  }
  return result;
}

// A transferred buffer is copied all the same, so that nothing is lost where the rest can't be cloned.
function transferList(options) {
  if (options !== undefined && options !== null && !isObject(options)) {
    throw new TypeError("The options of structuredClone() must be an object");
  }
  if (options?.transfer === undefined) {
    return [];
  }
  if (!isObject(options.transfer) || typeof options.transfer[Symbol.iterator] !== "function") {
    throw new TypeError("The list of what is transferred must be iterable");
  }
  const transfer = [...options.transfer];
  for (const item of transfer) {
    if (!(item instanceof ArrayBuffer)) {
      throw new DOMException("Only an ArrayBuffer can be transferred", "DataCloneError");
    }
    if (item.detached) {
      throw new DOMException("An ArrayBuffer that is detached can't be transferred", "DataCloneError");
    }
  }
  if (new Set(transfer).size < transfer.length) {
    throw new DOMException("The list of what is transferred names an ArrayBuffer twice", "DataCloneError");
  }
  return transfer;
}

const failure = (value) => new DOMException(`${describeKind(value)} could not be cloned.`, "DataCloneError");

function describeKind(value) {
  switch (typeof value) {
    case "symbol":
      return value.toString();
    case "function":
      return `function ${value.name}`;
    default:
      return Object.prototype.toString.call(value);
  }
}

// `copies` maps what was met to its copy, which keeps cycles and shared parts.
function clone(value, copies) {
  if (typeof value === "symbol" || typeof value === "function") {
    throw failure(value);
  }
  if (typeof value !== "object" || value === null) {
    return value;
  }
  if (copies.has(value)) {
    return copies.get(value);
  }
  const remember = (copy) => {
    copies.set(value, copy);
    return copy;
  };
  const prototype = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) {
    return cloneProperties(value, remember({}), copies);
  }
  if (Array.isArray(value)) {
    return cloneProperties(value, remember(new Array(value.length)), copies);
  }
  if (value instanceof Date) {
    return remember(new Date(value.getTime()));
  }
  if (value instanceof RegExp) {
    return remember(new RegExp(value.source, value.flags));
  }
  if (value instanceof Boolean || value instanceof Number || value instanceof String || value instanceof BigInt) {
    return remember(Object(value.valueOf()));
  }
  if (value instanceof ArrayBuffer) {
    return remember(cloneBuffer(value));
  }
  if (ArrayBuffer.isView(value)) {
    return remember(cloneView(value, clone(value.buffer, copies)));
  }
  if (value instanceof Map) {
    const copy = remember(new Map());
    for (const [key, item] of [...value]) {
      copy.set(clone(key, copies), clone(item, copies));
    }
    return copy;
  }
  if (value instanceof Set) {
    const copy = remember(new Set());
    for (const item of [...value]) {
      copy.add(clone(item, copies));
    }
    return copy;
  }
  if (value instanceof DOMException) {
    return remember(new DOMException(value.message, value.name));
  }
  if (value instanceof Error) {
    return cloneError(value, copies, remember);
  }
  if (isBlob(value)) {
    const { type, name, lastModified } = value;
    const isFile = value instanceof File;
    return remember(isFile ? new File([value], name, { type, lastModified }) : new Blob([value], { type }));
  }
  if (isCryptoKey(value)) {
    return remember(copyKey(value, (part) => clone(part, copies)));
  }
  if (value instanceof Symbol || refused.some((Class) => value instanceof Class)) {
    throw failure(value);
  }
  return cloneProperties(value, remember({}), copies);
}

function cloneProperties(value, copy, copies) {
  for (const key of Object.keys(value)) {
    // What a getter removed meanwhile is gone.
    if (!Object.hasOwn(value, key)) {
      continue;
    }
    const item = clone(value[key], copies);
    if (key === "__proto__") {
      Object.defineProperty(copy, key, { value: item, configurable: true, enumerable: true, writable: true });
    } else {
      copy[key] = item;
    }
  }
  return copy;
}

function cloneBuffer(buffer) {
  if (buffer.detached) {
    throw new DOMException("An ArrayBuffer is detached and could not be cloned.", "DataCloneError");
  }
  if (!buffer.resizable) {
    return buffer.slice(0);
  }
  const copy = new ArrayBuffer(buffer.byteLength, { maxByteLength: buffer.maxByteLength });
  new Uint8Array(copy).set(new Uint8Array(buffer));
  return copy;
}

function cloneView(view, buffer) {
  if (view instanceof DataView) {
    return new DataView(buffer, view.byteOffset, view.byteLength);
  }
  // A subclass is not known to who gets the copy.
  const Constructor = typedArrays.find((Class) => view instanceof Class);
  return new Constructor(buffer, view.byteOffset, view.length);
}

function cloneError(error, copies, remember) {
  const Constructor = errorConstructors[error.name] ?? Error;
  const copy = remember(new Constructor());
  const define = (name, value) => Object.defineProperty(copy, name, { value, configurable: true, writable: true });
  if (Object.hasOwn(error, "message")) {
    define("message", String(error.message));
  }
  define("stack", error.stack);
  if (Object.hasOwn(error, "cause")) {
    define("cause", clone(error.cause, copies));
  }
  return copy;
}
