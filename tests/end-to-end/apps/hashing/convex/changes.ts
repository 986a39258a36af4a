// Hashing after an app has changed something that the packages' code uses. Each change runs in a call of its own.
import { scrypt as scrypt2, scryptAsync as scryptAsync2 } from "noble-hashes-2/scrypt.js";
import bcrypt from "bcryptjs";
import { queryGeneric as query } from "convex/server";
import { v } from "convex/values";
import { scrypt as scrypt1, scryptAsync as scryptAsync1 } from "@noble/hashes/scrypt";
import { _crypt as cryptOfFewerRounds } from "../lib/bcrypt-other.js";
import { scrypt as scryptOfOtherRotation } from "../lib/lucia-other.js";
import { scrypt as scryptOfLucia } from "../lib/lucia.js";
import { attempt, attemptAsync, hex } from "./draws";

const words = Int32Array.prototype as any;
const typedArray = Object.getPrototypeOf(Int32Array.prototype);
const global = globalThis as any;

/** What a change has seen. */
const seen: string[] = [];
const see = (what: string) => void (seen.length < 50 && seen.push(what));

class SeenPromise<T> extends Promise<T> {
  constructor(executor: any) {
    super(executor);
    see("Promise");
  }
}

const changes: Record<string, () => void> = {
  nothing: () => {},
  "the global Promise": () => { global.Promise = SeenPromise; },
  "a global variable that hides Promise": () => { (0, eval)("let Promise = class { constructor() { throw new Error('hidden'); } };"); },
  "Promise.prototype.constructor": () => { Object.defineProperty(Promise.prototype, "constructor", { get: () => { see("constructor"); return SeenPromise; } }); },
  "Promise.prototype.then": () => { const then = Promise.prototype.then; Promise.prototype.then = function (this: any, ...both: any) { see("then"); return then.apply(this, both); } as any; },
  "the global Uint8Array": () => { const Bytes = Uint8Array; global.Uint8Array = class extends Bytes { constructor(...all: [any]) { super(...all); see(`Uint8Array ${this.length}`); } }; },
  "the global Uint32Array": () => { global.Uint32Array = Int32Array; },
  "the global Int32Array": () => { global.Int32Array = class extends Int32Array {}; },
  "no global Int32Array": () => { delete global.Int32Array; },
  "the typed arrays' fill": () => { const fill = typedArray.fill; typedArray.fill = function (this: any, ...all: any) { see(`fill ${this.length}`); return fill.apply(this, all); }; },
  "the typed arrays' length": () => { const { get } = Object.getOwnPropertyDescriptor(typedArray, "length")!; Object.defineProperty(typedArray, "length", { get(this: any) { const length = get!.call(this); return length === 1024 ? 1022 : length; } }); },
  "a length of Int32Array.prototype": () => { Object.defineProperty(words, "length", { get(this: any) { return this.byteLength > 100 ? 1000 : 18; } }); },
  "the prototype of Int32Array.prototype": () => { Object.setPrototypeOf(words, Object.create(typedArray, { length: { get: () => 16 } })); },
  "Math.floor": () => { const floor = Math.floor; Math.floor = (number) => { see("floor"); return floor(number); }; },
  "Object.prototype.dkLen": () => { (Object.prototype as any).dkLen = 16; },
  "crypto.subtle.deriveBits": () => { const derive = crypto.subtle.deriveBits; (crypto.subtle as any).deriveBits = function (this: any, ...all: any) { see("deriveBits"); return (derive as any).apply(this, all); }; },
};

const N = 16, r = 2, p = 2;
const bytes = new TextEncoder().encode("salt and password");

async function hashInAllWays(): Promise<string[]> {
  const progress: number[] = [];
  const options = { N, r, p, onProgress: (share: number) => void progress.push(share) };
  return [
    await attemptAsync(async () => hex(await scryptOfLucia(bytes, bytes, { N, r, p }))),
    attempt(() => hex(scrypt1(bytes, bytes, options))),
    await attemptAsync(async () => hex(await scryptAsync1(bytes, bytes, options))),
    attempt(() => hex(scrypt2(bytes, bytes, options))),
    await attemptAsync(async () => hex(await scryptAsync2(bytes, bytes, options))),
    progress.join(),
    attempt(() => bcrypt.hashSync("password", "$2b$04$abcdefghijklmnopqrstuu")),
  ];
}

export const list = query({ args: {}, handler: () => Object.keys(changes) });

export const changed = query({
  args: { name: v.string() },
  handler: async (_ctx, { name }) => {
    changes[name]!();
    const told = await hashInAllWays();
    return [...told, ...seen];
  },
});

/** What lucia reads of its options, in which order, and what it says to those that it does not like. */
const options: Record<string, () => any> = {
  plain: () => ({ N, r, p }),
  "with a length": () => ({ N, r, p, dkLen: 7 }),
  "a length of null": () => ({ N, r, p, dkLen: null }),
  "a length of nothing": () => ({ N, r, p, dkLen: undefined }),
  "no length at all": () => ({ N, r, p, dkLen: 0 }),
  "a negative length": () => ({ N, r, p, dkLen: -1 }),
  "a broken length": () => ({ N, r, p, dkLen: 7.5 }),
  getters: () => ({ get N() { see("N"); return N; }, get r() { see("r"); return r; }, get p() { see("p"); return p; }, get dkLen() { see("dkLen"); return 9; } }),
  "a proxy": () => new Proxy({ N, r, p }, { get: (target: any, name) => { see(String(name)); return target[name]; } }),
  inherited: () => Object.create({ N, r, p, dkLen: 5 }),
  "an inherited length": () => Object.assign(Object.create({ dkLen: 5 }), { N, r, p }),
  "of no prototype": () => Object.assign(Object.create(null), { N, r, p }),
  "a class": () => new (class { N = N; r = r; p = p; })(),
  "an array": () => Object.assign([], { N, r, p }),
  texts: () => ({ N: "16", r: "2", p: "2" }),
  nothing: () => ({}),
  undefined: () => undefined,
  null: () => null,
  "N of 0": () => ({ N: 0, r, p }),
  "N of 1": () => ({ N: 1, r, p }),
  "N of 3": () => ({ N: 3, r, p }),
  "N of -2": () => ({ N: -2, r, p }),
  "N of 2": () => ({ N: 2, r, p }),
  "N of -2147483648": () => ({ N: -2147483648, r, p }),
  "N too large for r": () => ({ N: 65536, r: 1, p: 1 }),
  "r of 0": () => ({ N, r: 0, p }),
  "r of -1": () => ({ N, r: -1, p }),
  "r of 1.5": () => ({ N, r: 1.5, p }),
  "p of 0": () => ({ N, r, p: 0 }),
  "p of -1": () => ({ N, r, p: -1 }),
  "p of 1.5": () => ({ N, r, p: 1.5 }),
  "too much memory": () => ({ N: 2 ** 20, r: 8, p: 2 }),
  "far too much memory": () => ({ N: 2 ** 30, r: 2 ** 30, p: 2 ** 30 }),
};

export const listOptions = query({ args: {}, handler: () => Object.keys(options) });

export const withOptions = query({
  args: { name: v.string() },
  handler: async (_ctx, { name }) => {
    const its = options[name]!();
    const told = [await attemptAsync(async () => hex(await scryptOfLucia(bytes, bytes, its)))];
    const few: any[] = [[], [bytes], [bytes, bytes], ["text", bytes, its], [bytes, null, its]];
    for (const all of few) told.push(await attemptAsync(async () => hex(await (scryptOfLucia as any)(...all))));
    return [...told, ...seen];
  },
});

/** How often others come to run meanwhile. */
export const turns = query({
  args: {},
  handler: async () => {
    const told: number[] = [];
    // What the host does takes no turns that could be counted.
    crypto.subtle.importKey = (async () => ({})) as any;
    crypto.subtle.deriveBits = async (_algorithm: any, _key: any, length: any) => new Uint8Array(length / 8).fill(7).buffer;
    for (const act of [() => scryptOfLucia(bytes, bytes, { N, r, p }), () => scryptAsync1(bytes, bytes, { N, r, p, asyncTick: 0 }), () => scryptAsync2(bytes, bytes, { N, r, p })]) {
      let isOver = false, count = 0;
      const over = act().then(() => { isOver = true; });
      while (!isOver && count < 10_000) { await undefined; count++; }
      await over;
      told.push(count);
    }
    return told;
  },
});

/** Functions with the bytecode of the packages' that call others under the same names. */
export const others = query({
  args: {},
  handler: async () => [
    hex(await scryptOfOtherRotation(bytes, bytes, { N, r, p })),
    hex(await scryptOfLucia(bytes, bytes, { N, r, p })),
    cryptOfFewerRounds([1, 2, 3, 0], Array.from({ length: 16 }, (_, i) => i), 4).join(),
  ],
});
