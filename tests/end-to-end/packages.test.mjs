// The web platform within queries and mutations: published packages that stand on it, as they come from npm, and what apps
// use of it themselves.
import assert from "node:assert/strict";
import { createDecipheriv, createHash, createHmac, generateKeyPairSync, pbkdf2Sync } from "node:crypto";
import { after, test } from "node:test";
import { ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";
import { compactDecrypt, createLocalJWKSet, jwtVerify } from "jose";
import { callFunction } from "./harness/functions.mjs";
import { pushApp } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const LIMIT = { timeout: 300_000 };
const { ids, platform, tokens, webhooks } = anyApi;

const file = { after };
const tidemark = await startTidemark(file);
await pushApp(file, tidemark, "packages");
const client = new ConvexHttpClient(tidemark.url, { logger: false });

const buffer = (bytes) => new Uint8Array(bytes).buffer;
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const ed25519 = generateKeyPairSync("ed25519");
const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const jwk = (key, kid) => ({ ...key.export({ format: "jwk" }), kid });
const jwks = { keys: [jwk(rsa.publicKey, "rsa"), jwk(ed25519.publicKey, "ed25519")] };

async function assertHolds(token, alg) {
  assert.deepEqual(await client.query(tokens.check, { token, jwks }), { subject: "user", role: "reader", alg });
  const { payload } = await jwtVerify(token, createLocalJWKSet(jwks), { issuer: "https://issuer.example" });
  assert.equal(payload.sub, "user");
}

for (const [alg, key, kid] of [
  ["RS256", rsa.privateKey, "rsa"],
  ["EdDSA", ed25519.privateKey, "ed25519"],
]) {
  test(`a mutation signs a token by ${alg}, which a query and Node.js verify`, LIMIT, async () => {
    await assertHolds(await client.mutation(tokens.issue, { jwk: jwk(key, kid), alg, subject: "user" }), alg);
  });
}

test("a mutation signs by a key in PKCS #8", LIMIT, async () => {
  const pem = rsa.privateKey.export({ format: "pem", type: "pkcs8" });
  await assertHolds(await client.mutation(tokens.issueByPkcs8, { pem, kid: "rsa", subject: "user" }), "RS256");
});

test("a token that was changed, or signed by another, does not hold", LIMIT, async () => {
  const token = await client.mutation(tokens.issue, { jwk: jwk(rsa.privateKey, "rsa"), alg: "RS256", subject: "user" });
  const [header, payload, signature] = token.split(".");
  const other = Buffer.from(JSON.stringify({ sub: "root", iss: "https://issuer.example" })).toString("base64url");
  assert.notEqual(payload, other);
  const failed = { code: "ERR_JWS_SIGNATURE_VERIFICATION_FAILED" };
  assert.deepEqual(await client.query(tokens.check, { token: `${header}.${other}.${signature}`, jwks }), failed);
  const stranger = { keys: [jwk(generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey, "rsa")] };
  assert.deepEqual(await client.query(tokens.check, { token, jwks: stranger }), failed);
});

for (const [alg, enc, secret] of [
  ["dir", "A256GCM", buffer(32)],
  ["PBES2-HS256+A128KW", "A128GCM", new TextEncoder().encode("open sesame").buffer],
]) {
  test(`what a mutation encrypts by ${alg} and ${enc}, a query and Node.js decrypt`, LIMIT, async () => {
    const sealed = await client.mutation(tokens.seal, { alg, enc, secret, text: "Ærø" });
    assert.equal(await client.query(tokens.open, { sealed, secret }), "Ærø");
    const options = { keyManagementAlgorithms: [alg] };
    const { plaintext } = await compactDecrypt(sealed, new Uint8Array(secret), options);
    assert.equal(new TextDecoder().decode(plaintext), "Ærø");
  });
}

test("a webhook is taken with its signature and refused with another", LIMIT, async () => {
  const payload = JSON.stringify({ action: "opened", title: "Ærø" });
  const signature = `sha256=${createHmac("sha256", "secret").update(payload).digest("hex")}`;
  assert.equal(await client.mutation(webhooks.receive, { secret: "secret", payload, signature }), 1);
  const changed = payload.replace("opened", "closed");
  assert.equal(await client.mutation(webhooks.receive, { secret: "secret", payload: changed, signature }), "refused");
  assert.equal(await client.mutation(webhooks.receive, { secret: "other", payload, signature }), "refused");
  assert.equal(await client.mutation(webhooks.receive, { secret: "secret", payload, signature }), 2);
});

test("identifiers are made in mutations, other ones each time", LIMIT, async () => {
  const [one, two] = [await client.mutation(ids.make, {}), await client.mutation(ids.make, {})];
  assert.equal(new Set([...one.nanoids, ...two.nanoids]).size, 200);
  assert.ok(one.nanoids.every((id) => /^[\w-]{21}$/.test(id)), `${one.nanoids}`);
  assert.match(one.v4, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.notEqual(one.v4, two.v4);
  // The namespace of URLs, and the name.
  const hash = createHash("sha1").update(Buffer.from("6ba7b8119dad11d180b400c04fd430c8", "hex")).update("tidemark").digest();
  assert.equal(one.v5.replaceAll("-", "").slice(0, 12), hash.subarray(0, 6).toString("hex"));
  assert.equal(Number.parseInt(one.v7.slice(0, 13).replace("-", ""), 16), one.now);
});

test("a stream is piped through a decoder and a transform", LIMIT, async () => {
  const bytes = new TextEncoder().encode("Ærø\nfjord\n\nend");
  const chunks = Array.from(bytes, (byte) => buffer([byte]));
  assert.deepEqual(await client.query(platform.lines, { chunks }), ["Ærø", "fjord", "", "end"]);
});

test("a form that a query writes is one that Node.js reads", LIMIT, async () => {
  const { type, body } = await client.query(platform.form, {});
  const form = await new Response(body, { headers: { "content-type": type } }).formData();
  assert.equal(form.get("name"), "Ærø\r\n");
  const written = form.get("file");
  assert.deepEqual([written.name, written.type], ['a "b".bin', "application/octet-stream"]);
  assert.deepEqual([...new Uint8Array(await written.arrayBuffer())], [97, 0, 255]);
});

test("clones, messages and signals work within a query", LIMIT, async () => {
  assert.deepEqual(await client.query(platform.values, {}), {
    isShared: true,
    date: 5,
    bytes: [1, 2, 3],
    message: { sent: [1] },
    aborted: "enough",
  });
});

test("what a mutation encrypts by PBKDF2 and AES-GCM, Node.js decrypts", LIMIT, async () => {
  const args = { password: "sesame", message: "Ærø", iterations: 100_000 };
  const { salt, iv, encrypted } = await client.mutation(platform.encrypt, args);
  const key = pbkdf2Sync("sesame", new Uint8Array(salt), 100_000, 32, "sha256");
  const bytes = new Uint8Array(encrypted);
  const decipher = createDecipheriv("aes-256-gcm", key, new Uint8Array(iv));
  decipher.setAuthTag(bytes.subarray(-16));
  assert.equal(decipher.update(bytes.subarray(0, -16)) + decipher.final("utf8"), "Ærø");
});

test("iterations without end are ended by the limit of time, and the next call works", LIMIT, async () => {
  const args = { password: "sesame", message: "", iterations: 1_000_000_000 };
  const { body } = await callFunction(tidemark, "mutation", "platform:encrypt", args);
  assert.equal(body.status, "error", JSON.stringify(body));
  assert.match(body.errorMessage, /timed out/);
  assert.equal((await callFunction(tidemark, "query", "platform:values")).body.status, "success");
});

for (const [name, kind, args] of [
  ["generateKeys", "mutation", {}],
  ["signByEcdsa", "mutation", { jwk: jwk(ec.privateKey) }],
  ["readForm", "query", {}],
]) {
  test(`${name} is not for queries and mutations`, LIMIT, async () => {
    const { body } = await callFunction(tidemark, kind, `platform:${name}`, args);
    assert.equal(body.status, "error", JSON.stringify(body));
    assert.match(body.errorMessage, /in queries and mutations/);
  });
}
