// AsyncLocalStorage and AsyncResource over the engine's asynchronous context: a value that goes with every promise
// reaction from where it was made to where it runs (an edit of the engine, build/edits.rs).
import { context, setContext } from "tidemark:host";

// The context is an immutable map from storages to their values, or undefined.

export class AsyncLocalStorage {
  getStore() {
    return context()?.get(this);
  }

  run(store, callback, ...args) {
    return runIn(withValue(this, store), callback, undefined, args);
  }

  exit(callback, ...args) {
    return this.run(undefined, callback, ...args);
  }

  enterWith(store) {
    setContext(withValue(this, store));
  }

  disable() {
    setContext(withValue(this, undefined));
  }

  static bind(callback) {
    const bound = context();
    return function (...args) {
      return runIn(bound, callback, this, args);
    };
  }

  static snapshot() {
    const taken = context();
    return (callback, ...args) => runIn(taken, callback, undefined, args);
  }
}

export class AsyncResource {
  #context = context();

  constructor(type) {
    this.type = type;
  }

  runInAsyncScope(callback, thisValue, ...args) {
    return runIn(this.#context, callback, thisValue, args);
  }

  bind(callback) {
    return (...args) => this.runInAsyncScope(callback, undefined, ...args);
  }

  emitDestroy() {
    return this;
  }

  asyncId() {
    return 0;
  }

  triggerAsyncId() {
    return 0;
  }

  static bind(callback) {
    return AsyncLocalStorage.bind(callback);
  }
}

const withValue = (storage, value) => new Map(context()).set(storage, value);

function runIn(wanted, callback, thisValue, args) {
  const before = context();
  setContext(wanted);
  try {
    return callback.apply(thisValue, args);
  } finally {
    setContext(before);
  }
}

const enqueue = globalThis.queueMicrotask;

// The engine's keeps no context with the jobs it enqueues.
export function queueMicrotask(callback) {
  if (typeof callback !== "function") {
    throw new TypeError("queueMicrotask() needs a function");
  }
  enqueue(context() === undefined ? callback : AsyncLocalStorage.bind(callback));
}
