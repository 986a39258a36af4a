// What exists, so that `typeof` and feature tests work, and throws a clear error when it is used.
import { noIntl } from "tidemark:locale";

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
