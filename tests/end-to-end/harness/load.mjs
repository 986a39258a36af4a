// Many callers at once with random transactions on few keys, and what they saw: a history for the checker.
import { callFunction } from "./functions.mjs";

const CALLERS = 16;
/** So many keys are in use at a time. They move on, so that there are always keys that are not there yet. */
const WINDOW = 6;
const TRANSACTIONS_PER_KEY = 25;

/** Random numbers that a seed repeats (the generator "mulberry32"). */
export function randomFrom(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return { below: (limit) => Math.floor(next() * limit), chance: (probability) => next() < probability };
}

/**
 * Runs so many transactions of apps/registers and returns the history. `onProgress` is told how many are done.
 * A transaction without an answer is of unknown outcome; its caller waits for `ready()` and goes on with another.
 */
export async function runLoad(tidemark, { seed, transactions, onProgress = () => {}, ready = async () => {} }) {
  const random = randomFrom(seed);
  const history = [];
  let next = 0;
  const caller = async () => {
    while (next < transactions) {
      const id = next++;
      const steps = randomSteps(random, id);
      history.push(await transact(tidemark, id, steps, random.chance(0.05)));
      onProgress(history.length);
      if (history.at(-1).outcome === "unknown") {
        await ready();
      }
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));

  // At the end everything is read once more, a window at a time: what was acknowledged must still be there.
  const keys = Math.floor(transactions / TRANSACTIONS_PER_KEY) + WINDOW;
  for (let from = 0; from < keys; from += WINDOW) {
    history.push(await transact(tidemark, next++, [{ kind: "range", from, to: from + WINDOW - 1 }], false));
  }
  return history;
}

function randomSteps(random, id) {
  const first = Math.floor(id / TRANSACTIONS_PER_KEY);
  const onlyReads = random.chance(0.3);
  return Array.from({ length: 1 + random.below(4) }, (_, number) => {
    const key = first + random.below(WINDOW);
    if (!onlyReads && random.chance(0.5)) {
      return { kind: "append", key, value: `${id}.${number}` };
    }
    return random.chance(0.4) ? { kind: "range", from: key, to: key + random.below(3) } : { kind: "read", key };
  });
}

async function transact(tidemark, id, steps, fail) {
  const [kind, path, args] = steps.some((step) => step.kind === "append") || fail
    ? ["mutation", "lists:transact", { steps, fail }]
    : ["query", "lists:observe", { steps }];
  const start = now();
  let answer;
  try {
    answer = await callFunction(tidemark, kind, path, args);
  } catch (error) {
    if (!(error instanceof TypeError)) {
      throw error;
    }
    return { id, start, end: null, outcome: "unknown", operations: intended(steps) };
  }
  const end = now();
  if (answer.status === 200 && answer.body.status === "success") {
    return { id, start, end, outcome: "committed", operations: observed(steps, answer.body.value) };
  }
  if (!fail && answer.body.code !== "OptimisticConcurrencyControlFailure") {
    throw new Error(`transaction ${id} failed unexpectedly: ${JSON.stringify(answer)}`);
  }
  return { id, start, end, outcome: "failed", operations: intended(steps) };
}

const now = () => Math.round(performance.now() * 1000);

function intended(steps) {
  const appends = steps.filter(({ kind }) => kind === "append");
  return appends.map(({ key, value }) => ({ append: { key, value } }));
}

/** A range is a read of each key in it, of those too that were not there. */
function observed(steps, answers) {
  return steps.flatMap((step, index) => {
    const lists = new Map();
    for (const { key, values } of answers[index]) {
      // Two documents of one key are a fault; one list made of both shows it to the checker.
      lists.set(key, [...(lists.get(key) ?? []), ...values]);
    }
    const read = (key) => ({ read: { key, values: lists.get(key) ?? [] } });
    if (step.kind === "range") {
      return Array.from({ length: step.to - step.from + 1 }, (_, offset) => read(step.from + offset));
    }
    const { key, value } = step;
    return step.kind === "append" ? [read(key), { append: { key, value } }] : [read(key)];
  });
}
