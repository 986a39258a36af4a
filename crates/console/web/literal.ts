// Values as people write them: JavaScript's literals, with `5n` for 64 bits and `bytes("…")` for bytes in base 64.
import { convexToJson, type Value } from "convex/values";

const IDENTIFIER = /^[A-Za-z_$][\w$]*$/;

export function bytesToBase64(bytes: ArrayBuffer): string {
  let text = "";
  for (const byte of new Uint8Array(bytes)) {
    text += String.fromCharCode(byte);
  }
  return btoa(text);
}

/** On one line without `indent`, otherwise each field on its own where that is easier to read. */
export function print(value: Value | undefined, indent = false, before = ""): string {
  if (value === undefined) {
    return "undefined";
  }
  if (value === null || typeof value === "boolean") {
    return String(value);
  }
  if (typeof value === "string") {
    return JSON.stringify(value);
  }
  if (typeof value === "bigint") {
    return `${value}n`;
  }
  if (typeof value === "number") {
    return Object.is(value, -0) ? "-0" : String(value);
  }
  if (value instanceof ArrayBuffer) {
    return `bytes(${JSON.stringify(bytesToBase64(value))})`;
  }
  const deeper = `${before}  `;
  const parts = Array.isArray(value)
    ? value.map((member) => print(member, indent, deeper))
    : Object.entries(value).map(([name, field]) => `${IDENTIFIER.test(name) ? name : JSON.stringify(name)}: ${print(field, indent, deeper)}`);
  const [open, close] = Array.isArray(value) ? ["[", "]"] : ["{", "}"];
  if (parts.length === 0) {
    return open + close;
  }
  const space = Array.isArray(value) ? "" : " ";
  const line = `${open}${space}${parts.join(", ")}${space}${close}`;
  if (!indent || (Array.isArray(value) && line.length < 72 && !line.includes("\n"))) {
    return line;
  }
  return `${open}\n${parts.map((part) => `${deeper}${part},\n`).join("")}${before}${close}`;
}

/** Reads one value. Throws an error that says where it could not. */
export function parse(text: string): Value {
  const reader = new Reader(text);
  const value = reader.value();
  reader.end();
  // Refuses what is written like a value and is none: fields with names that no field can have.
  convexToJson(value);
  return value;
}

class Reader {
  #at = 0;

  constructor(readonly text: string) {}

  value(): Value {
    this.#skip();
    const next = this.text[this.#at];
    if (next === undefined) {
      throw this.#wrong("A value is missing");
    }
    if (next === "{") {
      return this.#object();
    }
    if (next === "[") {
      return this.#array();
    }
    if (next === '"' || next === "'" || next === "`") {
      return this.#string(next);
    }
    const number = this.#match(/-?(?:\d+n|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|Infinity)/y);
    if (number !== null) {
      return number.endsWith("n") ? this.#integer(number.slice(0, -1)) : Number(number);
    }
    const word = this.#match(/[A-Za-z_$][\w$]*/y);
    switch (word) {
      case "true":
        return true;
      case "false":
        return false;
      case "null":
        return null;
      case "NaN":
        return Number.NaN;
      case "bytes":
        return this.#bytes();
      case null:
        throw this.#wrong(`“${next}” does not begin a value`);
      default:
        this.#at -= word.length;
        throw this.#wrong(`“${word}” is no value: texts stand in quotes`);
    }
  }

  end() {
    this.#skip();
    if (this.#at < this.text.length) {
      throw this.#wrong("Something follows the value");
    }
  }

  #integer(digits: string): bigint {
    const value = BigInt(digits);
    if (BigInt.asIntN(64, value) !== value) {
      throw this.#wrong("An integer has 64 bits at most");
    }
    return value;
  }

  #bytes(): ArrayBuffer {
    this.#expect("(");
    this.#skip();
    const quote = this.text[this.#at] ?? "";
    const text = this.#string(quote);
    this.#expect(")");
    try {
      return Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer;
    } catch {
      throw this.#wrong("Bytes are written in base 64");
    }
  }

  #object(): Record<string, Value> {
    const object: Record<string, Value> = {};
    this.#expect("{");
    while (!this.#takes("}")) {
      const quote = this.text[this.#at];
      const name = quote === '"' || quote === "'" ? this.#string(quote) : this.#match(/[A-Za-z_$][\w$]*/y);
      if (name === null) {
        throw this.#wrong("The name of a field is missing");
      }
      if (Object.hasOwn(object, name)) {
        throw this.#wrong(`The field ${name} is there twice`);
      }
      this.#expect(":");
      object[name] = this.value();
      if (!this.#takes(",")) {
        this.#expect("}");
        break;
      }
    }
    return object;
  }

  #array(): Value[] {
    const array: Value[] = [];
    this.#expect("[");
    while (!this.#takes("]")) {
      array.push(this.value());
      if (!this.#takes(",")) {
        this.#expect("]");
        break;
      }
    }
    return array;
  }

  #string(quote: string): string {
    if (!['"', "'", "`"].includes(quote)) {
      throw this.#wrong("A text in quotes is missing");
    }
    let value = "";
    for (this.#at += 1; ; this.#at += 1) {
      const character = this.text[this.#at];
      if (character === undefined || (character === "\n" && quote !== "`")) {
        throw this.#wrong("The text has no closing quote");
      }
      if (character === quote) {
        this.#at += 1;
        return value;
      }
      value += character === "\\" ? this.#escaped() : character;
    }
  }

  #escaped(): string {
    this.#at += 1;
    const character = this.text[this.#at] ?? "";
    const simple: Record<string, string> = { n: "\n", r: "\r", t: "\t", b: "\b", f: "\f", 0: "\0" };
    if (character === "u") {
      const digits = this.text.slice(this.#at + 1, this.#at + 5);
      if (!/^[\da-fA-F]{4}$/.test(digits)) {
        throw this.#wrong("\\u is followed by four hexadecimal digits");
      }
      this.#at += 4;
      return String.fromCharCode(Number.parseInt(digits, 16));
    }
    return simple[character] ?? character;
  }

  #skip() {
    this.#match(/(?:\s|\/\/[^\n]*)*/y);
  }

  #takes(character: string): boolean {
    this.#skip();
    const is = this.text[this.#at] === character;
    if (is) {
      this.#at += 1;
      this.#skip();
    }
    return is;
  }

  #expect(character: string) {
    if (!this.#takes(character)) {
      throw this.#wrong(`“${character}” is missing`);
    }
  }

  #match(pattern: RegExp): string | null {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.text)?.[0] ?? null;
    this.#at += found?.length ?? 0;
    return found;
  }

  #wrong(what: string): Error {
    const lines = this.text.slice(0, this.#at).split("\n");
    return new Error(`${what} (line ${lines.length}, column ${(lines.at(-1)?.length ?? 0) + 1}).`);
  }
}
