// `Intl`: thin classes over the host (crate intl). A formatter is nothing but the text that says what it is made of, so it may be made
// while modules are imported and stay in the image; the host makes what it needs of it again.
import { intl as ask } from "tidemark:requests";

const states = new WeakMap();

// ---- Arguments ----

const wellFormed = (value) => String(value).toWellFormed();

function localeList(locales) {
  if (locales === undefined) {
    return [];
  }
  if (typeof locales === "string" || isLocale(locales)) {
    return [tagOf(locales)];
  }
  if (locales === null) {
    throw new TypeError("Cannot convert undefined or null to object");
  }
  const list = Object(locales);
  const tags = [];
  for (let index = 0, length = Math.min(Number(list.length) || 0, Number.MAX_SAFE_INTEGER); index < length; index++) {
    if (index in list) {
      const tag = list[index];
      if (typeof tag !== "string" && (typeof tag !== "object" || tag === null)) {
        throw new TypeError("Language ID should be string or object.");
      }
      const canonical = tagOf(tag);
      if (!tags.includes(canonical)) {
        tags.push(canonical);
      }
    }
  }
  return tags;
}

const isLocale = (value) => typeof value === "object" && value !== null && states.get(value)?.kind === "Locale";
const tagOf = (value) => (isLocale(value) ? states.get(value).described.tag : ask("canonical", wellFormed(value)));

function optionsObject(options) {
  if (options === undefined) {
    return Object.create(null);
  }
  if (typeof options !== "object" && typeof options !== "function" || options === null) {
    throw new TypeError("Incorrect options: an object is expected");
  }
  return options;
}

// Null is refused, other values become objects.
function coercedOptions(options) {
  if (options === null) {
    throw new TypeError("Cannot convert undefined or null to object");
  }
  return options === undefined ? Object.create(null) : Object(options);
}

function oneOf(options, name, values, read) {
  let value = options[name];
  if (value === undefined) {
    return;
  }
  value = String(value);
  if (values && !values.includes(value)) {
    throw new RangeError(`Value ${value} out of range for ${read.what} options property ${name}`);
  }
  read[name] = value;
}

function flag(options, name, read) {
  const value = options[name];
  if (value !== undefined) {
    read[name] = Boolean(value);
  }
}

function number(options, name, min, max, read) {
  let value = options[name];
  if (value === undefined) {
    return;
  }
  value = Number(value);
  if (!(value >= min && value <= max)) {
    throw new RangeError(`${name} value is out of range.`);
  }
  read[name] = Math.floor(value);
}

function type(options, name, read) {
  let value = options[name];
  if (value === undefined) {
    return;
  }
  value = String(value);
  if (!/^[a-z0-9]{3,8}(-[a-z0-9]{3,8})*$/i.test(value)) {
    throw new RangeError(`Invalid ${name} : ${value}`);
  }
  read[name] = value.toLowerCase();
}

const matchers = ["lookup", "best fit"];

// A number as the host reads it: JavaScript's text of it, or a decimal literal, of which nothing is lost.
function numberText(value) {
  if (typeof value === "object" && value !== null || typeof value === "function") {
    value = toPrimitive(value);
  }
  if (typeof value === "bigint") {
    return String(value);
  }
  if (typeof value === "string") {
    const text = value.trim();
    if (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,5})?$/i.test(text)) {
      return text;
    }
  }
  const number = Number(value);
  return Object.is(number, -0) ? "-0" : String(number);
}

function toPrimitive(value) {
  const exotic = value[Symbol.toPrimitive];
  if (exotic !== undefined && exotic !== null) {
    return exotic.call(value, "number");
  }
  const plain = value.valueOf();
  return typeof plain === "object" && plain !== null ? value.toString() : plain;
}

function timeOf(date) {
  const time = date === undefined ? Date.now() : Number(date);
  return Number.isFinite(time) && Math.abs(time) <= 8.64e15 ? Math.trunc(time) + 0 : NaN;
}

// ---- Formatters ----

const whatOf = (kind, locales, options) => JSON.stringify({ type: kind, locales, options: { ...options, what: undefined } });

// Makes a state; throws what is wrong with it.
function make(kind, type, locales, options, order) {
  const what = whatOf(type, locales, options);
  return { kind, what, order, resolved: JSON.parse(ask(`resolve ${what}`, "")) };
}

function stateOf(value, kind, method) {
  const state = typeof value === "object" && value !== null ? states.get(value) : undefined;
  if (state?.kind !== kind) {
    throw new TypeError(`Method Intl.${kind}.prototype.${method} called on incompatible receiver ${incompatible(value)}`);
  }
  return state;
}

function incompatible(value) {
  try {
    return typeof value === "object" && value !== null ? `#<${value.constructor.name}>` : String(value);
  } catch {
    return "#<Object>";
  }
}

const hidden = (target, members) => {
  for (const [name, descriptor] of Object.entries(Object.getOwnPropertyDescriptors(members))) {
    Object.defineProperty(target, name, { ...descriptor, enumerable: false });
  }
};

// A constructor of Intl, which gives each instance the state that `makeState` returns.
function define(name, length, isCallable, makeState, prototype, isLocaleAware) {
  function constructor(locales, options) {
    if (new.target === undefined && !isCallable) {
      throw new TypeError(`Constructor Intl.${name} requires 'new'`);
    }
    const self = new.target === undefined ? Object.create(constructor.prototype) : this;
    states.set(self, makeState(locales, options));
    return self;
  }
  Object.defineProperty(constructor, "name", { value: name, configurable: true });
  Object.defineProperty(constructor, "length", { value: length, configurable: true });
  hidden(constructor.prototype, prototype);
  Object.defineProperty(constructor.prototype, Symbol.toStringTag, { value: `Intl.${name}`, configurable: true });
  Object.defineProperty(constructor, "prototype", { writable: false });
  if (isLocaleAware) {
    hidden(constructor, { supportedLocalesOf });
    hidden(constructor.prototype, {
      resolvedOptions() {
        const { order, resolved } = stateOf(this, name, "resolvedOptions");
        const shown = {};
        for (const key of order) {
          if (Object.hasOwn(resolved, key)) {
            shown[key] = resolved[key];
          }
        }
        return shown;
      },
    });
  }
  return constructor;
}

function supportedLocalesOf(locales) {
  const tags = localeList(locales);
  oneOf(coercedOptions(arguments[1]), "localeMatcher", matchers, { what: "Intl" });
  return JSON.parse(ask("supported", JSON.stringify(tags)));
}

// A getter for a function that is bound to its formatter and made once.
function boundOnce(kind, name, bind) {
  return function () {
    const state = stateOf(this, kind, name);
    if (state.bound === undefined) {
      state.bound = bind(state);
      Object.defineProperty(state.bound, "name", { value: "" });
    }
    return state.bound;
  };
}

// ---- Numbers ----

const digitOptions = (options, read) => {
  number(options, "minimumIntegerDigits", 1, 21, read);
  number(options, "minimumFractionDigits", 0, 100, read);
  number(options, "maximumFractionDigits", 0, 100, read);
  number(options, "minimumSignificantDigits", 1, 21, read);
  number(options, "maximumSignificantDigits", 1, 21, read);
  number(options, "roundingIncrement", 1, 5000, read);
  oneOf(options, "roundingMode", ["ceil", "floor", "expand", "trunc", "halfCeil", "halfFloor", "halfExpand", "halfTrunc", "halfEven"], read);
  oneOf(options, "roundingPriority", ["auto", "morePrecision", "lessPrecision"], read);
  oneOf(options, "trailingZeroDisplay", ["auto", "stripIfInteger"], read);
};
const digitOrder = ["minimumIntegerDigits", "minimumFractionDigits", "maximumFractionDigits", "minimumSignificantDigits", "maximumSignificantDigits"];
const roundingOrder = ["roundingIncrement", "roundingMode", "roundingPriority", "trailingZeroDisplay"];

function numberOptions(given) {
  const options = coercedOptions(given);
  const read = { what: "Intl.NumberFormat" };
  oneOf(options, "localeMatcher", matchers, read);
  delete read.localeMatcher;
  type(options, "numberingSystem", read);
  oneOf(options, "style", ["decimal", "percent", "currency", "unit"], read);
  oneOf(options, "currency", undefined, read);
  if (read.currency !== undefined && !/^[a-z]{3}$/i.test(read.currency)) {
    throw new RangeError(`Invalid currency code : ${read.currency}`);
  }
  oneOf(options, "currencyDisplay", ["code", "symbol", "narrowSymbol", "name"], read);
  oneOf(options, "currencySign", ["standard", "accounting"], read);
  oneOf(options, "unit", undefined, read);
  oneOf(options, "unitDisplay", ["short", "narrow", "long"], read);
  oneOf(options, "notation", ["standard", "scientific", "engineering", "compact"], read);
  digitOptions(options, read);
  oneOf(options, "compactDisplay", ["short", "long"], read);
  const grouping = options.useGrouping;
  if (grouping !== undefined) {
    if (grouping === true) {
      read.useGrouping = "always";
    } else if (grouping === false || grouping === null || grouping === 0 || grouping === "") {
      read.useGrouping = "false";
    } else if (!["true", "false"].includes(String(grouping))) {
      oneOf({ useGrouping: grouping }, "useGrouping", ["min2", "auto", "always"], read);
    }
  }
  oneOf(options, "signDisplay", ["auto", "never", "always", "exceptZero", "negative"], read);
  return read;
}

const numberOrder = [
  "locale", "numberingSystem", "style", "currency", "currencyDisplay", "currencySign", "unit", "unitDisplay", ...digitOrder, "useGrouping",
  "notation", "compactDisplay", "signDisplay", ...roundingOrder,
];

const rangeOf = (state, method, start, end, convert) => {
  if (start === undefined || end === undefined) {
    throw new TypeError(`startRange or endRange is undefined`);
  }
  return ask(`${method} ${state.what}`, JSON.stringify([convert(start), convert(end)]));
};

const NumberFormat = define(
  "NumberFormat", 0, true,
  (locales, options) => make("NumberFormat", "number", localeList(locales), numberOptions(options), numberOrder),
  {
    formatToParts(value) {
      return JSON.parse(ask(`formatToParts ${stateOf(this, "NumberFormat", "formatToParts").what}`, numberText(value)));
    },
    formatRange(start, end) {
      return rangeOf(stateOf(this, "NumberFormat", "formatRange"), "formatRange", start, end, numberText);
    },
    formatRangeToParts(start, end) {
      return JSON.parse(rangeOf(stateOf(this, "NumberFormat", "formatRangeToParts"), "formatRangeToParts", start, end, numberText));
    },
  },
  true,
);
Object.defineProperty(NumberFormat.prototype, "format", {
  get: boundOnce("NumberFormat", "format", ({ what }) => (value) => ask(`format ${what}`, numberText(value))),
  configurable: true,
});

const PluralRules = define(
  "PluralRules", 0, false,
  (locales, given) => {
    const tags = localeList(locales);
    const options = coercedOptions(given);
    const read = { what: "Intl.PluralRules" };
    oneOf(options, "localeMatcher", matchers, read);
    delete read.localeMatcher;
    oneOf(options, "type", ["cardinal", "ordinal"], read);
    digitOptions(options, read);
    return make("PluralRules", "plural", tags, read, ["locale", "type", ...digitOrder, "pluralCategories", ...roundingOrder]);
  },
  {
    select(value) {
      const { what } = stateOf(this, "PluralRules", "select");
      return ask(`select ${what}`, JSON.stringify([numberText(Number(value))]));
    },
    selectRange(start, end) {
      return rangeOf(stateOf(this, "PluralRules", "selectRange"), "selectRange", start, end, (value) => numberText(Number(value)));
    },
  },
  true,
);

// ---- Dates ----

const dateFields = ["weekday", "era", "year", "month", "day", "dayPeriod", "hour", "minute", "second", "fractionalSecondDigits", "timeZoneName"];
const names = ["narrow", "short", "long"];
const numbers = ["2-digit", "numeric"];

function dateOptions(given, required, defaults) {
  const options = coercedOptions(given);
  const read = { what: "Intl.DateTimeFormat" };
  oneOf(options, "localeMatcher", matchers, read);
  delete read.localeMatcher;
  type(options, "calendar", read);
  type(options, "numberingSystem", read);
  flag(options, "hour12", read);
  oneOf(options, "hourCycle", ["h11", "h12", "h23", "h24"], read);
  const zone = options.timeZone;
  if (zone !== undefined) {
    read.timeZone = wellFormed(zone);
  }
  oneOf(options, "weekday", names, read);
  oneOf(options, "era", names, read);
  oneOf(options, "year", numbers, read);
  oneOf(options, "month", [...numbers, ...names], read);
  oneOf(options, "day", numbers, read);
  oneOf(options, "dayPeriod", names, read);
  oneOf(options, "hour", numbers, read);
  oneOf(options, "minute", numbers, read);
  oneOf(options, "second", numbers, read);
  number(options, "fractionalSecondDigits", 1, 3, read);
  oneOf(options, "timeZoneName", ["short", "long", "shortOffset", "longOffset", "shortGeneric", "longGeneric"], read);
  oneOf(options, "formatMatcher", ["basic", "best fit"], read);
  delete read.formatMatcher;
  oneOf(options, "dateStyle", ["full", "long", "medium", "short"], read);
  oneOf(options, "timeStyle", ["full", "long", "medium", "short"], read);
  const has = (fields) => fields.some((name) => read[name] !== undefined);
  if (has(["dateStyle", "timeStyle"])) {
    const field = dateFields.find((name) => read[name] !== undefined);
    if (field !== undefined) {
      throw new TypeError(`Can't set option ${field} when ${read.dateStyle === undefined ? "timeStyle" : "dateStyle"} is used`);
    }
    if (required === "date" && read.timeStyle !== undefined || required === "time" && read.dateStyle !== undefined) {
      throw new TypeError(`Invalid option : ${required === "date" ? "timeStyle" : "dateStyle"}`);
    }
    return read;
  }
  const dates = ["weekday", "year", "month", "day"];
  const times = ["dayPeriod", "hour", "minute", "second", "fractionalSecondDigits"];
  const needed = required === "date" ? dates : required === "time" ? times : [...dates, ...times];
  if (!has(needed)) {
    for (const name of [...(defaults === "time" ? [] : dates.slice(1)), ...(defaults === "date" ? [] : times.slice(1, 4))]) {
      read[name] = "numeric";
    }
  }
  return read;
}

const dateOrder = ["locale", "calendar", "numberingSystem", "timeZone", "hourCycle", "hour12", ...dateFields, "dateStyle", "timeStyle"];

const DateTimeFormat = define(
  "DateTimeFormat", 0, true,
  (locales, options) => make("DateTimeFormat", "date", localeList(locales), dateOptions(options, "any", "date"), dateOrder),
  {
    formatToParts(date) {
      return JSON.parse(ask(`formatToParts ${stateOf(this, "DateTimeFormat", "formatToParts").what}`, String(timeOf(date))));
    },
    formatRange(start, end) {
      return rangeOf(stateOf(this, "DateTimeFormat", "formatRange"), "formatRange", start, end, timeOf);
    },
    formatRangeToParts(start, end) {
      return JSON.parse(rangeOf(stateOf(this, "DateTimeFormat", "formatRangeToParts"), "formatRangeToParts", start, end, timeOf));
    },
  },
  true,
);
Object.defineProperty(DateTimeFormat.prototype, "format", {
  get: boundOnce("DateTimeFormat", "format", ({ what }) => (date) => ask(`format ${what}`, String(timeOf(date)))),
  configurable: true,
});

// ---- Lists, times from now ----

function stringsOf(list) {
  if (list === undefined) {
    return [];
  }
  const texts = [];
  for (const text of list) {
    if (typeof text !== "string") {
      throw new TypeError("Iterable yielded a value that is not a string");
    }
    texts.push(text.toWellFormed());
  }
  return texts;
}

const ListFormat = define(
  "ListFormat", 0, false,
  (locales, given) => {
    const tags = localeList(locales);
    const options = optionsObject(given);
    const read = { what: "Intl.ListFormat" };
    oneOf(options, "localeMatcher", matchers, read);
    delete read.localeMatcher;
    oneOf(options, "type", ["conjunction", "disjunction", "unit"], read);
    oneOf(options, "style", ["long", "short", "narrow"], read);
    return make("ListFormat", "list", tags, read, ["locale", "type", "style"]);
  },
  {
    format(list) {
      return ask(`format ${stateOf(this, "ListFormat", "format").what}`, JSON.stringify(stringsOf(list)));
    },
    formatToParts(list) {
      return JSON.parse(ask(`formatToParts ${stateOf(this, "ListFormat", "formatToParts").what}`, JSON.stringify(stringsOf(list))));
    },
  },
  true,
);

const relative = (value, method, amount, unit) => {
  const { what } = stateOf(value, "RelativeTimeFormat", method);
  return ask(`${method} ${what}`, JSON.stringify([numberText(Number(amount)), wellFormed(unit)]));
};

const RelativeTimeFormat = define(
  "RelativeTimeFormat", 0, false,
  (locales, given) => {
    const tags = localeList(locales);
    const options = coercedOptions(given);
    const read = { what: "Intl.RelativeTimeFormat" };
    oneOf(options, "localeMatcher", matchers, read);
    delete read.localeMatcher;
    type(options, "numberingSystem", read);
    oneOf(options, "style", ["long", "short", "narrow"], read);
    oneOf(options, "numeric", ["always", "auto"], read);
    return make("RelativeTimeFormat", "relative", tags, read, ["locale", "style", "numeric", "numberingSystem"]);
  },
  {
    format(amount, unit) {
      return relative(this, "format", amount, unit);
    },
    formatToParts(amount, unit) {
      return JSON.parse(relative(this, "formatToParts", amount, unit));
    },
  },
  true,
);

// ---- The order of strings, their segments ----

function collatorOptions(given) {
  const options = coercedOptions(given);
  const read = { what: "Intl.Collator" };
  oneOf(options, "usage", ["sort", "search"], read);
  oneOf(options, "localeMatcher", matchers, read);
  delete read.localeMatcher;
  type(options, "collation", read);
  flag(options, "numeric", read);
  oneOf(options, "caseFirst", ["upper", "lower", "false"], read);
  oneOf(options, "sensitivity", ["base", "accent", "case", "variant"], read);
  flag(options, "ignorePunctuation", read);
  return read;
}

const compare = (what, one, other) =>
  one === other ? 0 : Number(ask(`compare ${what}`, JSON.stringify([one.toWellFormed(), other.toWellFormed()])));

const Collator = define(
  "Collator", 0, true,
  (locales, options) =>
    make("Collator", "collator", localeList(locales), collatorOptions(options), [
      "locale", "usage", "sensitivity", "ignorePunctuation", "collation", "numeric", "caseFirst",
    ]),
  {},
  true,
);
Object.defineProperty(Collator.prototype, "compare", {
  get: boundOnce("Collator", "compare", ({ what }) => (one, other) => compare(what, String(one), String(other))),
  configurable: true,
});

// Segments of a text: `ends` has for each its end and whether it is a word.
function segmentAt({ input, ends, areWords }, place) {
  const index = place === 0 ? 0 : ends[place * 2 - 2];
  const data = { segment: input.slice(index, ends[place * 2]), index, input };
  if (areWords) {
    data.isWordLike = ends[place * 2 + 1] === 1;
  }
  return data;
}

class Segments {
  #state;

  constructor(state) {
    this.#state = state;
  }

  containing(index) {
    const at = Math.trunc(Number(index)) || 0;
    const { input, ends } = this.#state;
    if (at < 0 || at >= input.length) {
      return undefined;
    }
    let low = 0;
    let high = ends.length / 2 - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ends[middle * 2] > at) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return segmentAt(this.#state, low);
  }

  [Symbol.iterator]() {
    const state = this.#state;
    let place = 0;
    return Object.setPrototypeOf(
      {
        next() {
          return place * 2 < state.ends.length ? { value: segmentAt(state, place++), done: false } : { value: undefined, done: true };
        },
      },
      segmentIterator,
    );
  }
}
const segmentIterator = Object.create(Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]())), {
  [Symbol.toStringTag]: { value: "Segmenter String Iterator", configurable: true },
});

const Segmenter = define(
  "Segmenter", 0, false,
  (locales, given) => {
    const tags = localeList(locales);
    const options = optionsObject(given);
    const read = { what: "Intl.Segmenter" };
    oneOf(options, "localeMatcher", matchers, read);
    delete read.localeMatcher;
    oneOf(options, "granularity", ["grapheme", "word", "sentence"], read);
    return make("Segmenter", "segmenter", tags, read, ["locale", "granularity"]);
  },
  {
    segment(text) {
      const { what, resolved } = stateOf(this, "Segmenter", "segment");
      const input = String(text);
      const ends = JSON.parse(ask(`segment ${what}`, input.toWellFormed()));
      return new Segments({ input, ends, areWords: resolved.granularity === "word" });
    },
  },
  true,
);

// ---- Names, tags ----

const DisplayNames = define(
  "DisplayNames", 2, false,
  (locales, given) => {
    const tags = localeList(locales);
    if (given === undefined) {
      throw new TypeError("Required option \"type\" must not be undefined");
    }
    const options = optionsObject(given);
    const read = { what: "Intl.DisplayNames" };
    oneOf(options, "localeMatcher", matchers, read);
    delete read.localeMatcher;
    oneOf(options, "style", ["narrow", "short", "long"], read);
    oneOf(options, "type", ["language", "region", "script", "currency", "calendar", "dateTimeField"], read);
    if (read.type === undefined) {
      throw new TypeError("Required option \"type\" must not be undefined");
    }
    oneOf(options, "fallback", ["code", "none"], read);
    oneOf(options, "languageDisplay", ["dialect", "standard"], read);
    return make("DisplayNames", "names", tags, read, ["locale", "style", "type", "fallback", "languageDisplay"]);
  },
  {
    of(code) {
      const { what } = stateOf(this, "DisplayNames", "of");
      return JSON.parse(ask(`of ${what}`, JSON.stringify([wellFormed(code)]))) ?? undefined;
    },
  },
  true,
);

const describeTag = (tag) => JSON.parse(ask("describe", tag));

function localeState(tag, given) {
  if (typeof tag !== "string" && (typeof tag !== "object" || tag === null)) {
    throw new TypeError("First argument to Intl.Locale constructor can't be empty or missing");
  }
  const options = coercedOptions(given);
  const read = { what: "Intl.Locale" };
  for (const name of ["language", "script", "region"]) {
    oneOf(options, name, undefined, read);
  }
  type(options, "calendar", read);
  type(options, "collation", read);
  oneOf(options, "hourCycle", ["h11", "h12", "h23", "h24"], read);
  oneOf(options, "caseFirst", ["upper", "lower", "false"], read);
  flag(options, "numeric", read);
  type(options, "numberingSystem", read);
  return { kind: "Locale", described: describeTag(ask(`locale ${tagOf(tag)}`, JSON.stringify({ ...read, what: undefined }))) };
}

const described = (value, member) => stateOf(value, "Locale", member).described;
const Locale = define("Locale", 1, false, localeState, {
  toString() {
    return described(this, "toString").tag;
  },
  maximize() {
    return new Locale(described(this, "maximize").maximized);
  },
  minimize() {
    return new Locale(described(this, "minimize").minimized);
  },
}, false);
for (const member of [
  "language", "script", "region", "baseName", "calendar", "caseFirst", "collation", "hourCycle", "numeric", "numberingSystem", "calendars",
  "collations", "hourCycles", "numberingSystems", "textInfo", "timeZones", "weekInfo",
]) {
  const get = {
    get [member]() {
      const value = described(this, member)[member] ?? undefined;
      return typeof value === "object" ? structured(value) : value;
    },
  };
  hidden(Locale.prototype, get);
  // The same as methods, as the standard has them by now.
  if (/s$|Info$/.test(member)) {
    const name = `get${member[0].toUpperCase()}${member.slice(1)}`;
    hidden(Locale.prototype, {
      [name]() {
        const value = described(this, name)[member] ?? undefined;
        return structured(value);
      },
    });
  }
}
function structured(value) {
  if (value?.firstDay !== undefined) {
    const { firstDay, weekend, minimalDays } = value;
    return { firstDay, weekend: [...weekend], minimalDays };
  }
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}

export const Intl = Object.create(Object.prototype, { [Symbol.toStringTag]: { value: "Intl", configurable: true } });
hidden(Intl, {
  getCanonicalLocales(locales) {
    return localeList(locales);
  },
  supportedValuesOf(key) {
    return JSON.parse(ask("values", wellFormed(key)));
  },
  DateTimeFormat,
  NumberFormat,
  Collator,
  PluralRules,
  RelativeTimeFormat,
  ListFormat,
  Locale,
  DisplayNames,
  Segmenter,
});

// ---- What the language's own objects ask for ----

export const formatNumber = (value, locales, options) =>
  ask(`format ${whatOf("number", localeList(locales), numberOptions(options))}`, numberText(value));

export function formatDate(time, locales, options, required, defaults) {
  const what = whatOf("date", localeList(locales), dateOptions(options, required, defaults));
  if (Number.isNaN(time)) {
    ask(`resolve ${what}`, "");
    return "Invalid Date";
  }
  return ask(`format ${what}`, String(time));
}

export const compareIn = (one, other, locales, options) => {
  const what = whatOf("collator", localeList(locales), collatorOptions(options));
  if (one === other) {
    ask(`resolve ${what}`, "");
  }
  return compare(what, one, other);
};

// Lithuanian, Turkish, Azerbaijani and Greek have rules of their own; all others share the language's.
export function changeCase(method, text, locales) {
  const [tag] = localeList(locales);
  if (tag !== undefined && /^(az|el|lt|tr)(-|$)/.test(tag)) {
    return ask(`${method} ${tag}`, text.toWellFormed());
  }
  return method === "upper" ? text.toUpperCase() : text.toLowerCase();
}
