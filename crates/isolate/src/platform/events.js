// Event and EventTarget, without a tree of targets.
import { domString, needArguments } from "tidemark:webidl";

// What only the classes of this module and AbortSignal do with an event.
let beginDispatch, endDispatch, setCurrentListener, stopsNow;
export let trust;

export class Event {
  #type;
  #init;
  #target = null;
  #currentTarget = null;
  #isDispatched = false;
  #stops = false;
  #stopsNow = false;
  #isPrevented = false;
  #isPassive = false;
  #isTrusted = false;

  static {
    trust = (event) => {
      event.#isTrusted = true;
      return event;
    };
    beginDispatch = (event, target) => {
      if (event.#isDispatched) {
        throw new DOMException("The event is already being dispatched", "InvalidStateError");
      }
      event.#isDispatched = true;
      event.#target = target;
      event.#currentTarget = target;
    };
    endDispatch = (event) => {
      event.#isDispatched = false;
      event.#currentTarget = null;
      event.#stops = false;
      event.#stopsNow = false;
    };
    setCurrentListener = (event, isPassive) => {
      event.#isPassive = isPassive;
    };
    stopsNow = (event) => event.#stopsNow;
    for (const [value, name] of ["NONE", "CAPTURING_PHASE", "AT_TARGET", "BUBBLING_PHASE"].entries()) {
      Object.defineProperty(Event, name, { value, enumerable: true });
      Object.defineProperty(Event.prototype, name, { value, enumerable: true });
    }
  }

  constructor(type, init = undefined) {
    if (arguments.length === 0) {
      throw new TypeError('The "type" argument must be specified');
    }
    if (init !== undefined && init !== null && typeof init !== "object" && typeof init !== "function") {
      throw new TypeError('The "options" argument must be of type object.');
    }
    this.#type = domString(type);
    const { bubbles = false, cancelable = false, composed = false } = init ?? {};
    this.#init = { bubbles: Boolean(bubbles), cancelable: Boolean(cancelable), composed: Boolean(composed) };
  }

  get type() {
    return this.#type;
  }

  get bubbles() {
    return this.#init.bubbles;
  }

  get cancelable() {
    return this.#init.cancelable;
  }

  get composed() {
    return this.#init.composed;
  }

  get target() {
    return this.#target;
  }

  get srcElement() {
    return this.#target;
  }

  get currentTarget() {
    return this.#currentTarget;
  }

  get eventPhase() {
    return this.#isDispatched ? Event.AT_TARGET : Event.NONE;
  }

  get timeStamp() {
    return 0;
  }

  get isTrusted() {
    return this.#isTrusted;
  }

  get defaultPrevented() {
    return this.#isPrevented;
  }

  get returnValue() {
    return !this.#isPrevented;
  }

  set returnValue(value) {
    if (!value) {
      this.preventDefault();
    }
  }

  get cancelBubble() {
    return this.#stops;
  }

  set cancelBubble(value) {
    this.#stops ||= Boolean(value);
  }

  composedPath() {
    return this.#isDispatched ? [this.#currentTarget] : [];
  }

  preventDefault() {
    this.#isPrevented ||= this.#init.cancelable && !this.#isPassive;
  }

  stopPropagation() {
    this.#stops = true;
  }

  stopImmediatePropagation() {
    this.#stops = true;
    this.#stopsNow = true;
  }

  initEvent(type, bubbles = false, cancelable = false) {
    if (!this.#isDispatched) {
      this.#type = domString(type);
      this.#init = { ...this.#init, bubbles: Boolean(bubbles), cancelable: Boolean(cancelable) };
    }
  }
}

export class CustomEvent extends Event {
  #detail;

  constructor(type, init = undefined) {
    super(...arguments);
    this.#detail = init?.detail ?? null;
  }

  get detail() {
    return this.#detail;
  }
}

// The listeners of a target. A private field could not be given to the global object, which is a target, too.
const listenersOf = new WeakMap();

function listeners(target) {
  const found = listenersOf.get(target);
  if (found === undefined) {
    throw new TypeError("Illegal invocation");
  }
  return found;
}

export class EventTarget {
  constructor() {
    listenersOf.set(this, []);
  }

  addEventListener(type, callback, options = undefined) {
    const target = this ?? globalThis;
    const known = listeners(target);
    needArguments(arguments.length, 2, "EventTarget.addEventListener");
    if (callback === null || callback === undefined) {
      return;
    }
    if (typeof callback !== "function" && typeof callback !== "object") {
      throw new TypeError('The "listener" argument must be an instance of EventListener.');
    }
    const { once = false, passive = false, signal } = typeof options === "object" && options !== null ? options : {};
    const name = domString(type);
    const isCapturing = capturing(options);
    if (signal?.aborted || known.some((listener) => isSame(listener, name, callback, isCapturing))) {
      return;
    }
    known.push({ type: name, callback, isCapturing, isOnce: Boolean(once), isPassive: Boolean(passive) });
    signal?.addEventListener("abort", () => target.removeEventListener(name, callback, isCapturing), { once: true });
  }

  removeEventListener(type, callback, options = undefined) {
    const target = this ?? globalThis;
    const known = listeners(target);
    needArguments(arguments.length, 2, "EventTarget.removeEventListener");
    const name = domString(type);
    const isCapturing = capturing(options);
    listenersOf.set(
      target,
      known.filter((listener) => !isSame(listener, name, callback, isCapturing)),
    );
  }

  dispatchEvent(event) {
    const target = this ?? globalThis;
    const known = listeners(target);
    if (!(event instanceof Event)) {
      throw new TypeError('The "event" argument must be an instance of Event.');
    }
    beginDispatch(event, target);
    for (const listener of known.filter(({ type }) => type === event.type)) {
      // One that an earlier listener removed is not called any more.
      if (!listeners(target).includes(listener)) {
        continue;
      }
      if (listener.isOnce) {
        target.removeEventListener(listener.type, listener.callback, listener.isCapturing);
      }
      setCurrentListener(event, listener.isPassive);
      try {
        if (typeof listener.callback === "function") {
          listener.callback.call(target, event);
        } else {
          listener.callback.handleEvent(event);
        }
      } catch (error) {
        // It is nobody's to catch here: it fails the call, as an uncaught exception.
        globalThis.queueMicrotask(() => {
          throw error;
        });
      }
      setCurrentListener(event, false);
      if (stopsNow(event)) {
        break;
      }
    }
    endDispatch(event);
    return !event.defaultPrevented;
  }
}

// Gives a class an attribute like `onabort`. Its listener keeps its place while the handler is replaced;
// `onSet` is called with a target that gets one.
export function defineHandler(Class, type, onSet = () => {}) {
  const handlers = new WeakMap();
  Object.defineProperty(Class.prototype, `on${type}`, {
    get() {
      listeners(this);
      return handlers.get(this)?.handler ?? null;
    },
    set(value) {
      listeners(this);
      const known = handlers.get(this);
      onSet(this);
      if (typeof value !== "function") {
        this.removeEventListener(type, known?.listener);
        handlers.delete(this);
      } else if (known !== undefined) {
        known.handler = value;
      } else {
        const entry = { handler: value, listener: (event) => entry.handler.call(this, event) };
        handlers.set(this, entry);
        this.addEventListener(type, entry.listener);
      }
    },
    configurable: true,
    enumerable: true,
  });
}

const capturing = (options) => Boolean(typeof options === "object" && options !== null ? options.capture : options);

const isSame = (listener, type, callback, isCapturing) =>
  listener.type === type && listener.callback === callback && listener.isCapturing === isCapturing;

// Makes the global object a target.
export function makeGlobalTarget() {
  const prototype = Object.create(EventTarget.prototype, {
    [Symbol.toStringTag]: { value: "global", configurable: true },
  });
  Object.setPrototypeOf(globalThis, prototype);
  listenersOf.set(globalThis, []);
}
