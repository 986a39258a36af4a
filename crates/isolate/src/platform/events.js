// Event and EventTarget, without a tree of targets.

// Reads a private field of an event; set by its class.
let stopsNow;

export class Event {
  #stopsNow = false;
  #isPrevented = false;
  type;
  bubbles;
  cancelable;
  composed;
  target = null;
  currentTarget = null;
  timeStamp = 0;

  static {
    stopsNow = (event) => event.#stopsNow;
  }

  constructor(type, { bubbles = false, cancelable = false, composed = false } = {}) {
    this.type = String(type);
    this.bubbles = Boolean(bubbles);
    this.cancelable = Boolean(cancelable);
    this.composed = Boolean(composed);
  }

  get defaultPrevented() {
    return this.#isPrevented;
  }

  preventDefault() {
    this.#isPrevented ||= this.cancelable;
  }

  stopPropagation() {}

  stopImmediatePropagation() {
    this.#stopsNow = true;
  }
}

export class CustomEvent extends Event {
  constructor(type, init = {}) {
    super(type, init);
    this.detail = init.detail ?? null;
  }
}

export class EventTarget {
  #listeners = [];

  addEventListener(type, callback, options = {}) {
    const { once = false, signal } = typeof options === "object" && options !== null ? options : {};
    if (callback === null || callback === undefined || signal?.aborted) {
      return;
    }
    if (this.#listeners.some((known) => known.type === type && known.callback === callback)) {
      return;
    }
    this.#listeners.push({ type: String(type), callback, once: Boolean(once) });
    signal?.addEventListener("abort", () => this.removeEventListener(type, callback), { once: true });
  }

  removeEventListener(type, callback) {
    this.#listeners = this.#listeners.filter((known) => known.type !== type || known.callback !== callback);
  }

  dispatchEvent(event) {
    event.target = this;
    event.currentTarget = this;
    for (const listener of this.#listeners.filter(({ type }) => type === event.type)) {
      if (listener.once) {
        this.removeEventListener(listener.type, listener.callback);
      }
      if (typeof listener.callback === "function") {
        listener.callback.call(this, event);
      } else {
        listener.callback.handleEvent(event);
      }
      if (stopsNow(event)) {
        break;
      }
    }
    event.currentTarget = null;
    return !event.defaultPrevented;
  }
}
