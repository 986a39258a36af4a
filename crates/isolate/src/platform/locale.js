// What the language leaves to the locale, for the one there is: English as in the United States, in UTC. What asks for
// another locale or a format that is not here is refused, never answered with something else.
import { codedError } from "tidemark:errors";
import { compareTexts } from "tidemark:requests";

export const noIntl = (what) => codedError("NoIntl", `${what} is not available: this runtime has no Intl yet.`);

function checkLocales(method, locales, known) {
  const list = locales === undefined ? [] : typeof locales === "string" ? [locales] : Array.from(locales, String);
  const unknown = list.find((locale) => !known.test(locale));
  if (unknown !== undefined) {
    throw noIntl(`${method}() with the locale "${unknown}"`);
  }
}

// The options as an object with the names in `known` alone, each a function that says whether a value is known.
function readOptions(method, options, known) {
  if (options === undefined) {
    return {};
  }
  const read = {};
  const given = Object(options);
  for (const name in given) {
    const value = given[name];
    if (value === undefined) {
      continue;
    }
    if (!Object.hasOwn(known, name) || !known[name](value)) {
      throw noIntl(`${method}() with the option ${name}: ${typeof value === "string" ? JSON.stringify(value) : String(value)}`);
    }
    read[name] = value;
  }
  return read;
}

const isDigits = (value) => Number.isInteger(value) && value >= 0 && value <= 100;
const isBoolean = (value) => typeof value === "boolean";

// ---- Numbers ----

const numberLocales = /^en(-(US|GB|CA|AU))?$/i;
const numberOptions = {
  minimumFractionDigits: isDigits,
  maximumFractionDigits: isDigits,
  useGrouping: isBoolean,
};

const group = (digits) => digits.replace(/\B(?=(\d{3})+$)/g, ",");

// The shortest decimal of a number that is not negative: all its digits, and how many of them stand before the point.
function decimalOf(number) {
  const [mantissa, exponent = "0"] = String(number).split("e");
  const [whole, fraction = ""] = mantissa.split(".");
  let point = whole.length + Number(exponent);
  let digits = whole + fraction;
  if (point < 1) {
    digits = "0".repeat(1 - point) + digits;
    point = 1;
  }
  return { digits: digits.padEnd(point, "0"), point };
}

function formatNumber(number, method, locales, options) {
  checkLocales(method, locales, numberLocales);
  const { minimumFractionDigits, maximumFractionDigits, useGrouping = true } = readOptions(method, options, numberOptions);
  const least = minimumFractionDigits ?? Math.min(0, maximumFractionDigits ?? 0);
  const most = maximumFractionDigits ?? Math.max(3, least);
  if (least > most) {
    throw new RangeError("maximumFractionDigits value is out of range.");
  }
  if (Number.isNaN(number)) {
    return "NaN";
  }
  const sign = number < 0 || Object.is(number, -0) ? "-" : "";
  if (Math.abs(number) === Infinity) {
    return `${sign}∞`;
  }
  let { digits, point } = decimalOf(Math.abs(number));
  const kept = point + most;
  if (digits.length > kept) {
    // Halves go away from zero.
    const rounded = (BigInt(digits.slice(0, kept)) + (digits[kept] >= "5" ? 1n : 0n)).toString().padStart(kept, "0");
    point += rounded.length - kept;
    digits = rounded;
  }
  const whole = digits.slice(0, point).replace(/^0+(?=\d)/, "");
  const fraction = digits.slice(point).replace(/0+$/, "").padEnd(least, "0");
  return `${sign}${useGrouping ? group(whole) : whole}${fraction && `.${fraction}`}`;
}

// ---- Dates ----

const dateLocales = /^en(-US)?$/i;
const dateOptions = { timeZone: (value) => value === "UTC" };

function formatDate(date, method, locales, options, hasDate, hasTime) {
  const time = Date.prototype.getTime.call(date);
  checkLocales(method, locales, dateLocales);
  readOptions(method, options, dateOptions);
  if (Number.isNaN(time)) {
    return "Invalid Date";
  }
  const copy = new Date(time);
  const year = copy.getUTCFullYear();
  const two = (number) => String(number).padStart(2, "0");
  const hours = copy.getUTCHours();
  const parts = [];
  if (hasDate) {
    // Years before the first count backwards.
    parts.push(`${copy.getUTCMonth() + 1}/${copy.getUTCDate()}/${year > 0 ? year : 1 - year}`);
  }
  if (hasTime) {
    // CLDR has a narrow space that does not break before AM; V8 keeps the one that was always there.
    const clock = `${hours % 12 || 12}:${two(copy.getUTCMinutes())}:${two(copy.getUTCSeconds())}`;
    parts.push(`${clock} ${hours < 12 ? "AM" : "PM"}`);
  }
  return parts.join(", ");
}

// ---- Strings ----

const compareLocales = /^en(-[A-Z]{2})?$/i;
const sensitivities = ["variant", "base", "accent", "case"];
const compareOptions = {
  numeric: isBoolean,
  sensitivity: (value) => sensitivities.includes(value),
  usage: (value) => value === "sort",
  ignorePunctuation: (value) => value === false,
  caseFirst: (value) => value === "false",
};
const ownCaseRules = /^(az|lt|tr)(-|$)/i;

function checkCaseLocales(method, locales) {
  const first = locales === undefined ? undefined : typeof locales === "string" ? locales : Array.from(locales, String)[0];
  if (first !== undefined && ownCaseRules.test(first)) {
    throw noIntl(`${method}() with the locale "${first}"`);
  }
}

function textOf(value, method) {
  if (value === undefined || value === null) {
    throw new TypeError(`String.prototype.${method} called on null or undefined`);
  }
  return String(value);
}

// In the form of methods: without a prototype, with the language's names and lengths.
const methods = [
  [Number.prototype, {
    toLocaleString() {
      return formatNumber(Number.prototype.valueOf.call(this), "toLocaleString", arguments[0], arguments[1]);
    },
  }],
  [BigInt.prototype, {
    toLocaleString() {
      const value = BigInt.prototype.valueOf.call(this);
      checkLocales("toLocaleString", arguments[0], numberLocales);
      const { minimumFractionDigits = 0, useGrouping = true } = readOptions("toLocaleString", arguments[1], numberOptions);
      const digits = String(value < 0n ? -value : value);
      const fraction = minimumFractionDigits > 0 ? `.${"0".repeat(minimumFractionDigits)}` : "";
      return `${value < 0n ? "-" : ""}${useGrouping ? group(digits) : digits}${fraction}`;
    },
  }],
  [Date.prototype, {
    toLocaleString() {
      return formatDate(this, "toLocaleString", arguments[0], arguments[1], true, true);
    },
    toLocaleDateString() {
      return formatDate(this, "toLocaleDateString", arguments[0], arguments[1], true, false);
    },
    toLocaleTimeString() {
      return formatDate(this, "toLocaleTimeString", arguments[0], arguments[1], false, true);
    },
  }],
  [String.prototype, {
    localeCompare(that) {
      const text = textOf(this, "localeCompare");
      const other = String(that);
      checkLocales("localeCompare", arguments[1], compareLocales);
      const { numeric = false, sensitivity = "variant" } = readOptions("localeCompare", arguments[2], compareOptions);
      return text === other ? 0 : compareTexts(sensitivities.indexOf(sensitivity) + (numeric ? 4 : 0), text, other);
    },
    toLocaleLowerCase() {
      const text = textOf(this, "toLocaleLowerCase");
      checkCaseLocales("toLocaleLowerCase", arguments[0]);
      return text.toLowerCase();
    },
    toLocaleUpperCase() {
      const text = textOf(this, "toLocaleUpperCase");
      checkCaseLocales("toLocaleUpperCase", arguments[0]);
      return text.toUpperCase();
    },
  }],
];

export function installLocale() {
  for (const [prototype, functions] of methods) {
    for (const [name, value] of Object.entries(functions)) {
      Object.defineProperty(prototype, name, { value, configurable: true, writable: true });
    }
  }
}
