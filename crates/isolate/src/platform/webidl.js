// Conversions of arguments that the standards' interfaces share.

export function needArguments(given, needed, name) {
  if (given < needed) {
    throw new TypeError(`${name}: ${needed} argument${needed === 1 ? "" : "s"} required, but only ${given} present`);
  }
}

// A template, unlike `String()`, refuses symbols.
export const domString = (value) => `${value}`;

export const usvString = (value) => `${value}`.toWellFormed();

export function byteString(value) {
  const text = `${value}`;
  if (/[^\0-\xff]/.test(text)) {
    throw new TypeError("Cannot convert the text to a ByteString: it has a character with a value above 255");
  }
  return text;
}

export const isObject = (value) => (typeof value === "object" && value !== null) || typeof value === "function";

// The members of an optional argument.
export function dictionary(value, name) {
  if (value === undefined || value === null) {
    return {};
  }
  if (!isObject(value)) {
    throw new TypeError(`${name} must be an object`);
  }
  return value;
}

// One of the texts that an enumeration has, or undefined.
export function member(init, name, values) {
  if (init[name] === undefined) {
    return undefined;
  }
  const text = domString(init[name]);
  if (!values.includes(text)) {
    throw new TypeError(`${text} is not a value of ${name}: ${values.join(", ")}`);
  }
  return text;
}

const iteratorPrototype = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()));

// Gives a class the methods of an iterable interface. `entryAt(object, index)` is the pair at a place as of now, or
// undefined behind the last one; what is added or removed meanwhile counts.
export function makeIterable(Class, entryAt) {
  class Iterator {
    #object;
    #select;
    #index = 0;

    constructor(object, select) {
      // Refuses a foreign `this` at once.
      entryAt(object, 0);
      this.#object = object;
      this.#select = select;
    }

    next() {
      const entry = entryAt(this.#object, this.#index);
      if (entry === undefined) {
        return { value: undefined, done: true };
      }
      this.#index++;
      return { value: this.#select(entry), done: false };
    }
  }
  Object.setPrototypeOf(Iterator.prototype, iteratorPrototype);
  delete Iterator.prototype.constructor;
  Object.defineProperties(Iterator.prototype, {
    next: { enumerable: true },
    [Symbol.toStringTag]: { value: `${Class.name} Iterator`, configurable: true },
  });

  const methods = {
    entries() {
      return new Iterator(this, ([name, value]) => [name, value]);
    },
    forEach(callback, thisValue = undefined) {
      entryAt(this, 0);
      if (typeof callback !== "function") {
        throw new TypeError(`${Class.name}.forEach needs a function`);
      }
      for (let index = 0, entry; (entry = entryAt(this, index)) !== undefined; index++) {
        callback.call(thisValue, entry[1], entry[0], this);
      }
    },
    keys() {
      return new Iterator(this, ([name]) => name);
    },
    values() {
      return new Iterator(this, ([, value]) => value);
    },
  };
  for (const [name, value] of Object.entries(methods)) {
    Object.defineProperty(Class.prototype, name, { value, configurable: true, writable: true });
  }
  Object.defineProperty(Class.prototype, Symbol.iterator, { value: methods.entries, configurable: true, writable: true });
}
