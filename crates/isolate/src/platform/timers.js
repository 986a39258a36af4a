// Timers. The host waits; time passes in actions only.
import { operation } from "tidemark:host";
import { unavailable } from "tidemark:errors";
import { phase } from "tidemark:phase";
import { syscall } from "tidemark:requests";

const DELAY_MS_MAX = 2 ** 31 - 1;

let lastNumber = 0;

// The numbers of those that are set.
const timers = new Set();

// Calls `callback` after `delayMs`, and again and again if it `repeats`, until the timer of the number that is returned is
// stopped. `what` names who asks, for whoever may not.
export function startTimer(what, callback, delayMs, repeats = false) {
  if (phase() !== "action") {
    throw unavailable(what, "Sleep");
  }
  if (typeof callback !== "function") {
    throw new TypeError(`${what} needs a function`);
  }
  const timer = ++lastNumber;
  timers.add(timer);
  runTimer(timer, callback, delayMs, repeats);
  return timer;
}

// What the callback throws is nobody's to catch: it fails the call, as an uncaught exception.
async function runTimer(timer, callback, delayMs, repeats) {
  do {
    await operation("tidemark/sleep", JSON.stringify({ timer, delayMs }));
    if (!timers.has(timer)) {
      return;
    }
    if (!repeats) {
      timers.delete(timer);
    }
    callback();
  } while (timers.has(timer));
}

export function stopTimer(timer) {
  if (timers.delete(timer)) {
    syscall("tidemark/wake", JSON.stringify({ timer }));
  }
}

// As browsers and Node.js have it.
function delayOf(value) {
  const delay = Number(value);
  return delay >= 1 && delay <= DELAY_MS_MAX ? Math.trunc(delay) : 1;
}

const bind = (callback, args) =>
  typeof callback !== "function" || args.length === 0 ? callback : () => callback(...args);

export function setTimeout(callback, delay = undefined, ...args) {
  return startTimer("setTimeout()", bind(callback, args), delayOf(delay));
}

export function setInterval(callback, delay = undefined, ...args) {
  return startTimer("setInterval()", bind(callback, args), delayOf(delay), true);
}

export function setImmediate(callback, ...args) {
  return startTimer("setImmediate()", bind(callback, args), 0);
}

export const clearTimeout = (timer = undefined) => stopTimer(timer);
export const clearInterval = (timer = undefined) => stopTimer(timer);
export const clearImmediate = (timer = undefined) => stopTimer(timer);
