// AbortController and AbortSignal.
import { unavailable } from "tidemark:errors";
import { Event, EventTarget, trust } from "tidemark:events";

let abortSignal;
let isConstructible = false;

export class AbortSignal extends EventTarget {
  #aborted = false;
  #reason = undefined;
  #onabort = null;

  static {
    abortSignal = (signal, reason) => {
      if (signal.#aborted) {
        return;
      }
      signal.#aborted = true;
      signal.#reason = reason === undefined ? new DOMException("This operation was aborted", "AbortError") : reason;
      signal.dispatchEvent(trust(new Event("abort")));
    };
  }

  constructor() {
    if (!isConstructible) {
      throw new TypeError("Illegal constructor");
    }
    super();
  }

  get onabort() {
    return this.#onabort;
  }

  set onabort(handler) {
    this.removeEventListener("abort", this.#onabort);
    this.#onabort = typeof handler === "function" ? handler : null;
    this.addEventListener("abort", this.#onabort);
  }

  get aborted() {
    return this.#aborted;
  }

  get reason() {
    return this.#reason;
  }

  throwIfAborted() {
    if (this.#aborted) {
      throw this.#reason;
    }
  }

  static abort(reason) {
    const signal = newSignal();
    abortSignal(signal, reason);
    return signal;
  }

  static any(signals) {
    const all = [...signals];
    const result = newSignal();
    const aborted = all.find((signal) => signal.aborted);
    if (aborted) {
      abortSignal(result, aborted.reason);
    }
    for (const signal of all) {
      signal.addEventListener("abort", () => abortSignal(result, signal.reason), { once: true });
    }
    return result;
  }

  static timeout() {
    throw unavailable("AbortSignal.timeout()", "Sleep");
  }
}

function newSignal() {
  isConstructible = true;
  try {
    return new AbortSignal();
  } finally {
    isConstructible = false;
  }
}

export class AbortController {
  #signal = newSignal();

  get signal() {
    return this.#signal;
  }

  abort(reason) {
    abortSignal(this.#signal, reason);
  }
}
