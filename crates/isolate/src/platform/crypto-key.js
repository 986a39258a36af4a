// CryptoKey: what a script sees of a key, and what it doesn't.

const illegal = Symbol("made by the platform");
let slotsOf;

export class CryptoKey {
  // `material` is the key as the host wants it back; `name`, `hash`, `curve` and `bits` are what operations go by, as the
  // caller may change the object that `algorithm` is.
  #slots;
  // What the caller sees of the usages, and may change.
  #usages = null;

  constructor(token, slots) {
    if (token !== illegal) {
      throw new TypeError("Illegal constructor");
    }
    this.#slots = slots;
  }

  get type() {
    return this.#slots.type;
  }

  get extractable() {
    return this.#slots.extractable;
  }

  get algorithm() {
    return this.#slots.algorithm;
  }

  get usages() {
    this.#usages ??= [...this.#slots.usages];
    return this.#usages;
  }

  static {
    slotsOf = (value) => (#slots in value ? value.#slots : undefined);
  }
}

export const makeKey = (slots) => new CryptoKey(illegal, slots);

// What `structuredClone` makes of a key.
export function copyKey(key, copy) {
  const slots = slotsOf(key);
  return makeKey({ ...slots, algorithm: copy(slots.algorithm) });
}

export const isCryptoKey = (value) => typeof value === "object" && value !== null && slotsOf(value) !== undefined;

export function slots(value, argument = "key") {
  if (!isCryptoKey(value)) {
    throw new TypeError(`${argument} must be a CryptoKey`);
  }
  return slotsOf(value);
}
