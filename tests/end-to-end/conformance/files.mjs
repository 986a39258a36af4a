// Files, as functions have them.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { fails, mustFail, valueOf } from "./rule.mjs";

const BYTES = Uint8Array.from({ length: 1000 }, (_, index) => index % 256);
const TYPE = "application/x-tide";
const sha256 = (encoding) => createHash("sha256").update(BYTES).digest(encoding);

const store = (client, options = {}) => valueOf(client, "action", "files:store", { bytes: BYTES.buffer, type: TYPE, ...options });

/** An address from a function of that kind takes a file. */
const uploads = (kind) => ({
  rule: `${kind === "Mutation" ? "a mutation" : "an action"} gives an address, and what is posted there is a file`,
  check: async ({ client, server }) => {
    const url = await valueOf(client, kind.toLowerCase(), `files:uploadUrlOf${kind}`);
    assert.ok(url.startsWith(`${server.url}/api/storage/upload?token=`), url);
    const response = await fetch(url, { method: "POST", body: BYTES, headers: { "Content-Type": TYPE } });
    const { storageId, ...rest } = await response.json();
    assert.deepEqual([response.status, rest], [200, {}]);
    assert.match(storageId, /^kg2[0-9a-z]{29}$/);
    assert.deepEqual(await valueOf(client, "action", "files:read", { file: storageId }), { type: TYPE, bytes: { $bytes: Buffer.from(BYTES).toString("base64") } });
  },
});

/** A function of that kind gives an address of a file, and null for one that is gone. */
const addresses = (kind) => ({
  rule: `${{ Query: "a query", Mutation: "a mutation", Action: "an action" }[kind]} gives the address of a file, and null if it is gone`,
  check: async ({ client, server }) => {
    const file = await store(client);
    const url = await valueOf(client, kind.toLowerCase(), `files:urlOf${kind}`, { file });
    assert.match(url, new RegExp(`^${server.url}/api/storage/[0-9a-f-]{36}$`));
    const response = await fetch(url);
    assert.deepEqual([response.status, Buffer.from(await response.arrayBuffer())], [200, Buffer.from(BYTES)]);
    await valueOf(client, "mutation", "files:removeByMutation", { file });
    assert.equal(await valueOf(client, kind.toLowerCase(), `files:urlOf${kind}`, { file }), null);
  },
});

const removes = (kind) => ({
  rule: `${kind === "Mutation" ? "a mutation" : "an action"} deletes a file, once`,
  check: async ({ client }) => {
    const file = await store(client);
    await valueOf(client, kind.toLowerCase(), `files:removeBy${kind}`, { file });
    assert.equal(await valueOf(client, "action", "files:read", { file }), null);
    assert.equal(await valueOf(client, "query", "files:document", { file }), null);
    await mustFail(client, kind.toLowerCase(), `files:removeBy${kind}`, { file }, /StorageIdNotFound/);
  },
});

export default {
  group: "files",
  rules: [
    uploads("Mutation"),
    uploads("Action"),
    {
      rule: "an action stores a file and reads it",
      check: async ({ client }) => {
        const file = await store(client);
        assert.deepEqual(await valueOf(client, "action", "files:read", { file }), { type: TYPE, bytes: { $bytes: Buffer.from(BYTES).toString("base64") } });
      },
    },
    {
      rule: "a file may be empty",
      check: async ({ client }) => {
        const file = await store(client, { bytes: new ArrayBuffer(0) });
        assert.deepEqual(await valueOf(client, "action", "files:read", { file }), { type: TYPE, bytes: { $bytes: "" } });
      },
    },
    {
      rule: "a file is a document of the system: its size, its type, its digest in base 64",
      check: async ({ client }) => {
        const file = await store(client);
        const { _creationTime, ...document } = await valueOf(client, "query", "files:document", { file });
        assert.deepEqual(document, { _id: file, size: BYTES.length, contentType: TYPE, sha256: sha256("base64") });
        assert.ok(Math.abs(Date.now() - _creationTime) < 300_000);
      },
    },
    {
      rule: "without a type if nobody has given one",
      check: async ({ client }) => {
        const file = await valueOf(client, "action", "files:store", { bytes: BYTES.buffer });
        const { _creationTime, ...document } = await valueOf(client, "query", "files:document", { file });
        assert.deepEqual(document, { _id: file, size: BYTES.length, sha256: sha256("base64") });
        assert.equal((await valueOf(client, "query", "files:metadata", { file })).contentType, null);
      },
    },
    {
      rule: "the older getMetadata has the digest in hexadecimal",
      check: async ({ client }) => {
        const file = await store(client);
        const metadata = await valueOf(client, "query", "files:metadata", { file });
        assert.deepEqual(metadata, { storageId: file, size: BYTES.length, contentType: TYPE, sha256: sha256("hex") });
      },
    },
    {
      rule: "files are queried as documents are, the newest first if one likes",
      check: async ({ client }) => {
        // No other file has this size.
        const bytes = new ArrayBuffer(20_000 + Math.floor(Math.random() * 100_000));
        const files = [await store(client, { bytes }), await store(client, { bytes })];
        assert.deepEqual(await valueOf(client, "query", "files:ofSize", { size: bytes.byteLength }), files.reverse());
      },
    },
    {
      rule: "a file is no document of the app's own",
      check: async ({ client }) => {
        await mustFail(client, "query", "files:asOwnDocument", { file: await store(client) }, /db\.system/);
      },
    },
    {
      rule: "an id of a file is normalized, one of another table is none",
      check: async ({ client, unique }) => {
        const file = await store(client);
        const person = await valueOf(client, "mutation", "documents:add", { name: unique("person") });
        assert.equal(await valueOf(client, "query", "files:normalized", { id: file }), file);
        assert.equal(await valueOf(client, "query", "files:normalized", { id: person }), null);
        await mustFail(client, "action", "files:read", { file: person }, /ArgumentValidationError/);
      },
    },
    ...["Query", "Mutation", "Action"].map(addresses),
    removes("Mutation"),
    removes("Action"),
    {
      rule: "what a mutation deletes that fails is still there",
      check: async ({ client }) => {
        const file = await store(client);
        await mustFail(client, "mutation", "files:removeAndFail", { file }, /changed its mind/);
        assert.equal((await valueOf(client, "query", "files:document", { file }))._id, file);
      },
    },
    {
      rule: "a digest that is said when a file is stored is held against it, in base 64 or in hexadecimal",
      check: async ({ client }) => {
        await store(client, { sha256: sha256("base64") });
        await store(client, { sha256: sha256("hex") });
        const other = createHash("sha256").update("other").digest("base64");
        const wrong = { bytes: BYTES.buffer, sha256: other };
        const texts = [other, sha256("base64")].map((text) => text.replace(/[+/=]/g, "\\$&"));
        await mustFail(client, "action", "files:store", wrong, new RegExp(`Sha256 mismatch\\. Expected: ${texts[0]} Actual: ${texts[1]}`));
      },
    },
    fails("what is stored is a Blob", "action", "files:storeText", {}, /needs a Blob/),
  ],
};
