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

/** A number that depends on each element of a list and on its place. */
export function digest(values: ArrayLike<number>): string {
  let sum = 0x811c9dc5;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    sum = Math.imul(sum ^ value ^ (Number.isInteger(value) ? 0 : 0x5bd1e995), 0x01000193);
    sum ^= sum >>> 15;
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
