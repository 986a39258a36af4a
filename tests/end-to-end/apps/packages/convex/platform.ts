// What the web platform gives to queries and mutations, without a package.
import { v } from "convex/values";
import { mutation, query } from "./_generated/server";

/** Lines of a body whose chunks are cut anywhere. */
export const lines = query({
  args: { chunks: v.array(v.bytes()) },
  handler: async (ctx, { chunks }) => {
    let rest = "";
    const splitter = new TransformStream<string, string>({
      transform(text, controller) {
        const parts = (rest + text).split("\n");
        rest = parts.pop() ?? "";
        parts.forEach((part) => controller.enqueue(part));
      },
      flush(controller) {
        controller.enqueue(rest);
      },
    });
    const body = new ReadableStream({
      start(controller) {
        chunks.forEach((chunk) => controller.enqueue(new Uint8Array(chunk)));
        controller.close();
      },
    });
    const found: string[] = [];
    for await (const line of body.pipeThrough(new TextDecoderStream()).pipeThrough(splitter)) {
      found.push(line);
    }
    return found;
  },
});

/** A form as the body that a request would have. */
export const form = query({
  args: {},
  handler: async () => {
    const form = new FormData();
    form.append("name", "Ærø\n");
    form.append("file", new File(["a", new Uint8Array([0, 255])], 'a "b".bin', { type: "Application/Octet-Stream" }));
    const request = new Request("https://host.example/upload", { method: "POST", body: form });
    return { type: request.headers.get("content-type")!, body: await request.arrayBuffer() };
  },
});

export const readForm = query({
  args: {},
  handler: async () => {
    await new Response(new FormData()).formData();
  },
});

export const values = query({
  args: {},
  handler: async () => {
    const original = { map: new Map([[1n, new Date(5)]]), bytes: new Uint8Array([1, 2, 3]) };
    const copy = structuredClone({ original, twice: original });
    const { port1, port2 } = new MessageChannel();
    const message = new Promise((resolve) => (port1.onmessage = ({ data }) => resolve(data)));
    port2.postMessage({ sent: [1] });
    const controller = new AbortController();
    const signal = AbortSignal.any([controller.signal, new AbortController().signal]);
    const aborted = new Promise((resolve) => signal.addEventListener("abort", () => resolve(signal.reason)));
    controller.abort("enough");
    return {
      isShared: copy.original === copy.twice && copy.original !== original,
      date: copy.original.map.get(1n)!.getTime(),
      bytes: [...copy.original.bytes],
      message: await message,
      aborted: await aborted,
    };
  },
});

const text = (value: string) => new TextEncoder().encode(value);

/** Encrypts under a password. */
export const encrypt = mutation({
  args: { password: v.string(), message: v.string(), iterations: v.number() },
  handler: async (ctx, { password, message, iterations }) => {
    const salt = crypto.getRandomValues(new Uint8Array(16));
    const iv = crypto.getRandomValues(new Uint8Array(12));
    const base = await crypto.subtle.importKey("raw", text(password), "PBKDF2", false, ["deriveKey"]);
    const derivation = { name: "PBKDF2", hash: "SHA-256", salt, iterations };
    const key = await crypto.subtle.deriveKey(derivation, base, { name: "AES-GCM", length: 256 }, false, ["encrypt"]);
    const encrypted = await crypto.subtle.encrypt({ name: "AES-GCM", iv }, key, text(message));
    return { salt: salt.buffer, iv: iv.buffer, encrypted };
  },
});

export const generateKeys = mutation({
  args: {},
  handler: async () => {
    const rsa = { name: "RSA-PSS", hash: "SHA-256", modulusLength: 4096, publicExponent: new Uint8Array([1, 0, 1]) };
    await crypto.subtle.generateKey(rsa, true, ["sign"]);
  },
});

export const signByEcdsa = mutation({
  args: { jwk: v.any() },
  handler: async (ctx, { jwk }) => {
    const key = await crypto.subtle.importKey("jwk", jwk, { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);
    await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, key, text("message"));
  },
});
