// The functions that are native, called with what the packages never pass: they must do what JavaScript does then, whatever it is.
import { queryGeneric as query } from "convex/server";
import { v } from "convex/values";
import * as bcrypt2 from "../lib/bcrypt-2.cjs";
import * as bcrypt3 from "../lib/bcrypt-3.js";
import * as lucia from "../lib/lucia.js";
import * as noble1 from "../lib/noble-1.js";
import * as noble2 from "../lib/noble-2.js";
import { attempt, digest, randomOf, type Draw } from "./draws";

const WORDS_MAX = 200;

function fill<T extends { length: number; [index: number]: number }>(draw: Draw, list: T): T {
  for (let i = 0; i < list.length; i++) list[i] = draw(2 ** 32) | 0;
  return list;
}

/** A list of numbers: mostly of the kind that the packages use, `Right`, over a part of `buffer` or of a buffer of its own. */
function listOf(draw: Draw, Right: any, length: number, buffer?: ArrayBuffer): any {
  const kind = draw(24);
  if (kind < 6 && buffer) return new Right(buffer, 4 * draw(8), draw(buffer.byteLength / 4 - 8));
  if (kind < 18) return fill(draw, new Right(length));
  if (kind === 18) return fill(draw, new (Right === Int32Array ? Uint32Array : Int32Array)(length));
  if (kind === 19) return fill(draw, new Float64Array(length));
  if (kind === 20) return fill(draw, Array.from({ length }, () => 0));
  if (kind === 21) {
    const list = fill(draw, new Right(length));
    (list.buffer as any).transfer();
    return list;
  }
  if (kind === 22) {
    const resizable = new (ArrayBuffer as any)(4 * length, { maxByteLength: 8 * length + 64 });
    const list = fill(draw, draw(2) ? new Right(resizable) : new Right(resizable, 4 * draw(length + 1)));
    resizable.resize(4 * draw(2 * length + 1));
    return list;
  }
  return [null, undefined, "text", {}, Object.defineProperty(fill(draw, new Right(length)), "length", { value: 18 })][draw(5)];
}

function indexOf(draw: Draw): any {
  const kind = draw(20);
  if (kind < 12) return 16 * draw(4);
  if (kind < 16) return draw(WORDS_MAX);
  return [-0, -1, -16, 1.5, NaN, "16", 2 ** 32, 2 ** 31, undefined, null, 1e21][draw(11)];
}

const describe = (value: any) => (value === null || typeof value !== "object" ? String(value) : digest(value));

export const compare = query({
  args: { seed: v.number(), count: v.number() },
  handler: (_ctx, { seed, count }) => {
    const told: string[] = [];
    for (let number = 0; number < count; number++) {
      const draw = randomOf(seed * 1000 + number);
      for (const { BlockMix } of [lucia, noble1, noble2]) {
        const shared = fill(draw, new Uint32Array(WORDS_MAX)).buffer;
        const input = listOf(draw, Uint32Array, 32 * draw(5), shared);
        const out = draw(4) === 0 ? input : listOf(draw, Uint32Array, 32 * draw(5), shared);
        const r = [1, 2, 3, 1, 2, 3, 0, -1, 1.5, NaN, "2", undefined][draw(12)];
        told.push(attempt(() => BlockMix(input, indexOf(draw), out, indexOf(draw), r)));
        told.push([input, out, new Uint32Array(shared)].map(describe).join(" "));
      }
    }
    return told;
  },
});

export const compareKeys = query({
  args: { seed: v.number(), count: v.number() },
  handler: (_ctx, { seed, count }) => {
    const told: string[] = [];
    for (let number = 0; number < count; number++) {
      const draw = randomOf(seed * 1000 + number);
      for (const { _key } of [bcrypt2, bcrypt3]) {
        const shared = fill(draw, new Int32Array(1100)).buffer;
        const subkeys = listOf(draw, Int32Array, [18, 18, 18, 16, 20, 0][draw(6)]!, draw(3) ? undefined : shared);
        const boxes = draw(12) === 0 ? new Int32Array(shared, 4 * 16) : listOf(draw, Int32Array, draw(4) ? 1024 : 1022);
        const length = [1, 16, 5, 72, 73, 100, 0][draw(7)]!;
        const bytes: any = Array.from({ length }, () => draw(draw(4) ? 256 : 2 ** 32) - (draw(4) ? 0 : 1000));
        if (draw(6) === 0) bytes[draw(4)] = [1.5, "7", null, undefined, -1][draw(5)];
        const key = [bytes, bytes, bytes, bytes, new Uint8Array(bytes), "text"][draw(6)];
        told.push(attempt(() => _key(key, subkeys, boxes)));
        told.push([subkeys, boxes, new Int32Array(shared)].map(describe).join(" "));
      }
    }
    return told;
  },
});
