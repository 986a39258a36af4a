import { v } from "convex/values";
import { env, mutation, query } from "./_generated/server";

export const store = mutation({ args: { value: v.any() }, handler: (ctx, { value }) => ctx.db.insert("values", { value }) });

export const load = query({
  args: { id: v.id("values") },
  handler: async (ctx, { id }) => (await ctx.db.get(id))?.value,
});

export const all = query({
  args: {},
  handler: async (ctx) => (await ctx.db.query("values").collect()).map(({ value }) => value),
});

export const wrongReturn = query({ args: {}, returns: v.string(), handler: () => 7 as unknown as string });

/** What a query may know of the world: a clock that stands still and randomness that a seed decides. */
export const world = query({
  args: {},
  handler: async (ctx) => {
    const before = Date.now();
    for (let spin = 0; spin < 100_000; spin++) {
      Math.sqrt(spin);
    }
    await ctx.db.query("values").first();
    return {
      clockMoved: Date.now() - before,
      now: before,
      random: [Math.random(), Math.random()],
      cloudUrl: env.CONVEX_CLOUD_URL,
      siteUrl: env.CONVEX_SITE_URL,
      hasFetch: typeof fetch === "function",
    };
  },
});

export const fail = query({
  args: {},
  handler: () => {
    sink("deep");
  },
});

function sink(where: string): never {
  throw new RangeError(`too ${where}`);
}

export const writeFromQuery = query({
  args: {},
  handler: async (ctx) => {
    await (ctx.db as unknown as { insert(table: string, value: object): Promise<void> }).insert("values", { value: "from a query" });
  },
});

const filled = (length: number) => {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i += 4097) bytes[i] = i >> 12;
  return bytes.buffer;
};

export const bytes = query({ args: { length: v.number() }, handler: (_ctx, { length }) => filled(length) });

export const bytesOfMutation = mutation({ args: { length: v.number() }, handler: (_ctx, { length }) => filled(length) });

export const sameBytes = query({ args: { bytes: v.bytes() }, returns: v.bytes(), handler: (_ctx, { bytes }) => bytes });
