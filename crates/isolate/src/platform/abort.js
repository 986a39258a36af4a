// AbortController and AbortSignal.
import { Event, EventTarget, defineHandler, trust } from "tidemark:events";
import { startTimer } from "tidemark:timers";

let abortSignal;
let follow;
let isConstructible = false;

export class AbortSignal extends EventTarget {
  #aborted = false;
  #reason = undefined;
  // Of a signal that `any` made: those that it follows, none of which follows another. Otherwise null.
  #sources = null;
  // Those that follow this one.
  #followers = [];

  static {
    abortSignal = (signal, reason) => {
      if (signal.#aborted) {
        return;
      }
      const why = reason === undefined ? new DOMException("This operation was aborted", "AbortError") : reason;
      // All have their reason before anybody hears of it.
      const all = [signal, ...signal.#followers.filter((follower) => !follower.#aborted)];
      for (const each of all) {
        each.#aborted = true;
        each.#reason = why;
        each.#followers = [];
      }
      for (const each of all) {
        each.dispatchEvent(trust(new Event("abort")));
      }
    };
    follow = (follower, signals) => {
      const sources = new Set(signals.flatMap((signal) => signal.#sources ?? [signal]));
      follower.#sources = [...sources];
      for (const source of sources) {
        source.#followers.push(follower);
      }
    };
  }

  constructor() {
    if (!isConstructible) {
      throw new TypeError("Illegal constructor");
    }
    super();
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

  static abort(reason = undefined) {
    const signal = newSignal();
    abortSignal(signal, reason);
    return signal;
  }

  static any(signals) {
    const all = [...signals];
    if (!all.every((signal) => signal instanceof AbortSignal)) {
      throw new TypeError("AbortSignal.any() needs signals");
    }
    const result = newSignal();
    const aborted = all.find((signal) => signal.aborted);
    if (aborted) {
      abortSignal(result, aborted.reason);
    } else {
      follow(result, all);
    }
    return result;
  }

  static timeout(delay) {
    if (typeof delay !== "number") {
      throw new TypeError("The delay must be a number of milliseconds");
    }
    if (!Number.isInteger(delay) || delay < 0 || delay >= 2 ** 32) {
      throw new RangeError(`The delay must be an integer between 0 and ${2 ** 32 - 1}, not ${delay}`);
    }
    const signal = newSignal();
    startTimer(
      "AbortSignal.timeout()",
      () => abortSignal(signal, new DOMException("The operation was aborted due to timeout", "TimeoutError")),
      delay,
    );
    return signal;
  }
}

defineHandler(AbortSignal, "abort");

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

  abort(reason = undefined) {
    abortSignal(this.#signal, reason);
  }
}
