// Addresses of files: what is posted there and read there, by clients that know nothing of Convex.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { valueOf } from "./rule.mjs";

const BYTES = Buffer.from(Array.from({ length: 1000 }, (_, index) => (index * 7) % 256));
const TYPE = "text/plain; charset=utf-8; tide=high";
const sha256 = (bytes, encoding) => createHash("sha256").update(bytes).digest(encoding);

const uploadUrl = (client) => valueOf(client, "mutation", "files:uploadUrlOfMutation");
const urlOf = (client, file) => valueOf(client, "query", "files:urlOfQuery", { file });

async function upload(client, body, headers = {}) {
  const response = await fetch(await uploadUrl(client), { method: "POST", body, headers });
  assert.equal(response.status, 200, await response.clone().text());
  return (await response.json()).storageId;
}

async function refusal(response) {
  const { code } = await response.json();
  return `${response.status} ${code}`;
}

const read = (rule, headers, expected) => ({
  rule,
  check: async ({ client }) => {
    const response = await fetch(await urlOf(client, await upload(client, BYTES)), { headers });
    const { status, range, bytes } = expected;
    assert.deepEqual([response.status, response.headers.get("content-range")], [status, range ?? null]);
    if (bytes) {
      assert.deepEqual(Buffer.from(await response.arrayBuffer()), BYTES.subarray(...bytes));
    }
  },
});

export default {
  group: "addresses of files",
  rules: [
    {
      rule: "a file has the type that it was posted with, letter by letter",
      check: async ({ client }) => {
        const file = await upload(client, BYTES, { "Content-Type": TYPE });
        assert.equal((await valueOf(client, "query", "files:document", { file })).contentType, TYPE);
        assert.equal((await fetch(await urlOf(client, file))).headers.get("content-type"), TYPE);
      },
    },
    {
      rule: "or none",
      check: async ({ client }) => {
        assert.equal((await valueOf(client, "query", "files:metadata", { file: await upload(client, BYTES) })).contentType, null);
      },
    },
    {
      rule: "an address for uploads takes several files",
      check: async ({ client }) => {
        const url = await uploadUrl(client);
        const post = async () => (await (await fetch(url, { method: "POST", body: BYTES })).json()).storageId;
        assert.notEqual(await post(), await post());
      },
    },
    {
      rule: "a digest that is said is held against the bytes",
      check: async ({ client }) => {
        await upload(client, BYTES, { Digest: `sha-256=${sha256(BYTES, "base64")}` });
        const headers = { Digest: `sha-256=${sha256("other", "base64")}` };
        assert.equal(await refusal(await fetch(await uploadUrl(client), { method: "POST", body: BYTES, headers })), "400 Sha256Mismatch");
      },
    },
    {
      rule: "an address without a token takes nothing",
      check: async ({ server }) => {
        assert.equal(await refusal(await fetch(`${server.url}/api/storage/upload`, { method: "POST", body: BYTES })), "401 InvalidStorageToken");
      },
    },
    {
      rule: "nor one with a token that was changed",
      check: async ({ client }) => {
        const url = await uploadUrl(client);
        const changed = url.replace(/.$/, (last) => (last === "0" ? "1" : "0"));
        assert.equal(await refusal(await fetch(changed, { method: "POST", body: BYTES })), "401 StorageTokenInvalid");
      },
    },
    {
      rule: "pages of other origins may upload",
      check: async ({ client }) => {
        const url = await uploadUrl(client);
        const Origin = "https://app.example";
        const asked = { Origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type" };
        const preflight = await fetch(url, { method: "OPTIONS", headers: asked });
        assert.deepEqual([preflight.status, preflight.headers.get("access-control-allow-origin")], [200, Origin]);
        const posted = await fetch(url, { method: "POST", body: BYTES, headers: { Origin } });
        assert.equal(posted.headers.get("access-control-allow-origin"), Origin);
      },
    },
    {
      rule: "an answer says how long the file is, what its digest is, and that the browser may keep it",
      check: async ({ client }) => {
        const { headers, status } = await fetch(await urlOf(client, await upload(client, BYTES)));
        const names = ["content-length", "digest", "accept-ranges", "cache-control"];
        const expected = ["1000", `sha-256=${sha256(BYTES, "base64")}`, "bytes", "private, max-age=2592000"];
        assert.deepEqual([status, ...names.map((name) => headers.get(name))], [200, ...expected]);
      },
    },
    {
      rule: "HEAD has the same headers and no body",
      check: async ({ client }) => {
        const response = await fetch(await urlOf(client, await upload(client, BYTES)), { method: "HEAD" });
        assert.deepEqual([response.status, response.headers.get("content-length"), await response.text()], [200, "1000", ""]);
      },
    },
    read("a range in the middle is sent", { Range: "bytes=10-19" }, { status: 206, range: "bytes 10-19/1000", bytes: [10, 20] }),
    read("one from somewhere to the end", { Range: "bytes=990-" }, { status: 206, range: "bytes 990-999/1000", bytes: [990] }),
    read("the last so many bytes", { Range: "bytes=-5" }, { status: 206, range: "bytes 995-999/1000", bytes: [995] }),
    read("one that goes beyond the end is cut there", { Range: "bytes=995-2000" }, { status: 206, range: "bytes 995-999/1000", bytes: [995] }),
    read("one behind the end is refused", { Range: "bytes=1000-" }, { status: 416, range: "bytes */1000" }),
    read("so are several at once", { Range: "bytes=0-1,5-6" }, { status: 416, range: "bytes */1000" }),
    {
      rule: "a part has no digest",
      check: async ({ client }) => {
        const response = await fetch(await urlOf(client, await upload(client, BYTES)), { headers: { Range: "bytes=0-1" } });
        assert.equal(response.headers.get("digest"), null);
      },
    },
    {
      rule: "who has the file is not sent it again",
      check: async ({ client }) => {
        const url = await urlOf(client, await upload(client, BYTES));
        const { headers } = await fetch(url);
        const response = await fetch(url, { headers: { "If-None-Match": headers.get("etag") } });
        assert.deepEqual([response.status, await response.text()], [304, ""]);
      },
    },
    {
      rule: "what names no file by a UUID is refused",
      check: async ({ server }) => {
        assert.equal(await refusal(await fetch(`${server.url}/api/storage/nothing`)), "400 InvalidStoragePath");
      },
    },
    {
      rule: "what is not there is not found, and what was deleted neither",
      check: async ({ client, server }) => {
        const nowhere = `${server.url}/api/storage/${crypto.randomUUID()}`;
        assert.equal(await refusal(await fetch(nowhere)), "404 FileNotFound");
        const file = await upload(client, BYTES);
        const url = await urlOf(client, file);
        await valueOf(client, "mutation", "files:removeByMutation", { file });
        assert.equal(await refusal(await fetch(url)), "404 FileNotFound");
      },
    },
  ],
};
