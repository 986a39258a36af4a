// What the language leaves to the locale: methods of its own objects, over Intl. Where nothing is asked for it is English as in the
// United States, in UTC.
import { changeCase, compareIn, formatDate, formatNumber } from "tidemark:intl";
import { compareTexts } from "tidemark:requests";

function textOf(value, method) {
  if (value === undefined || value === null) {
    throw new TypeError(`String.prototype.${method} called on null or undefined`);
  }
  return String(value);
}

const timeOf = (date) => Date.prototype.getTime.call(date);

// In the form of methods: without a prototype, with the language's names and lengths.
const methods = [
  [Number.prototype, {
    toLocaleString() {
      return formatNumber(Number.prototype.valueOf.call(this), arguments[0], arguments[1]);
    },
  }],
  [BigInt.prototype, {
    toLocaleString() {
      return formatNumber(BigInt.prototype.valueOf.call(this), arguments[0], arguments[1]);
    },
  }],
  [Date.prototype, {
    toLocaleString() {
      return formatDate(timeOf(this), arguments[0], arguments[1], "any", "all");
    },
    toLocaleDateString() {
      return formatDate(timeOf(this), arguments[0], arguments[1], "date", "date");
    },
    toLocaleTimeString() {
      return formatDate(timeOf(this), arguments[0], arguments[1], "time", "time");
    },
  }],
  [String.prototype, {
    localeCompare(that) {
      const text = textOf(this, "localeCompare");
      const other = String(that);
      if (arguments[1] !== undefined || arguments[2] !== undefined) {
        return compareIn(text, other, arguments[1], arguments[2]);
      }
      return text === other ? 0 : compareTexts(text, other);
    },
    toLocaleLowerCase() {
      return changeCase("lower", textOf(this, "toLocaleLowerCase"), arguments[0]);
    },
    toLocaleUpperCase() {
      return changeCase("upper", textOf(this, "toLocaleUpperCase"), arguments[0]);
    },
  }],
];

// Arrays hand the locale on to what they hold.
function arrayText(array, locales, options) {
  const texts = [];
  for (let index = 0; index < array.length; index++) {
    const value = array[index];
    texts.push(value === undefined || value === null ? "" : String(value.toLocaleString(locales, options)));
  }
  return texts.join(",");
}

export function installLocale() {
  for (const [prototype, functions] of methods) {
    for (const [name, value] of Object.entries(functions)) {
      Object.defineProperty(prototype, name, { value, configurable: true, writable: true });
    }
  }
  for (const prototype of [Array.prototype, Object.getPrototypeOf(Uint8Array.prototype)]) {
    const { toLocaleString } = {
      toLocaleString() {
        return arguments.length === 0 ? own.call(this) : arrayText(this, arguments[0], arguments[1]);
      },
    };
    const own = prototype.toLocaleString;
    Object.defineProperty(prototype, "toLocaleString", { value: toLocaleString, configurable: true, writable: true });
  }
}
