// Random choices that a seed decides, and texts that say everything about what came of them.

export type Draw = (below: number) => number;

export function randomOf(seed: number): Draw {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

export function hex(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i++) text += (bytes[i]! | 256).toString(16).slice(1);
  return text;
}

/** Lists are shorter, unless something was written far behind their end. */
const LENGTH_MAX = 100_000;

/** A number that depends on each element of a list and on its place. */
export function digest(values: ArrayLike<number>): string {
  let sum = 0x811c9dc5;
  const add = (value: number) => {
    sum = Math.imul(sum ^ value ^ (Number.isInteger(value) ? 0 : 0x5bd1e995), 0x01000193);
    sum ^= sum >>> 15;
  };
  if (values.length > LENGTH_MAX) {
    // Of what is between there is nothing.
    for (const place of Object.keys(values)) {
      add(Number(place));
      add(values[Number(place)]!);
    }
  } else {
    for (let i = 0; i < values.length; i++) add(values[i]!);
  }
  return `${values.length}:${sum >>> 0}`;
}

export function attempt(act: () => unknown): string {
  try {
    return String(act());
  } catch (error: any) {
    return `${error?.name}: ${error?.message}`;
  }
}

export async function attemptAsync(act: () => Promise<unknown>): Promise<string> {
  try {
    return String(await act());
  } catch (error: any) {
    return `${error?.name}: ${error?.message}`;
  }
}
