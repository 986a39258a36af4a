// structuredClone

const errorConstructors = { Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };

export function structuredClone(value, options = undefined) {
  if (arguments.length === 0) {
    throw new TypeError("The \"value\" argument must be specified");
  }
  const transfer = options?.transfer ?? [];
  const result = clone(value, new Map());
  for (const buffer of transfer) {
    buffer.transfer?.();
  }
  return result;
}

const failure = (value) => new DOMException(`${typeof value === "symbol" ? value.toString() : describeKind(value)} could not be cloned.`, "DataCloneError");

const describeKind = (value) => (typeof value === "function" ? `function ${value.name}` : Object.prototype.toString.call(value));

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
    return remember(value.slice(0));
  }
  if (ArrayBuffer.isView(value)) {
    const buffer = clone(value.buffer, copies);
    return remember(
      new value.constructor(buffer, value.byteOffset, value instanceof DataView ? value.byteLength : value.length),
    );
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
  if (value instanceof Error) {
    return cloneError(value, copies, remember);
  }
  if (value instanceof Promise || value instanceof WeakMap || value instanceof WeakSet || value instanceof WeakRef) {
    throw failure(value);
  }
  const copy = remember(Array.isArray(value) ? new Array(value.length) : {});
  for (const key of Object.keys(value)) {
    copy[key] = clone(value[key], copies);
  }
  return copy;
}

function cloneError(error, copies, remember) {
  const Constructor = errorConstructors[error.name] ?? Error;
  const copy = remember(new Constructor(error.message));
  copy.stack = error.stack;
  if (Object.hasOwn(error, "cause")) {
    Object.defineProperty(copy, "cause", { value: clone(error.cause, copies), configurable: true, writable: true });
  }
  return copy;
}
