// What exists, so that `typeof` and feature tests work, and throws a clear error when it is used.
import { codedError, unavailable } from "tidemark:errors";

const sleeping = (name) =>
  ({
    [name]() {
      throw unavailable(`${name}()`, "Sleep");
    },
  })[name];

export const setTimeout = sleeping("setTimeout");
export const setInterval = sleeping("setInterval");
export const setImmediate = sleeping("setImmediate");

// Nothing can have been set.
export const clearTimeout = () => {};
export const clearInterval = () => {};
export const clearImmediate = () => {};

const noIntl = (what) => codedError("NoIntl", `${what} is not available: this runtime has no Intl yet.`);

// Without Segmenter and the like, whose absence packages test for.
export const Intl = Object.fromEntries(
  ["Collator", "DateTimeFormat", "DisplayNames", "ListFormat", "Locale", "NumberFormat", "PluralRules", "RelativeTimeFormat"].map(
    (name) => [
      name,
      function () {
        throw noIntl(`Intl.${name}`);
      },
    ],
  ),
);

// Methods that take locales would silently ignore them.
export function refuseLocales() {
  const methods = [
    [Number.prototype, "toLocaleString", 0],
    [BigInt.prototype, "toLocaleString", 0],
    [Date.prototype, "toLocaleString", 0],
    [Date.prototype, "toLocaleDateString", 0],
    [Date.prototype, "toLocaleTimeString", 0],
    [String.prototype, "localeCompare", 1],
    [String.prototype, "toLocaleLowerCase", 0],
    [String.prototype, "toLocaleUpperCase", 0],
  ];
  for (const [prototype, name, position] of methods) {
    const original = prototype[name];
    const { [name]: refusing } = {
      [name](...args) {
        if (args[position] !== undefined || args[position + 1] !== undefined) {
          throw noIntl(`${name}() with locales or options`);
        }
        return original.apply(this, args);
      },
    };
    Object.defineProperty(prototype, name, { value: refusing, configurable: true, writable: true });
  }
}

const stream = (name) =>
  ({
    [name]: class {
      constructor() {
        throw codedError("NoStream", `${name} is not available yet.`);
      }
    },
  })[name];

export const streams = Object.fromEntries(
  [
    "ByteLengthQueuingStrategy",
    "CountQueuingStrategy",
    "ReadableStream",
    "ReadableStreamBYOBReader",
    "ReadableStreamDefaultReader",
    "TextDecoderStream",
    "TextEncoderStream",
    "TransformStream",
    "WritableStream",
    "WritableStreamDefaultWriter",
  ].map((name) => [name, stream(name)]),
);
