// Determinism: what queries and mutations have to be free of, so that they can be run again.
import assert from "node:assert/strict";
import { createHash, createHmac, generateKeyPairSync, verify } from "node:crypto";
import { fails, gives, mustFail, valueOf } from "./rule.mjs";

const ABC_SHA256 = createHash("sha256").update("abc").digest("hex");
const ABC_HMAC = createHmac("sha256", "abc").update("abc").digest("hex");
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** What is there in all functions, and what in none. */
const GLOBALS = [
  ...["AbortController", "AsyncLocalStorage", "Blob", "CryptoKey", "Event", "EventTarget", "File", "FormData", "Headers", "Intl", "ReadableStream"],
  ...["Request", "Response", "TextDecoder", "TextDecoderStream", "TextEncoder", "TransformStream", "URL", "URLSearchParams", "WritableStream"],
  ...["atob", "btoa", "console", "crypto", "fetch", "performance", "process", "queueMicrotask", "setTimeout", "structuredClone"],
];
const ABSENT = ["window", "document", "require", "Buffer"];

const refused = (what, shown = what) => ({
  rule: `queries and mutations have no ${shown}`,
  check: async ({ client }) => {
    const pattern = new RegExp(`Can't use ${shown.replace(/[.()]/g, "\\$&")}[^]* in queries and mutations`);
    await mustFail(client, "query", "determinism:forbiddenInQuery", { what }, pattern);
    await mustFail(client, "mutation", "determinism:forbiddenInMutation", { what }, pattern);
  },
});

export default {
  group: "determinism",
  rules: [
    gives("in a query no time passes", "query", "determinism:clockOfQuery", {}, [0, 0, 0]),
    gives("nor in a mutation", "mutation", "determinism:clockOfMutation", {}, [0, 0, 0]),
    {
      rule: "random numbers differ within a run, and from run to run",
      check: async ({ client }) => {
        const runs = [await valueOf(client, "mutation", "determinism:random"), await valueOf(client, "mutation", "determinism:random")];
        const drawn = runs.flat();
        assert.equal(new Set(drawn).size, 8, `${drawn}`);
        assert.match(drawn[2], UUID);
      },
    },
    {
      rule: "what a module draws while it is imported is the same in every run, and its time that of the push",
      check: async ({ client }) => {
        const first = await valueOf(client, "query", "determinism:importedByQuery");
        assert.ok(first.time <= Date.now() && first.time > Date.now() - 3_600_000, `${first.time}`);
        for (const [kind, path] of [["mutation", "determinism:importedByMutation"], ["query", "determinism:importedByQuery"]]) {
          assert.deepEqual(await valueOf(client, kind, path), first);
        }
      },
    },
    {
      rule: "what a run leaves in a module's variables is gone in the next",
      check: async ({ client }) => {
        const runs = [];
        for (let run = 0; run < 3; run++) {
          runs.push(await valueOf(client, "mutation", "determinism:run"));
        }
        assert.deepEqual(runs, [1, 1, 1]);
      },
    },
    refused("fetch", "fetch()"),
    refused("setTimeout"),
    refused("setInterval"),
    refused("generateKey", "crypto.subtle.generateKey()"),
    refused("formData", "formData()"),
    {
      rule: "nor do they import while they run",
      check: async ({ client }) => {
        const pattern = /Dynamic import\(\) is not available in functions/;
        await mustFail(client, "query", "determinism:forbiddenInQuery", { what: "import()" }, pattern);
        await mustFail(client, "mutation", "determinism:forbiddenInMutation", { what: "import()" }, pattern);
      },
    },
    gives("digests are computed", "query", "determinism:digest", {}, ABC_SHA256),
    gives("and signatures by a secret", "mutation", "determinism:hmac", {}, [ABC_HMAC, true]),
    {
      rule: "and those by a private key that are the same each time",
      check: async ({ client }) => {
        const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
        const pkcs8 = privateKey.export({ type: "pkcs8", format: "der" });
        const key = new Uint8Array(pkcs8).buffer;
        const first = await valueOf(client, "mutation", "determinism:signed", { key });
        assert.ok(verify("sha256", Buffer.from("abc"), publicKey, Buffer.from(first.$bytes, "base64")));
        assert.deepEqual(await valueOf(client, "mutation", "determinism:signed", { key }), first);
      },
    },
    gives("what functions of all kinds have is there, also where using it is refused", "query", "determinism:globals", { names: GLOBALS }, GLOBALS),
    gives("what only a browser or Node.js has is not", "query", "determinism:globals", { names: ABSENT }, []),
    fails("a query that waits for what can't come fails", "query", "determinism:never", {}, /will never resolve/),
    {
      rule: "a rejection that nobody handles fails a mutation, which has written nothing",
      check: async ({ client }) => {
        await mustFail(client, "mutation", "determinism:unhandled", {}, /Uncaught RangeError: nobody handles this/);
        assert.deepEqual(await valueOf(client, "query", "values:kept", { set: "unhandled" }), []);
      },
    },
    {
      rule: "a write that a mutation does not wait for is a part of it",
      check: async ({ client, unique }) => {
        const set = unique("left");
        await valueOf(client, "mutation", "determinism:leaves", { set });
        assert.deepEqual(await valueOf(client, "query", "values:kept", { set }), [1]);
      },
    },
  ],
};
