// What queries and mutations have to be free of, so that they can be run again.
import { v } from "convex/values";
import { mutation, query } from "./_generated/server";

const imported = { random: Math.random(), time: Date.now() };
let runs = 0;

/** What time does in a function of one kind, and what it has for random numbers. */
const clock = async (ctx: any) => {
  const before = [Date.now(), new Date().getTime(), performance.now()];
  await ctx.db.query("kept").first();
  const after = [Date.now(), new Date().getTime(), performance.now()];
  return after.map((time, index) => time - before[index]);
};
export const clockOfQuery = query({ args: {}, handler: clock });
export const clockOfMutation = mutation({ args: {}, handler: clock });

export const random = mutation({ args: {}, handler: () => [Math.random(), Math.random(), crypto.randomUUID(), crypto.randomUUID()] });

export const importedByQuery = query({ args: {}, handler: () => imported });
export const importedByMutation = mutation({ args: {}, handler: () => imported });

export const run = mutation({ args: {}, handler: () => ++runs });

const refused: Record<string, () => unknown> = {
  fetch: () => fetch("http://127.0.0.1:9/"),
  setTimeout: () => setTimeout(() => {}, 1),
  setInterval: () => setInterval(() => {}, 1),
  generateKey: () => crypto.subtle.generateKey({ name: "HMAC", hash: "SHA-256" }, true, ["sign"]),
  formData: () => {
    const form = new FormData();
    form.append("file", new Blob(["bytes"]));
    return new Response(form).formData();
  },
  // What is not written out is left to the host.
  "import()": (path = ["./live", "js"].join(".")) => import(path),
};

/** Does what only actions may. */
const forbidden = {
  args: { what: v.string() },
  handler: async (_ctx: unknown, { what }: { what: string }) => {
    await refused[what]();
    return typeof refused[what];
  },
};
export const forbiddenInQuery = query(forbidden);
export const forbiddenInMutation = mutation(forbidden);

const hex = (bytes: ArrayBuffer) => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const TEXT = new TextEncoder().encode("abc");

export const digest = query({ args: {}, handler: async () => hex(await crypto.subtle.digest("SHA-256", TEXT)) });

export const hmac = mutation({
  args: {},
  handler: async () => {
    const algorithm = { name: "HMAC", hash: "SHA-256" };
    const key = await crypto.subtle.importKey("raw", TEXT, algorithm, false, ["sign", "verify"]);
    const signature = await crypto.subtle.sign("HMAC", key, TEXT);
    return [hex(signature), await crypto.subtle.verify("HMAC", key, signature, TEXT)];
  },
});

/** Signs with a private key in PKCS #8, as libraries for tokens do. */
export const signed = mutation({
  args: { key: v.bytes() },
  handler: async (_ctx, { key }) => {
    const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
    const imported = await crypto.subtle.importKey("pkcs8", key, algorithm, false, ["sign"]);
    return crypto.subtle.sign(algorithm, imported, TEXT);
  },
});

/** Which of these names are there. */
export const globals = query({
  args: { names: v.array(v.string()) },
  handler: (_ctx, { names }) => names.filter((name) => typeof (globalThis as any)[name] !== "undefined"),
});

export const never = query({ args: {}, handler: () => new Promise<null>(() => {}) });

export const unhandled = mutation({
  args: {},
  handler: async (ctx) => {
    await ctx.db.insert("kept", { set: "unhandled", value: 1 });
    void Promise.reject(new RangeError("nobody handles this"));
  },
});

/** Writes, and does not wait for it. */
export const leaves = mutation({
  args: { set: v.string() },
  handler: async (ctx, { set }) => {
    void ctx.db.insert("kept", { set, value: 1 });
  },
});
