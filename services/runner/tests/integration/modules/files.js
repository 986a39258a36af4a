import { action, ask, mutation, query } from "./_deps/library.js";

export const uploadUrl = mutation(() => ask("1.0/storageGenerateUploadUrl"));

export const remove = mutation((_, { file }) => ask("1.0/storageDelete", { storageId: file }));

export const url = query((_, { file }) => ask("1.0/storageGetUrl", { storageId: file }));

export const metadata = query((_, { file }) => ask("1.0/storageGetMetadata", { storageId: file }));

export const askInQuery = query((_, { operation }) => ask(operation, { storageId: "x" }));

export const askInMutation = mutation((_, { operation }) => ask(operation, { storageId: "x" }));

const pattern = (size, first) => Uint8Array.from({ length: size }, (_, index) => (index * 7 + first) % 251);

/** Stores files of these sizes at once, and reads them again. */
export const keepAll = action(async (ctx, { sizes }) => {
  const ids = await Promise.all(
    sizes.map((size, first) => ctx.storage.store(new Blob([pattern(size, first)], { type: size > 0 ? "image/PNG" : "" }))),
  );
  const blobs = await Promise.all(ids.map((id) => ctx.storage.get(id)));
  return Promise.all(
    blobs.map(async (blob, first) => {
      const expected = pattern(sizes[first], first);
      const bytes = await blob.bytes();
      return [blob instanceof Blob, blob.type, blob.size, bytes.every((byte, index) => byte === expected[index])];
    }),
  );
});

export const keepText = action((ctx, { text, sha256 }) => ctx.storage.store(new Blob([text], { type: "text/plain" }), { sha256 }));

/** Leaves without waiting for the file. */
export const keepBehind = action((ctx, { text }) => {
  ctx.storage.store(new Blob([text])).then((file) => ctx.runMutation("messages:send", { body: file }));
});

export const readText = action(async (ctx, { file }) => {
  const blob = await ctx.storage.get(file);
  return blob === null ? null : [blob.type, await blob.text()];
});

export const about = action(async (ctx, { file }) => ({
  url: await ctx.storage.getUrl(file),
  metadata: await ctx.storage.getMetadata(file),
  upload: await ctx.storage.generateUploadUrl(),
}));

export const removeByAction = action((ctx, { file }) => ctx.storage.delete(file));

export const wrong = action(async (ctx) => {
  const caught = [];
  for (const attempt of [
    () => ctx.storage.store("no blob"),
    () => ctx.storage.store(new Blob(["x"]), { sha256: "x" }),
    () => ctx.storage.store(new Blob(["x"], { type: "a".repeat(2000) })),
    () => ctx.storage.get("nothing"),
    () => ctx.storage.get(undefined),
    () => ask("storage/read", { transfer: 7 }),
    () => ask("storage/write", { transfer: 7 }),
    () => ask("storage/finish", { transfer: 7 }),
  ]) {
    try {
      await attempt();
    } catch (error) {
      caught.push(error.message);
    }
  }
  return caught;
});

export const storeInMutation = mutation(() => Convex.jsSyscall("storage/storeBlob", { blob: new Blob(["x"]) }));
