// Passwords as apps hash them: with the packages' own exports.
import { scrypt as scrypt2, scryptAsync as scryptAsync2 } from "noble-hashes-2/scrypt.js";
import bcrypt3 from "bcryptjs";
import bcrypt2 from "bcryptjs-2";
import { actionGeneric as action, mutationGeneric as mutation, queryGeneric as query } from "convex/server";
import { v } from "convex/values";
import { LegacyScrypt, Scrypt } from "lucia";
import { scrypt as scrypt1, scryptAsync as scryptAsync1 } from "@noble/hashes/scrypt";
import { scrypt as scryptOfLucia } from "../lib/lucia.js";
import { hex } from "./draws";

const parameters = { N: v.number(), r: v.number(), p: v.number(), dkLen: v.optional(v.number()) };

export const derive = query({
  args: { password: v.string(), salt: v.string(), parameters: v.object(parameters) },
  handler: async (_ctx, { password, salt, parameters }) => {
    const bytes = (text: string) => new TextEncoder().encode(text);
    return {
      lucia: hex(await scryptOfLucia(bytes(password), bytes(salt), parameters)),
      noble1: hex(scrypt1(password, salt, parameters)),
      nobleAsync1: hex(await scryptAsync1(password, salt, parameters)),
      noble2: hex(scrypt2(password, salt, parameters)),
      nobleAsync2: hex(await scryptAsync2(password, salt, parameters)),
    };
  },
});

/** One of them alone, for parameters that take long. */
export const deriveOne = mutation({
  args: { which: v.string(), password: v.string(), salt: v.string(), parameters: v.object(parameters) },
  handler: async (_ctx, { which, password, salt, parameters }) => {
    const bytes = (text: string) => new TextEncoder().encode(text);
    const ways: Record<string, () => Uint8Array | Promise<Uint8Array>> = {
      lucia: () => scryptOfLucia(bytes(password), bytes(salt), parameters),
      noble1: () => scrypt1(password, salt, parameters),
      nobleAsync1: () => scryptAsync1(password, salt, parameters),
      noble2: () => scrypt2(password, salt, parameters),
      nobleAsync2: () => scryptAsync2(password, salt, parameters),
    };
    return hex(await ways[which]!());
  },
});

export const crypt = query({
  args: { password: v.string(), salt: v.string() },
  handler: (_ctx, { password, salt }) => [bcrypt3.hashSync(password, salt), bcrypt2.hashSync(password, salt)],
});

export const cryptOne = mutation({
  args: { which: v.number(), password: v.string(), rounds: v.number() },
  handler: (_ctx, { which, password, rounds }) => {
    const bcrypt = which === 2 ? bcrypt2 : bcrypt3;
    const hash = bcrypt.hashSync(password, rounds);
    return [hash, bcrypt.compareSync(password, hash), bcrypt.compareSync(password + "x", hash)];
  },
});

async function cryptLater(password: string, rounds: number) {
  const hash = await bcrypt3.hash(password, rounds);
  return [hash, await bcrypt3.compare(password, hash)];
}

export const cryptInAction = action({
  args: { password: v.string(), rounds: v.number() },
  handler: (_ctx, { password, rounds }) => cryptLater(password, rounds),
});

export const cryptInMutation = mutation({
  args: { password: v.string(), rounds: v.number() },
  handler: (_ctx, { password, rounds }) => cryptLater(password, rounds),
});

export const signUp = mutation({
  args: { name: v.string(), password: v.string() },
  handler: async (ctx, { name, password }) => {
    const hash = await new Scrypt().hash(password);
    await ctx.db.insert("users", { name, hash });
    return hash;
  },
});

export const signIn = mutation({
  args: { name: v.string(), password: v.string() },
  handler: async (ctx, { name, password }) => {
    const user = await ctx.db.query("users").withIndex("by_name", (q: any) => q.eq("name", name)).unique();
    return new Scrypt().verify(user!.hash, password);
  },
});

export const legacy = mutation({
  args: { password: v.string() },
  handler: async (_ctx, { password }) => {
    const scrypt = new LegacyScrypt();
    const hash = await scrypt.hash(password);
    return [hash, await scrypt.verify(hash, password)];
  },
});
