// Random values through the library's conversion, told as text that says everything about them. Which values, a seed decides.
import { mutationGeneric as mutation, queryGeneric as query } from "convex/server";
import { convexToJson, jsonToConvex, v } from "convex/values";

type Draw = (below: number) => number;

function randomOf(seed: number): Draw {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

class Plain {}
class Point {
  x = 1;
  constructor(public y: unknown = 2) {}
}
class List extends Array {}

const numbers = [0, -0, 1, -1, 1.5, NaN, Infinity, -Infinity, 2 ** 31, -(2 ** 31), 2 ** 53, 1e300, 5e-324];
const bigints = [0n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 63n, -(2n ** 63n) - 1n, 12345678901234567890n];
const strings = ["", "a", "é", "\ud800", "😀", "$bytes", "x".repeat(300), "line\nbreak", "\u0000"];
const names = [
  "a", "b", "c", "_id", "_creationTime", "Z", "aa", "a b", "a-b", "0", "7", "10", "1a", "-1", "", "$a", "$integer", "$float", "$bytes",
  "$set", "$map", "$undefined", "$commitTs", "é", "tab\t", "\u007f", "~", "__proto__", "constructor", "toString", "hasOwnProperty", "length",
  "toJSON", "x".repeat(1024), "x".repeat(1025), "valueOf", "then", "map", "\u0000",
];

function plainObject(draw: Draw, depth: number): any {
  const object: any = {};
  for (let i = draw(6); i > 0; i--) {
    object[draw(4) === 0 ? names[draw(names.length)]! : "field" + draw(20)] = valueOf(draw, depth - 1);
  }
  return object;
}

// Anything that a function can come by.
function valueOf(draw: Draw, depth: number): any {
  const kind = draw(depth > 0 ? 100 : 46);
  if (kind < 12) return draw(1000) - 500;
  if (kind < 24) return "text " + draw(100);
  if (kind < 28) return null;
  if (kind < 32) return draw(2) === 0;
  if (kind < 35) return strings[draw(strings.length)];
  if (kind < 37) return numbers[draw(numbers.length)];
  if (kind < 38) return bigints[draw(bigints.length)];
  if (kind < 39) return undefined;
  if (kind < 40) return new Uint8Array([1, 2, draw(256)]).buffer;
  if (kind < 41)
    return [new Uint8Array(3), new Date(draw(1000)), /a/g, Symbol("s"), () => 1, new Float64Array(2), new DataView(new ArrayBuffer(2))][draw(7)];
  if (kind < 42) return [new Set([1]), new Map([[1, 2]]), new Plain(), new Error("e"), new List(), new WeakMap(), Promise.resolve(1)][draw(7)];
  if (kind < 43) return Object.create(null);
  if (kind < 44) return [Object(1), Object("s"), Object(true), globalThis, Math, [], {}][draw(7)];
  if (kind < 46) return (["a" + "b".repeat(draw(50)), "c"] as string[]).join("-");
  if (kind < 70) return plainObject(draw, depth);
  if (kind < 86) return Array.from({ length: draw(6) }, () => valueOf(draw, depth - 1));
  const object = plainObject(draw, depth);
  switch (kind) {
    case 86: return new Point(object);
    case 87: return Object.assign(Object.create(null), object);
    case 88: return Object.freeze(object);
    case 89: Object.defineProperty(object, "hidden", { value: 1, enumerable: false }); return object;
    case 90: Object.defineProperty(object, "read", { get: () => 7, enumerable: true }); return object;
    case 91: Object.defineProperty(object, "read", { get() { throw new Error("the getter throws"); }, enumerable: true }); return object;
    case 92: object.self = object; return object;
    case 93: return new Proxy(object, {});
    case 94: object[Symbol("s")] = 1; return object;
    case 95: object.toJSON = () => "by toJSON"; return object;
    case 96: return Object.setPrototypeOf(object, draw(2) ? { inherited: 1 } : Plain.prototype);
    case 97: { const list: any = [1, , 3]; if (draw(2)) list.extra = 1; if (draw(2)) list.length = 9; return list; }
    case 98: delete object[Object.keys(object)[0] ?? ""]; object.last = 1; return object;
    default: { const list: any[] = [object]; list.push(list.length > draw(3) ? list : 1); return list; }
  }
}

// JSON as the host may send it, and as it never does.
function jsonOf(draw: Draw, depth: number): any {
  if (draw(3) === 0) return valueOf(draw, depth);
  const special = [
    { $integer: "AQAAAAAAAAA=" }, { $float: "AAAAAAAA+H8=" }, { $float: "AAAAAAAA8D8=" }, { $bytes: "AAEC" }, { $integer: "AA==" },
    { $integer: 1 }, { $bytes: null }, { $set: [] }, { $map: [] }, { $commitTs: null }, { $commitTs: 1 }, { $bytes: "AAEC", more: 1 }, { $undefined: null },
  ];
  const make = (depth: number): any =>
    draw(8) === 0
      ? special[draw(special.length)]
      : depth > 0 && draw(2)
        ? draw(2)
          ? Object.fromEntries(Array.from({ length: draw(5) }, () => [draw(6) ? "field" + draw(20) : names[draw(names.length)]!, make(depth - 1)]))
          : Array.from({ length: draw(5) }, () => make(depth - 1))
        : [draw(100), "text", null, true, -0, 1.5][draw(6)];
  const text = JSON.stringify(make(depth));
  return JSON.parse(text);
}

// Text that tells apart everything that can be told apart.
function tell(value: any, seen: any[] = []): string {
  switch (typeof value) {
    case "number": return Object.is(value, -0) ? "-0" : String(value);
    case "bigint": return `${value}n`;
    case "string": return JSON.stringify(value);
    case "object": break;
    default: return String(value);
  }
  if (value === null) return "null";
  if (seen.includes(value)) return `<${seen.indexOf(value)}>`;
  seen.push(value);
  if (value instanceof ArrayBuffer) return `bytes ${[...new Uint8Array(value)]}`;
  const prototype = Object.getPrototypeOf(value);
  const kind = prototype === Object.prototype ? "" : prototype === Array.prototype ? "array " : prototype === null ? "bare " : `${prototype.constructor?.name} `;
  const members = Reflect.ownKeys(value).map((key) => {
    const { value: member, get, set, ...flags } = Object.getOwnPropertyDescriptor(value, key)!;
    return `${String(key)}:${Object.values(flags).map(Number).join("")}${get || set ? "accessor" : tell(member, seen)}`;
  });
  return `${kind}${Object.isExtensible(value) ? "" : "fixed "}{${members.join(",")}}`;
}

function attempt(act: () => any): string {
  try {
    return tell(act());
  } catch (error: any) {
    return `${error?.name}: ${error?.message}`;
  }
}

export const compare = query({
  args: { seed: v.number(), count: v.number() },
  handler: async (_ctx, { seed, count }) => {
    const told: string[] = [];
    for (let number = 0; number < count; number++) {
      const draw = randomOf(seed * 1000 + number);
      const value = valueOf(draw, 1 + draw(5));
      const before = attempt(() => value);
      told.push(attempt(() => convexToJson(value)));
      const json = jsonOf(draw, 1 + draw(5));
      told.push(attempt(() => jsonToConvex(json)));
      // Neither changes what it is given, and what it gives is another object.
      told.push(String(before === attempt(() => value)));
      told.push(attempt(() => typeof value === "object" && value !== null && convexToJson(value) === value));
    }
    return told;
  },
});

// Documents through the database: what is written, patched and read again.
export const store = mutation({
  args: { seed: v.number(), count: v.number() },
  handler: async (ctx, { seed, count }) => {
    const told: string[] = [];
    for (let number = 0; number < count; number++) {
      const draw = randomOf(seed * 1000 + number);
      try {
        const id = await ctx.db.insert("things", plainObject(draw, 4));
        await ctx.db.patch(id, draw(3) ? plainObject(draw, 3) : { field1: undefined, field2: 1 });
        const { _id, _creationTime, ...rest } = (await ctx.db.get(id))!;
        told.push(tell(rest));
      } catch (error: any) {
        told.push(`${error?.name}: ${error?.message}`);
      }
    }
    return told;
  },
});

// The conversion after the app has changed something that the library's code uses. Each runs in a call of its own.
const changes: Record<string, () => void> = {
  nothing: () => {},
  "Array.prototype.map": () => { const map = Array.prototype.map; Array.prototype.map = function (this: any[], f: any) { return map.call(this, f).concat(["mapped"]); } as any; },
  "Array.prototype.sort": () => { Array.prototype.sort = function (this: any) { return this; }; },
  "Array.prototype[Symbol.iterator]": () => { Array.prototype[Symbol.iterator] = function* (this: any) { for (let i = this.length - 1; i >= 0; i--) yield this[i]; } as any; },
  "the array iterator's next": () => {
    const prototype = Object.getPrototypeOf([][Symbol.iterator]());
    const next = prototype.next;
    let calls = 0;
    prototype.next = function () { return calls++ > 3 ? { done: true } : next.call(this); };
  },
  "Array.isArray": () => { Array.isArray = ((value: any) => typeof value === "string") as any; },
  "Array[Symbol.species]": () => { Object.defineProperty(Array, Symbol.species, { get: () => List }); },
  "Array.prototype.constructor": () => { (Array.prototype as any).constructor = { [Symbol.species]: List }; },
  "Object.entries": () => { const entries = Object.entries; Object.entries = ((value: any) => entries(value).slice(1)) as any; },
  "Object.getPrototypeOf": () => { Object.getPrototypeOf = () => Plain.prototype; },
  "Object.is": () => { Object.is = () => true; },
  "Number.isNaN": () => { Number.isNaN = () => true; },
  "Number.isFinite": () => { Number.isFinite = () => false; },
  "String.prototype.startsWith": () => { String.prototype.startsWith = () => true; },
  "String.prototype.charCodeAt": () => { String.prototype.charCodeAt = () => 7; },
  "ArrayBuffer[Symbol.hasInstance]": () => { Object.defineProperty(ArrayBuffer, Symbol.hasInstance, { value: () => true }); },
  "Set[Symbol.hasInstance]": () => { Object.defineProperty(Set, Symbol.hasInstance, { value: () => true }); },
  "the prototype of Map": () => { Object.setPrototypeOf(Map, { [Symbol.hasInstance]: () => true }); },
  "the global Array": () => { (globalThis as any).Array = { isArray: () => true }; },
  "the global Object": () => { (globalThis as any).Object = { entries: () => [["a", 1]], getPrototypeOf: () => null }; },
  "no global Set": () => { delete (globalThis as any).Set; },
  "a global variable that hides Map": () => { (0, eval)("let Map = class { static [Symbol.hasInstance]() { return true; } };"); },
  "a setter on Object.prototype": () => { Object.defineProperty(Object.prototype, "text", { set() {}, configurable: true }); },
  "a getter on Object.prototype": () => { Object.defineProperty(Object.prototype, "other", { get: () => 1, configurable: true }); },
  "a property that can't be written on Object.prototype": () => { Object.defineProperty(Object.prototype, "n", { value: 1, writable: false, configurable: true }); },
  "the prototype of Array.prototype": () => { Object.setPrototypeOf(Array.prototype, Object.create(Object.prototype, { extra: { value: 1, enumerable: true } })); },
  "toJSON on Object.prototype": () => { (Object.prototype as any).toJSON = () => "by toJSON"; },
  "String.prototype.concat": () => { String.prototype.concat = () => "concatenated"; },
};

export const listChanges = query({ args: {}, handler: async () => Object.keys(changes) });

export const changed = query({
  args: { name: v.string() },
  handler: async (_ctx, { name }) => {
    const keep = { stringify: JSON.stringify, ownKeys: Reflect.ownKeys };
    const value = { text: "a", n: 1.5, list: [1, { z: 1, a: 2 }], other: { b: true, a: null } };
    const json = JSON.parse('{"text":"a","n":1.5,"list":[1,{"z":1,"a":2}],"other":{"b":true,"a":null}}');
    // The shapes have been seen before anything changes.
    convexToJson(value);
    jsonToConvex(json);
    changes[name]!();
    const told: string[] = [];
    for (const convert of [() => convexToJson(value), () => jsonToConvex(json), () => convexToJson({ text: 1 }), () => jsonToConvex([[1], 2])]) {
      let text;
      try {
        const result: any = convert();
        text = keep.stringify(result, (_key, member) => (typeof member === "bigint" ? `${member}n` : member)) + (result instanceof List ? " List" : "");
      } catch (error: any) {
        text = `${error?.name}: ${error?.message}`;
      }
      told[told.length] = text;
    }
    throw new Error(told.join("\n"));
  },
});
