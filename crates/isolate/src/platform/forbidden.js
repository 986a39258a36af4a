// What exists, so that `typeof` and feature tests work, and throws a clear error when it is used.
import { codedError, unavailable } from "tidemark:errors";
import { noIntl } from "tidemark:locale";

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
