"use node";

import { createHash, createHmac } from "node:crypto";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { ConvexError, v } from "convex/values";
import { internal } from "./_generated/api";
import { action, internalAction } from "./_generated/server";
import { refuse } from "./shared";

export const digest = action({
  args: { text: v.string() },
  returns: v.string(),
  handler: async (_, { text }) => createHash("sha256").update(text).digest("hex"),
});

export const packed = action({
  args: { text: v.string(), key: v.bytes() },
  handler: async (_, { text, key }) => {
    const small = gzipSync(text);
    console.log("packed", { from: text.length, to: small.length });
    const mac = createHmac("sha256", Buffer.from(key)).update(small).digest();
    return { text: gunzipSync(small).toString(), mac: new Uint8Array(mac).buffer };
  },
});

/** Keeps a file in the folder of its process. */
export const keepFile = action({
  args: { text: v.string() },
  handler: async (_, { text }) => {
    const file = join(tmpdir(), "note.txt");
    const before = existsSync(file) ? readFileSync(file, "utf8") : null;
    writeFileSync("note.txt", text);
    return {
      before,
      after: readFileSync(file, "utf8"),
      isPrivate: (statSync(file).mode & 0o077) === 0,
      isOwnFolder: process.cwd() === homedir() && homedir() === tmpdir(),
    };
  },
});

export const environment = action({ args: {}, handler: async () => ({ ...process.env }) as Record<string, string> });

/** From Node.js into everything else. */
export const collect = action({
  args: { text: v.string() },
  returns: v.object({ count: v.number(), doubled: v.number(), user: v.union(v.string(), v.null()), name: v.string() }),
  handler: async (ctx, { text }): Promise<{ count: number; doubled: number; user: string | null; name: string }> => {
    await ctx.runMutation(internal.notes.add, { text });
    const count: number = await ctx.runQuery(internal.notes.count, {});
    const doubled: number = await ctx.runAction(internal.notes.double, { number: count });
    const user = await ctx.auth.getUserIdentity();
    console.warn("collected", text);
    return { count, doubled, user: user === null ? null : user.subject, name: process.release.name };
  },
});

/** Keeps a text as a file, and a note of it a little later. */
export const keepAway = action({
  args: { text: v.string() },
  handler: async (ctx, { text }): Promise<{ url: string | null; text: string; none: null | Blob }> => {
    const id = await ctx.storage.store(new Blob([text], { type: "text/plain" }));
    await ctx.scheduler.runAfter(0, internal.notes.add, { text: `${text.length} characters` });
    const kept = await ctx.storage.get(id);
    const other = await ctx.storage.store(new Blob(["short-lived"]));
    await ctx.storage.delete(other);
    return { url: await ctx.storage.getUrl(id), text: (await kept?.text()) ?? "", none: await ctx.storage.get(other) };
  },
});

export const fails = internalAction({
  args: {},
  handler: async () => {
    refuse("tide");
  },
});

export const throwsData = action({
  args: {},
  handler: async () => {
    throw new ConvexError({ reason: "full", at: 7n });
  },
});

export const exits = internalAction({
  args: {},
  handler: async () => {
    process.exit(3);
  },
});

export const leaks = internalAction({
  args: {},
  handler: async () => {
    const kept: Buffer[] = [];
    for (;;) {
      kept.push(Buffer.alloc(4 << 20, kept.length));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  },
});

export const loops = internalAction({
  args: {},
  handler: async () => {
    console.log("round and round");
    for (;;);
  },
});

export const waits = internalAction({
  args: { text: v.string() },
  handler: async (ctx, { text }) => {
    await ctx.runMutation(internal.notes.add, { text });
    await new Promise((resolve) => setTimeout(resolve, 600_000));
  },
});

export const wrongResult = action({ args: {}, returns: v.string(), handler: async () => 1 as unknown as string });
