// Timers. Nothing waits in queries and mutations, and nothing can yet elsewhere.
import { unavailable } from "tidemark:errors";

// Calls `callback` after `delayMs`. `what` names who asks, for whoever may not.
export function startTimer(what, _callback, _delayMs) {
  throw unavailable(what, "Sleep");
}

export function setTimeout(callback, delay = 0, ...args) {
  return startTimer("setTimeout()", () => callback(...args), delay);
}

export function setInterval() {
  throw unavailable("setInterval()", "Sleep");
}

export function setImmediate(callback, ...args) {
  return startTimer("setImmediate()", () => callback(...args), 0);
}

// Nothing can have been set.
export const clearTimeout = () => {};
export const clearInterval = () => {};
export const clearImmediate = () => {};
