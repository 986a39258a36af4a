// Calls whose outcome is always the same, compared with what Node.js answers: values, and names of errors.

const bytes = (text) => new Uint8Array(Buffer.from(text, "hex"));
const utf8 = (text) => new TextEncoder().encode(text);
const message = utf8("attack at dawn");
const iv = bytes("000102030405060708090a0b0c0d0e0f");

const p256 = {
  kty: "EC",
  crv: "P-256",
  x: "YP7UuiVanTHJYet0xjVtaMBJuJI7Yfps5mliLmDyn7Y",
  y: "eQP-EAi4vJmkGunpVii8ZPLxsgwtfp9Rd6PClNRGIpk",
  d: "ya-p2EW6dRZrXCFXZ7HWk05Qw9s26JsSe4piKxIPZyE",
};
const ed25519 = {
  kty: "OKP",
  crv: "Ed25519",
  x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
  d: "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
};
const x25519 = {
  kty: "OKP",
  crv: "X25519",
  x: "hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo",
  d: "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo",
};
const publicOf = ({ d, ...rest }) => rest;
const ecdsa = { name: "ECDSA", namedCurve: "P-256" };
const ecdh = { name: "ECDH", namedCurve: "P-256" };
const hmac = { name: "HMAC", hash: "SHA-256" };
const rs256 = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
const seen = ({ type, extractable, usages, algorithm }) => [type, extractable, usages, algorithm];

// A key for RSA of 1024 bits, made by Node.js for this table.
const rsa = {
  kty: "RSA",
  n: "vDIppt5aUe3brOiSoEO5Wxo4oh9cQqI3F6zbAEsYxpYL3eteg8Bh6z5wnQxpJzTXfzSIpo_qxSR2k48PJCdf7WbPIqAQX0TYzamr6Pg7UmbUQTWD6Ber3YRnyCV_qChNwbrhXtPEU2yf9hQ8V8llUDpT_gq4kyQ6lcUfafYwT_U",
  e: "AQAB",
  d: "kRWq_rYUs2zIGjkCMQOE9jL0zieXHNep2VqtS0CZzR8H7wHxT2kVFCKC9tAGkO8v4yVA5Ae3WlyN_ZwgdCLW0_9_NG76uDxC-l0TPiwbboYBnLXv1MBTd8XIUlTUtRyNRiADJeth0ACw36apkT9gc9OFVzTpNBtBfJLCiV40D1E",
  p: "6ceL4pF-CHemFu9QFzWVu5eBmvgwJN2OHfa_brvboWHcNNQ_PxZFGxIauxEEP9ZJtoTPm9ufcVnXOhQJI_P55w",
  q: "zhVzxH4DJhGhqjf9eGnI5zqLuI8w4miGmk5LeDQh40TRNYBa6VbJapSF7DmIy7lJlJrwHnrPo-7ABXxJ0FLDww",
  dp: "l4vXzoPqY6rMbEmubZ0692R7i-4fp4ZIPnxaFHqLIc7CZSzB4y-YlLfjxCh_zLIpDryBqNNyRJSsxOWAF2JtOQ",
  dq: "Ffr3xAdkspTC13LtWACAaxk1edPb9OoNITwklIeK7cCTR8-O4sBc7z80IYPpcUEr9euonLegme2HEY62GMAbHQ",
  qi: "0RuPRFyFRWwV01Yefqe6Ky-tQi7jQ5vsqyWj-ciL4CHCVfkWcvaiI5RwwU2FUv90MQNjYvFekzpieXF0oB0dQw"
};
const rsaPublic = { kty: rsa.kty, n: rsa.n, e: rsa.e };

const pairOf = ({ publicKey, privateKey }) => [seen(publicKey), seen(privateKey)];

const importing = (format, data, algorithm, extractable, usages) => async ({ subtle }) =>
  seen(await subtle.importKey(format, data, algorithm, extractable, usages));

const exporting = (format, data, algorithm, usages, as) => async ({ subtle }) =>
  subtle.exportKey(as, await subtle.importKey(format, data, algorithm, true, usages));

const aes = (subtle, name, usages = ["encrypt", "decrypt"], length = 16) =>
  subtle.importKey("raw", iv.subarray(0, length), name, true, usages);

const encrypting = (name, rest, text = message) => async ({ subtle }) => {
  const key = await aes(subtle, name);
  const algorithm = { name, ...rest };
  const encrypted = await subtle.encrypt(algorithm, key, text);
  return [encrypted, await subtle.decrypt(algorithm, key, encrypted)];
};

const deriving = (name, rest, length, usages = ["deriveBits"]) => async ({ subtle }) => {
  const key = await subtle.importKey("raw", utf8("secret"), name, false, usages);
  return subtle.deriveBits({ name, hash: "SHA-256", salt: utf8("salt"), info: utf8("info"), iterations: 10, ...rest }, key, length);
};

const derivingKey = (type, usages, extractable = true) => async ({ subtle }) => {
  const key = await subtle.importKey("raw", utf8("secret"), "HKDF", false, ["deriveKey"]);
  const algorithm = { name: "HKDF", hash: "SHA-256", salt: utf8("salt"), info: utf8("info") };
  const derived = await subtle.deriveKey(algorithm, key, type, extractable, usages);
  return [seen(derived), derived.extractable ? await subtle.exportKey("raw", derived) : ""];
};

const agreeing = (length, change = {}) => async ({ subtle }) => {
  const own = await subtle.importKey("jwk", p256, change.own ?? ecdh, true, change.usages ?? ["deriveBits"]);
  const other = await subtle.importKey("jwk", publicOf(p256), change.other ?? ecdh, true, change.otherUsages ?? []);
  return subtle.deriveBits({ name: change.name ?? "ECDH", public: change.public ? change.public(own, other) : other }, own, length);
};

export const cases = [
  // Digests and names.
  ...["SHA-1", "sha-256", "Sha-384", "SHA-512"].map((name) => [`digest ${name}`, ({ subtle }) => subtle.digest(name, message)]),
  ["digest of an object", ({ subtle }) => subtle.digest({ name: "sha-256" }, message)],
  ["digest of a buffer", ({ subtle }) => subtle.digest("SHA-256", message.buffer.slice(0, 3))],
  ["digest of a part", ({ subtle }) => subtle.digest("SHA-256", new DataView(message.buffer.slice(0), 2, 3))],
  ["digest of wider elements", ({ subtle }) => subtle.digest("SHA-256", new Uint16Array([1, 2]))],
  ["digest by none", ({ subtle }) => subtle.digest("MD5", message)],
  ["digest without a name", ({ subtle }) => subtle.digest({}, message)],
  ["digest of null", ({ subtle }) => subtle.digest(null, message)],
  ["digest of text", ({ subtle }) => subtle.digest("SHA-256", "text")],
  ["digest without arguments", ({ subtle }) => subtle.digest()],
  ["digest without data", ({ subtle }) => subtle.digest("SHA-256")],
  ["digest by a cipher", ({ subtle }) => subtle.digest("AES-CBC", message)],
  ["what is copied before it changes", async ({ subtle }) => {
    const data = message.slice();
    const digest = subtle.digest("SHA-256", data);
    data.fill(0);
    return digest;
  }],
  ["a key can't be constructed", ({ CryptoKey }) => new CryptoKey()],
  ["nor the interface", ({ subtle }) => new subtle.constructor()],
  ["methods answer with promises", async ({ subtle }) => {
    const promise = subtle.digest();
    await promise.catch(() => {});
    return promise instanceof Promise;
  }],
  ["a key is seen as one", async ({ subtle, CryptoKey }) => (await aes(subtle, "AES-CBC")) instanceof CryptoKey],

  // HMAC.
  ["HMAC", async ({ subtle }) => subtle.sign("hmac", await subtle.importKey("raw", message, hmac, true, ["sign"]), message)],
  ["HMAC verifies", async ({ subtle }) => {
    const key = await subtle.importKey("raw", message, hmac, true, ["sign", "verify"]);
    const signature = new Uint8Array(await subtle.sign("HMAC", key, message));
    return [
      await subtle.verify("HMAC", key, signature, message),
      await subtle.verify("HMAC", key, signature.subarray(1), message),
      await subtle.verify("HMAC", key, new Uint8Array(0), message),
      await subtle.verify("HMAC", key, signature, iv),
    ];
  }],
  ["HMAC key", importing("raw", message, { name: "hmac", hash: { name: "sha-512" } }, false, ["verify", "sign", "sign"])],
  ["HMAC key without a hash", importing("raw", message, "HMAC", true, ["sign"])],
  ["HMAC key with an unknown hash", importing("raw", message, { name: "HMAC", hash: "MD5" }, true, ["sign"])],
  ["HMAC key that is empty", importing("raw", new Uint8Array(0), hmac, true, ["sign"])],
  ["HMAC key with its length", importing("raw", message, { ...hmac, length: 112 }, true, ["sign"])],
  ["HMAC key with a longer length", importing("raw", message, { ...hmac, length: 120 }, true, ["sign"])],
  ["HMAC key with a shorter length", importing("raw", message, { ...hmac, length: 104 }, true, ["sign"])],
  ["HMAC key with no whole length", importing("raw", message, { ...hmac, length: 111 }, true, ["sign"])],
  ["HMAC key with length 0", importing("raw", message, { ...hmac, length: 0 }, true, ["sign"])],
  ["HMAC key with a length out of range", importing("raw", message, { ...hmac, length: -1 }, true, ["sign"])],
  ["HMAC key with a length that is none", importing("raw", message, { ...hmac, length: "x" }, true, ["sign"])],
  ["HMAC key without usages", importing("raw", message, hmac, true, [])],
  ["HMAC key with a wrong usage", importing("raw", message, hmac, true, ["encrypt"])],
  ["HMAC key with an unknown usage", importing("raw", message, hmac, true, ["signs"])],
  ["HMAC key with usages that are no list", importing("raw", message, hmac, true, "sign")],
  ["HMAC key as spki", importing("spki", message, hmac, true, ["sign"])],
  ["HMAC key as pkcs8", importing("pkcs8", message, hmac, true, ["sign"])],
  ["HMAC key in an unknown format", importing("der", message, hmac, true, ["sign"])],
  ["HMAC key as jwk", exporting("jwk", { kty: "oct", k: "AAECAw", alg: "HS256", use: "sig" }, hmac, ["sign", "verify"], "jwk")],
  ["HMAC key as jwk and back", exporting("raw", message, { name: "HMAC", hash: "SHA-1" }, ["verify"], "jwk")],
  ["HMAC jwk of another hash", importing("jwk", { kty: "oct", k: "AAECAw", alg: "HS512" }, hmac, true, ["sign"])],
  ["HMAC jwk of another use", importing("jwk", { kty: "oct", k: "AAECAw", use: "enc" }, hmac, true, ["sign"])],
  ["HMAC jwk of other operations", importing("jwk", { kty: "oct", k: "AAECAw", key_ops: ["verify"] }, hmac, true, ["sign"])],
  ["HMAC jwk of more operations", importing("jwk", { kty: "oct", k: "AAECAw", key_ops: ["verify", "sign"] }, hmac, true, ["sign"])],
  ["HMAC jwk with an operation twice", importing("jwk", { kty: "oct", k: "AAECAw", key_ops: ["sign", "sign"] }, hmac, true, ["sign"])],
  ["HMAC jwk with an unknown operation", importing("jwk", { kty: "oct", k: "AAECAw", key_ops: ["sign", "sing"] }, hmac, true, ["sign"])],
  ["HMAC jwk that is not extractable", importing("jwk", { kty: "oct", k: "AAECAw", ext: false }, hmac, true, ["sign"])],
  ["HMAC jwk that is not, imported so", importing("jwk", { kty: "oct", k: "AAECAw", ext: false }, hmac, false, ["sign"])],
  ["HMAC jwk without a key", importing("jwk", { kty: "oct" }, hmac, true, ["sign"])],
  ["HMAC jwk without a kind", importing("jwk", { k: "AAECAw" }, hmac, true, ["sign"])],
  ["HMAC jwk of another kind", importing("jwk", p256, hmac, true, ["sign"])],
  ["HMAC jwk with padding", importing("jwk", { kty: "oct", k: "AAECAw==" }, hmac, true, ["sign"])],
  ["HMAC jwk in plain base64", importing("jwk", { kty: "oct", k: "+/+/" }, hmac, true, ["sign"])],
  ["HMAC jwk as bytes", importing("jwk", message, hmac, true, ["sign"])],
  ["HMAC raw as an object", importing("raw", { kty: "oct", k: "AAECAw" }, hmac, true, ["sign"])],
  ["HMAC key generated", async ({ subtle }) => {
    const lengths = [];
    for (const given of [{}, { length: 8 }, { hash: "SHA-512" }, { hash: "SHA-384" }, { hash: "SHA-1" }]) {
      lengths.push((await subtle.generateKey({ ...hmac, ...given }, true, ["sign"])).algorithm);
    }
    return lengths;
  }],
  ["HMAC key generated with length 0", ({ subtle }) => subtle.generateKey({ ...hmac, length: 0 }, true, ["sign"])],
  ["HMAC key generated without usages", ({ subtle }) => subtle.generateKey(hmac, true, [])],
  ["HMAC key generated for something else", ({ subtle }) => subtle.generateKey(hmac, true, ["sign", "encrypt"])],
  ["HMAC by a key that may not", async ({ subtle }) => subtle.sign("HMAC", await subtle.importKey("raw", iv, hmac, true, ["verify"]), message)],
  ["HMAC by a key of AES", async ({ subtle }) => subtle.sign("HMAC", await aes(subtle, "AES-CBC"), message)],
  ["HMAC by no key", ({ subtle }) => subtle.sign("HMAC", {}, message)],
  ["HMAC of no data", async ({ subtle }) => subtle.sign("HMAC", await subtle.importKey("raw", iv, hmac, true, ["sign"]), null)],
  ["usages that the caller changes", async ({ subtle }) => {
    const key = await subtle.importKey("raw", iv, hmac, true, ["sign"]);
    key.usages.push("verify");
    return subtle.verify("HMAC", key, await subtle.sign("HMAC", key, message), message);
  }],
  ["an algorithm that the caller changes", async ({ subtle }) => {
    const key = await subtle.importKey("raw", iv, hmac, true, ["sign"]);
    try {
      key.algorithm.hash.name = "SHA-1";
      key.usages.push("verify");
    } catch {
      // That would do as well.
    }
    return (await subtle.sign("HMAC", key, message)).byteLength;
  }],

  // AES.
  ...[16, 24, 32].map((length) => [`AES key of ${length} bytes`, exporting("raw", new Uint8Array(length), "AES-GCM", ["encrypt", "wrapKey"], "jwk")]),
  ["AES key of 17 bytes", importing("raw", new Uint8Array(17), "AES-GCM", true, ["encrypt"])],
  ["AES key of no bytes", importing("raw", new Uint8Array(0), "AES-CBC", true, ["encrypt"])],
  ["AES key for KW", importing("raw", iv, "AES-KW", true, ["wrapKey", "unwrapKey"])],
  ["AES key for KW that encrypts", importing("raw", iv, "AES-KW", true, ["encrypt"])],
  ["AES key that signs", importing("raw", iv, "AES-CTR", true, ["sign"])],
  ["AES key as spki", importing("spki", iv, "AES-CTR", true, ["encrypt"])],
  ["AES jwk", importing("jwk", { kty: "oct", k: "AAECAwQFBgcICQoLDA0ODw", alg: "A128GCM" }, "AES-GCM", true, ["decrypt"])],
  ["AES jwk of another mode", importing("jwk", { kty: "oct", k: "AAECAwQFBgcICQoLDA0ODw", alg: "A128CBC" }, "AES-GCM", true, ["decrypt"])],
  ["AES jwk of another length", importing("jwk", { kty: "oct", k: "AAECAwQFBgcICQoLDA0ODw", alg: "A256GCM" }, "AES-GCM", true, ["decrypt"])],
  ["AES jwk for signatures", importing("jwk", { kty: "oct", k: "AAECAwQFBgcICQoLDA0ODw", use: "sig" }, "AES-GCM", true, ["decrypt"])],
  ["AES jwk that is too short", importing("jwk", { kty: "oct", k: "AAECAw" }, "AES-GCM", true, ["decrypt"])],
  ["AES key generated with a wrong length", ({ subtle }) => subtle.generateKey({ name: "AES-GCM", length: 64 }, true, ["encrypt"])],
  ["AES key generated without a length", ({ subtle }) => subtle.generateKey({ name: "AES-GCM" }, true, ["encrypt"])],
  ["AES key generated with a length out of range", ({ subtle }) => subtle.generateKey({ name: "AES-GCM", length: 2 ** 17 }, true, ["encrypt"])],
  ["AES key generated by its name alone", ({ subtle }) => subtle.generateKey("AES-GCM", true, ["encrypt"])],
  ["AES-CBC", encrypting("AES-CBC", { iv })],
  ["AES-CBC of nothing", encrypting("AES-CBC", { iv }, new Uint8Array(0))],
  ["AES-CBC of a block", encrypting("AES-CBC", { iv }, iv)],
  ["AES-CBC with a short iv", encrypting("AES-CBC", { iv: iv.subarray(1) })],
  ["AES-CBC without an iv", encrypting("AES-CBC", {})],
  ["AES-CBC of what was changed", async ({ subtle }) => subtle.decrypt({ name: "AES-CBC", iv }, await aes(subtle, "AES-CBC"), iv)],
  ["AES-CBC of no whole blocks", async ({ subtle }) => subtle.decrypt({ name: "AES-CBC", iv }, await aes(subtle, "AES-CBC"), message)],
  ["AES-CBC of nothing, decrypted", async ({ subtle }) => subtle.decrypt({ name: "AES-CBC", iv }, await aes(subtle, "AES-CBC"), new Uint8Array(0))],
  ["AES-CTR", encrypting("AES-CTR", { counter: iv, length: 64 })],
  ["AES-CTR of nothing", encrypting("AES-CTR", { counter: iv, length: 64 }, new Uint8Array(0))],
  ...[1, 2, 7, 8, 9, 31, 32, 33, 64, 127, 128].map((length) => [
    `AES-CTR beyond ${length} ones`,
    encrypting("AES-CTR", { counter: new Uint8Array(16).fill(255), length }, new Uint8Array(32)),
  ]),
  ["AES-CTR with as many blocks as it counts", encrypting("AES-CTR", { counter: iv, length: 2 }, new Uint8Array(64))],
  ["AES-CTR with more blocks than it counts", encrypting("AES-CTR", { counter: iv, length: 2 }, new Uint8Array(65))],
  ["AES-CTR with length 0", encrypting("AES-CTR", { counter: iv, length: 0 })],
  ["AES-CTR with length 129", encrypting("AES-CTR", { counter: iv, length: 129 })],
  ["AES-CTR with length 256", encrypting("AES-CTR", { counter: iv, length: 256 })],
  ["AES-CTR with a short counter", encrypting("AES-CTR", { counter: iv.subarray(1), length: 64 })],
  ["AES-GCM", encrypting("AES-GCM", { iv })],
  ["AES-GCM of nothing", encrypting("AES-GCM", { iv }, new Uint8Array(0))],
  ["AES-GCM with 12 bytes", encrypting("AES-GCM", { iv: iv.subarray(4), additionalData: message })],
  ["AES-GCM with one byte", encrypting("AES-GCM", { iv: iv.subarray(15), additionalData: new Uint8Array(0) })],
  ["AES-GCM without bytes", encrypting("AES-GCM", { iv: new Uint8Array(0) })],
  ...[4, 8, 16, 32, 64, 72, 88, 96, 104, 112, 120, 127, 128, 129, 136].map((tagLength) => [`AES-GCM tag of ${tagLength}`, encrypting("AES-GCM", { iv, tagLength })]),
  ["AES-GCM of what was changed", async ({ subtle }) => subtle.decrypt({ name: "AES-GCM", iv }, await aes(subtle, "AES-GCM"), new Uint8Array(40))],
  ["AES-GCM of too little", async ({ subtle }) => subtle.decrypt({ name: "AES-GCM", iv }, await aes(subtle, "AES-GCM"), new Uint8Array(15))],
  ["AES-GCM by a key that may only encrypt", async ({ subtle }) => subtle.decrypt({ name: "AES-GCM", iv }, await aes(subtle, "AES-GCM", ["encrypt"]), iv)],
  ["AES-GCM by a key for CBC", async ({ subtle }) => subtle.encrypt({ name: "AES-GCM", iv }, await aes(subtle, "AES-CBC"), iv)],
  ["AES-KW encrypts nothing but keys", async ({ subtle }) => subtle.encrypt("AES-KW", await aes(subtle, "AES-KW", ["wrapKey"]), iv)],

  // Wrapping.
  ...["raw", "jwk"].map((format) => [`AES-KW of ${format}`, async ({ subtle }) => {
    const wrapper = await aes(subtle, "AES-KW", ["wrapKey", "unwrapKey"]);
    const key = await subtle.importKey("raw", iv, hmac, true, ["sign"]);
    const wrapped = await subtle.wrapKey(format, key, wrapper, "aes-kw");
    const back = await subtle.unwrapKey(format, wrapped, wrapper, "AES-KW", hmac, false, ["sign"]);
    return [format === "raw" ? wrapped : "", seen(back)];
  }]),
  ["AES-KW of 14 bytes", async ({ subtle }) => subtle.wrapKey("raw", await subtle.importKey("raw", message, hmac, true, ["sign"]), await aes(subtle, "AES-KW", ["wrapKey"]), "AES-KW")],
  ["AES-KW of 8 bytes", async ({ subtle }) => subtle.wrapKey("raw", await subtle.importKey("raw", iv.subarray(8), hmac, true, ["sign"]), await aes(subtle, "AES-KW", ["wrapKey"]), "AES-KW")],
  ["AES-KW of what was changed", async ({ subtle }) => subtle.unwrapKey("raw", new Uint8Array(24), await aes(subtle, "AES-KW", ["unwrapKey"]), "AES-KW", hmac, true, ["sign"])],
  ["AES-KW of too little", async ({ subtle }) => subtle.unwrapKey("raw", iv, await aes(subtle, "AES-KW", ["unwrapKey"]), "AES-KW", hmac, true, ["sign"])],
  ["wrapping what is not extractable", async ({ subtle }) => subtle.wrapKey("raw", await subtle.importKey("raw", iv, hmac, false, ["sign"]), await aes(subtle, "AES-KW", ["wrapKey"]), "AES-KW")],
  ["wrapping by a key that may not", async ({ subtle }) => subtle.wrapKey("raw", await subtle.importKey("raw", iv, hmac, true, ["sign"]), await aes(subtle, "AES-CBC"), { name: "AES-CBC", iv })],
  ["wrapping by encryption", async ({ subtle }) => subtle.wrapKey("raw", await subtle.importKey("raw", iv, hmac, true, ["sign"]), await aes(subtle, "AES-CBC", ["wrapKey"]), { name: "AES-CBC", iv })],
  ["wrapping by none", async ({ subtle }) => subtle.wrapKey("raw", await subtle.importKey("raw", iv, hmac, true, ["sign"]), await aes(subtle, "AES-CBC", ["wrapKey"]), "HMAC")],
  ["unwrapping what is no jwk", async ({ subtle }) => {
    const wrapper = await aes(subtle, "AES-CBC", ["encrypt", "unwrapKey"]);
    const wrapped = await subtle.encrypt({ name: "AES-CBC", iv }, wrapper, utf8("{}"));
    return subtle.unwrapKey("jwk", wrapped, wrapper, { name: "AES-CBC", iv }, hmac, true, ["sign"]);
  }],
  ["unwrapping what is no JSON", async ({ subtle }) => {
    const wrapper = await aes(subtle, "AES-CBC", ["encrypt", "unwrapKey"]);
    const wrapped = await subtle.encrypt({ name: "AES-CBC", iv }, wrapper, message);
    return subtle.unwrapKey("jwk", wrapped, wrapper, { name: "AES-CBC", iv }, hmac, true, ["sign"]);
  }],

  // HKDF and PBKDF2.
  ["HKDF", deriving("HKDF", {}, 256)],
  ["HKDF of one byte", deriving("hkdf", {}, 8)],
  ["HKDF of nothing", deriving("HKDF", {}, 0)],
  ["HKDF of a bit", deriving("HKDF", {}, 1)],
  ["HKDF of null", deriving("HKDF", {}, null)],
  ["HKDF of undefined", deriving("HKDF", {}, undefined)],
  ["HKDF of all", deriving("HKDF", { hash: "SHA-1" }, 255 * 160)],
  ["HKDF of too much", deriving("HKDF", { hash: "SHA-1" }, 255 * 160 + 8)],
  ["HKDF without salt and info", deriving("HKDF", { salt: new Uint8Array(0), info: new Uint8Array(0) }, 256)],
  ["HKDF with a missing salt", deriving("HKDF", { salt: undefined }, 256)],
  ["HKDF by a key that may not", deriving("HKDF", {}, 256, ["deriveKey"])],
  ["HKDF key", importing("raw", message, "HKDF", false, ["deriveKey", "deriveBits"])],
  ["HKDF key that is empty", importing("raw", new Uint8Array(0), "HKDF", false, ["deriveKey"])],
  ["HKDF key that is extractable", importing("raw", message, "HKDF", true, ["deriveKey"])],
  ["HKDF key that signs", importing("raw", message, "HKDF", false, ["sign"])],
  ["HKDF key without usages", importing("raw", message, "HKDF", false, [])],
  ["HKDF jwk", importing("jwk", { kty: "oct", k: "AAECAw" }, "HKDF", false, ["deriveKey"])],
  ["HKDF key generated", ({ subtle }) => subtle.generateKey("HKDF", false, ["deriveKey"])],
  ["HKDF key exported", async ({ subtle }) => subtle.exportKey("raw", await subtle.importKey("raw", iv, "HKDF", false, ["deriveKey"]))],
  ["PBKDF2", deriving("PBKDF2", {}, 256)],
  ["PBKDF2 of several blocks", deriving("PBKDF2", {}, 1000)],
  ["PBKDF2 of nothing", deriving("PBKDF2", {}, 0)],
  ["PBKDF2 of a bit", deriving("PBKDF2", {}, 9)],
  ["PBKDF2 of null", deriving("PBKDF2", {}, null)],
  ["PBKDF2 with no iterations", deriving("PBKDF2", { iterations: 0 }, 256)],
  ["PBKDF2 with iterations out of range", deriving("PBKDF2", { iterations: 2 ** 32 }, 256)],
  ["PBKDF2 without iterations", deriving("PBKDF2", { iterations: undefined }, 256)],
  ["PBKDF2 with an unknown hash", deriving("PBKDF2", { hash: "MD5" }, 256)],
  ["PBKDF2 of an empty password", async ({ subtle }) => subtle.deriveBits({ name: "PBKDF2", hash: "SHA-512", salt: iv, iterations: 2 }, await subtle.importKey("raw", new Uint8Array(0), "PBKDF2", false, ["deriveBits"]), 128)],
  ["derived key for AES", derivingKey({ name: "AES-CBC", length: 256 }, ["encrypt"])],
  ["derived key for AES of a wrong length", derivingKey({ name: "AES-CBC", length: 100 }, ["encrypt"])],
  ["derived key for AES without a length", derivingKey({ name: "AES-CBC" }, ["encrypt"])],
  ["derived key for AES without usages", derivingKey({ name: "AES-CBC", length: 128 }, [])],
  ["derived key for AES that signs", derivingKey({ name: "AES-CBC", length: 128 }, ["sign"])],
  ["derived key for HMAC", derivingKey({ name: "HMAC", hash: "SHA-384" }, ["sign"])],
  ["derived key for HMAC of a length", derivingKey({ name: "HMAC", hash: "SHA-384", length: 200 }, ["verify"])],
  ["derived key for HMAC of length 0", derivingKey({ name: "HMAC", hash: "SHA-384", length: 0 }, ["verify"])],
  ["derived key for HKDF", derivingKey("HKDF", ["deriveKey"], false)],
  ["derived key for ECDSA", derivingKey(ecdsa, ["sign"])],

  // Curves.
  ["ECDSA jwk", importing("jwk", p256, ecdsa, true, ["sign"])],
  ["ECDSA jwk that verifies", importing("jwk", publicOf(p256), ecdsa, false, ["verify"])],
  ["ECDSA jwk without usages", importing("jwk", publicOf(p256), ecdsa, false, [])],
  ["ECDSA private jwk without usages", importing("jwk", p256, ecdsa, false, [])],
  ["ECDSA private jwk that verifies", importing("jwk", p256, ecdsa, true, ["verify"])],
  ["ECDSA public jwk that signs", importing("jwk", publicOf(p256), ecdsa, true, ["sign"])],
  ["ECDSA jwk of another curve", importing("jwk", p256, { ...ecdsa, namedCurve: "P-384" }, true, ["sign"])],
  ["ECDSA key on an unknown curve", importing("jwk", p256, { ...ecdsa, namedCurve: "K-256" }, true, ["sign"])],
  ["ECDSA key on a curve in small letters", importing("jwk", p256, { ...ecdsa, namedCurve: "p-256" }, true, ["sign"])],
  ["ECDSA key without a curve", importing("jwk", p256, "ECDSA", true, ["sign"])],
  ["ECDSA jwk with its algorithm", importing("jwk", { ...p256, alg: "ES256" }, ecdsa, true, ["sign"])],
  ["ECDSA jwk with another algorithm", importing("jwk", { ...p256, alg: "ES384" }, ecdsa, true, ["sign"])],
  ["ECDSA jwk without y", importing("jwk", { ...p256, y: undefined }, ecdsa, true, ["sign"])],
  ["ECDSA jwk with a short x", importing("jwk", { ...p256, x: p256.x.slice(4) }, ecdsa, true, ["sign"])],
  ["ECDSA jwk with a long x", importing("jwk", { ...p256, x: "AAAA" + p256.x }, ecdsa, true, ["sign"])],
  ["ECDSA jwk with a short d", importing("jwk", { ...p256, d: p256.d.slice(4) }, ecdsa, true, ["sign"])],
  ["ECDSA jwk of another point", importing("jwk", { ...p256, d: p256.x }, ecdsa, true, ["sign"])],
  ["ECDSA jwk beside the curve", importing("jwk", { ...publicOf(p256), x: p256.y }, ecdsa, true, ["verify"])],
  ...["jwk", "raw", "spki"].map((format) => [`ECDSA public key as ${format}`, exporting("jwk", publicOf(p256), ecdsa, ["verify"], format)]),
  ...["jwk", "pkcs8", "raw", "spki"].map((format) => [`ECDSA private key as ${format}`, exporting("jwk", p256, ecdsa, ["sign"], format)]),
  ["ECDSA raw key that is compressed", exporting("raw", bytes("0360fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"), ecdsa, ["verify"], "raw")],
  ["ECDSA raw key that is none", importing("raw", bytes("0460fe"), ecdsa, true, ["verify"])],
  ["ECDSA raw key at infinity", importing("raw", bytes("00"), ecdsa, true, ["verify"])],
  ["ECDSA spki that is none", importing("spki", message, ecdsa, true, ["verify"])],
  ["ECDSA pkcs8 that is none", importing("pkcs8", message, ecdsa, true, ["sign"])],
  ["ECDSA pkcs8 of Ed25519", importing("pkcs8", bytes("302e020100300506032b6570042204209d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"), ecdsa, true, ["sign"])],
  ["ECDSA verifies", async ({ subtle }) => {
    // RFC 6979, A.2.5.
    const signature = bytes("efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8");
    const key = await subtle.importKey("jwk", publicOf(p256), ecdsa, true, ["verify"]);
    const algorithm = { name: "ECDSA", hash: "SHA-256" };
    return [
      await subtle.verify(algorithm, key, signature, utf8("sample")),
      await subtle.verify(algorithm, key, signature, utf8("simple")),
      await subtle.verify(algorithm, key, signature.subarray(1), utf8("sample")),
      await subtle.verify(algorithm, key, new Uint8Array(64), utf8("sample")),
      await subtle.verify({ name: "ECDSA", hash: "SHA-1" }, key, signature, utf8("sample")),
    ];
  }],
  ["ECDSA without a hash", async ({ subtle }) => subtle.sign("ECDSA", await subtle.importKey("jwk", p256, ecdsa, true, ["sign"]), message)],
  ["ECDSA by a public key", async ({ subtle }) => subtle.sign({ name: "ECDSA", hash: "SHA-1" }, await subtle.importKey("jwk", publicOf(p256), ecdsa, true, ["verify"]), message)],
  ["ECDSA by a key for ECDH", async ({ subtle }) => subtle.sign({ name: "ECDSA", hash: "SHA-1" }, await subtle.importKey("jwk", p256, ecdh, true, ["deriveBits"]), message)],
  ["ECDSA keys generated", async ({ subtle }) => pairOf(await subtle.generateKey(ecdsa, false, ["verify", "sign"]))],
  ["ECDSA keys generated to verify", ({ subtle }) => subtle.generateKey(ecdsa, false, ["verify"])],
  ["ECDSA keys generated on none", ({ subtle }) => subtle.generateKey({ ...ecdsa, namedCurve: "P-255" }, false, ["sign"])],
  ["ECDH keys generated", async ({ subtle }) => pairOf(await subtle.generateKey(ecdh, false, ["deriveBits"]))],
  ["ECDH keys generated that sign", ({ subtle }) => subtle.generateKey(ecdh, false, ["sign"])],
  ["ECDH public jwk with usages", importing("jwk", publicOf(p256), ecdh, true, ["deriveBits"])],
  ["ECDH jwk for signatures", importing("jwk", { ...p256, use: "sig" }, ecdh, true, ["deriveBits"])],
  ["ECDH jwk with an algorithm", importing("jwk", { ...p256, alg: "ES256" }, ecdh, true, ["deriveBits"])],
  ...[null, 0, 1, 8, 12, 250, 255, 256, 257, 264].map((length) => [`ECDH of ${length}`, agreeing(length)]),
  ["ECDH of undefined", agreeing(undefined)],
  ["ECDH by a key that may not", agreeing(8, { usages: ["deriveKey"] })],
  ["ECDH with a private key", agreeing(8, { public: (own) => own })],
  ["ECDH with no key", agreeing(8, { public: () => ({}) })],
  ["ECDH with a key for ECDSA", agreeing(8, { other: ecdsa, otherUsages: ["verify"] })],
  ["ECDH by a public key", async ({ subtle }) => {
    const key = await subtle.importKey("jwk", publicOf(p256), ecdh, true, []);
    return subtle.deriveBits({ name: "ECDH", public: key }, key, 8);
  }],
  ["ECDH of different curves", async ({ subtle }) => {
    const own = await subtle.importKey("jwk", p256, ecdh, true, ["deriveBits"]);
    const other = await subtle.generateKey({ name: "ECDH", namedCurve: "P-384" }, true, ["deriveBits"]);
    return subtle.deriveBits({ name: "ECDH", public: other.publicKey }, own, 8);
  }],
  ["ECDH for a key", async ({ subtle }) => {
    const own = await subtle.importKey("jwk", p256, ecdh, true, ["deriveKey"]);
    const other = await subtle.importKey("jwk", publicOf(p256), ecdh, true, []);
    const keys = [];
    for (const type of [{ name: "AES-GCM", length: 192 }, { name: "HMAC", hash: "SHA-256", length: 128 }]) {
      keys.push(await subtle.exportKey("raw", await subtle.deriveKey({ name: "ECDH", public: other }, own, type, true, [type.length === 192 ? "encrypt" : "sign"])));
    }
    return keys;
  }],
  ["ECDH for too long a key", async ({ subtle }) => {
    const own = await subtle.importKey("jwk", p256, ecdh, true, ["deriveKey"]);
    const other = await subtle.importKey("jwk", publicOf(p256), ecdh, true, []);
    return subtle.deriveKey({ name: "ECDH", public: other }, own, hmac, true, ["sign"]);
  }],
  ["ECDH for HKDF", async ({ subtle }) => {
    const own = await subtle.importKey("jwk", p256, ecdh, true, ["deriveKey"]);
    const other = await subtle.importKey("jwk", publicOf(p256), ecdh, true, []);
    const key = await subtle.deriveKey({ name: "ECDH", public: other }, own, "HKDF", false, ["deriveBits"]);
    return subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt: iv, info: iv }, key, 256);
  }],

  // Ed25519 and X25519.
  ["Ed25519", async ({ subtle }) => subtle.sign("ed25519", await subtle.importKey("jwk", ed25519, "Ed25519", true, ["sign"]), new Uint8Array(0))],
  ["Ed25519 verifies", async ({ subtle }) => {
    const signature = bytes("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b");
    const key = await subtle.importKey("raw", bytes("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"), "Ed25519", true, ["verify"]);
    return [
      await subtle.verify("Ed25519", key, signature, new Uint8Array(0)),
      await subtle.verify("Ed25519", key, signature, message),
      await subtle.verify("Ed25519", key, signature.subarray(1), new Uint8Array(0)),
    ];
  }],
  ["Ed25519 verifies nothing by a key of small order", async ({ subtle }) => {
    const key = await subtle.importKey("raw", bytes("01" + "00".repeat(31)), "Ed25519", true, ["verify"]);
    return subtle.verify("Ed25519", key, bytes("01" + "00".repeat(63)), message);
  }],
  ["Ed25519 verifies nothing beside the curve", async ({ subtle }) => {
    const key = await subtle.importKey("raw", bytes("02" + "00".repeat(31)), "Ed25519", true, ["verify"]);
    return subtle.verify("Ed25519", key, new Uint8Array(64), message);
  }],
  ...["jwk", "raw", "spki"].map((format) => [`Ed25519 public key as ${format}`, exporting("jwk", publicOf(ed25519), "Ed25519", ["verify"], format)]),
  ...["jwk", "pkcs8", "raw", "spki"].map((format) => [`Ed25519 private key as ${format}`, exporting("jwk", ed25519, "Ed25519", ["sign"], format)]),
  ["Ed25519 raw key of 31 bytes", importing("raw", new Uint8Array(31), "Ed25519", true, ["verify"])],
  ["Ed25519 raw key that signs", importing("raw", new Uint8Array(32), "Ed25519", true, ["sign"])],
  ["Ed25519 jwk for EdDSA", importing("jwk", { ...ed25519, alg: "EdDSA" }, "Ed25519", true, ["sign"])],
  ["Ed25519 jwk for Ed25519", importing("jwk", { ...ed25519, alg: "Ed25519" }, "Ed25519", true, ["sign"])],
  ["Ed25519 jwk for ES256", importing("jwk", { ...ed25519, alg: "ES256" }, "Ed25519", true, ["sign"])],
  ["Ed25519 jwk of X25519", importing("jwk", x25519, "Ed25519", true, ["sign"])],
  ["Ed25519 jwk of another key", importing("jwk", { ...ed25519, d: x25519.d }, "Ed25519", true, ["sign"])],
  ["Ed25519 jwk with a short x", importing("jwk", { ...publicOf(ed25519), x: "AAAA" }, "Ed25519", true, ["verify"])],
  ["Ed25519 keys generated", async ({ subtle }) => pairOf(await subtle.generateKey("Ed25519", true, ["verify", "sign"]))],
  ["X25519", async ({ subtle }) => {
    const own = await subtle.importKey("jwk", x25519, "X25519", true, ["deriveBits"]);
    const other = await subtle.importKey("raw", bytes("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"), "X25519", true, []);
    return [await subtle.deriveBits({ name: "X25519", public: other }, own, null), await subtle.deriveBits({ name: "X25519", public: other }, own, 100)];
  }],
  ["X25519 with a key that agrees with all", async ({ subtle }) => {
    const own = await subtle.importKey("jwk", x25519, "X25519", true, ["deriveBits"]);
    const other = await subtle.importKey("raw", new Uint8Array(32), "X25519", true, []);
    return subtle.deriveBits({ name: "X25519", public: other }, own, 256);
  }],
  ["X25519 with a key for ECDH", async ({ subtle }) => {
    const own = await subtle.importKey("jwk", x25519, "X25519", true, ["deriveBits"]);
    const other = await subtle.importKey("jwk", publicOf(p256), ecdh, true, []);
    return subtle.deriveBits({ name: "X25519", public: other }, own, 256);
  }],
  ...["jwk", "raw", "spki"].map((format) => [`X25519 public key as ${format}`, exporting("jwk", publicOf(x25519), "X25519", [], format)]),
  ...["jwk", "pkcs8"].map((format) => [`X25519 private key as ${format}`, exporting("jwk", x25519, "X25519", ["deriveBits"], format)]),
  ["X25519 keys generated", async ({ subtle }) => pairOf(await subtle.generateKey("X25519", true, ["deriveBits"]))],
  ["X25519 keys generated that sign", ({ subtle }) => subtle.generateKey("X25519", true, ["sign"])],
  ["X25519 public key with usages", importing("raw", new Uint8Array(32), "X25519", true, ["deriveBits"])],
  ["X448", importing("raw", new Uint8Array(56), "X448x", true, [])],

  // RSA.
  ["RSA jwk", importing("jwk", rsa, rs256, true, ["sign"])],
  ["RSA public jwk", importing("jwk", rsaPublic, rs256, true, ["verify"])],
  ["RSA public jwk that signs", importing("jwk", rsaPublic, rs256, true, ["sign"])],
  ["RSA jwk without a hash", importing("jwk", rsa, "RSASSA-PKCS1-v1_5", true, ["sign"])],
  ["RSA jwk for RS256", importing("jwk", { ...rsa, alg: "RS256" }, rs256, true, ["sign"])],
  ["RSA jwk for RS512", importing("jwk", { ...rsa, alg: "RS512" }, rs256, true, ["sign"])],
  ["RSA jwk for PS256", importing("jwk", { ...rsa, alg: "PS256" }, { ...rs256, name: "RSA-PSS" }, true, ["sign"])],
  ["RSA jwk for RSA-OAEP", importing("jwk", { ...rsa, alg: "RSA-OAEP" }, { name: "RSA-OAEP", hash: "SHA-1" }, true, ["decrypt"])],
  ["RSA jwk for RSA-OAEP-256", importing("jwk", { ...rsa, alg: "RSA-OAEP-256" }, { name: "RSA-OAEP", hash: "SHA-1" }, true, ["decrypt"])],
  ["RSA jwk for encryption", importing("jwk", { ...rsa, use: "enc" }, rs256, true, ["sign"])],
  ["RSA jwk without primes", importing("jwk", { ...rsaPublic, d: rsa.d }, rs256, true, ["sign"])],
  ["RSA jwk without qi", importing("jwk", { ...rsa, qi: undefined }, rs256, true, ["sign"])],
  ["RSA jwk with more primes", importing("jwk", { ...rsa, oth: [] }, rs256, true, ["sign"])],
  ["RSA jwk with another d", importing("jwk", { ...rsa, d: rsa.p }, rs256, true, ["sign"])],
  ["RSA jwk with p twice", importing("jwk", { ...rsa, q: rsa.p }, rs256, true, ["sign"])],
  ["RSA jwk with an empty e", importing("jwk", { ...rsaPublic, e: "" }, rs256, true, ["verify"])],
  ["RSA jwk with e = 0", importing("jwk", { ...rsaPublic, e: "AA" }, rs256, true, ["verify"])],
  ["RSA jwk with an even modulus", importing("jwk", { ...rsaPublic, n: rsa.n.slice(0, -2) + "AA" }, rs256, true, ["verify"])],
  ["RSA jwk with a small modulus", importing("jwk", { ...rsaPublic, n: rsa.n.slice(80) }, rs256, true, ["verify"])],
  ["RSA raw", importing("raw", message, rs256, true, ["verify"])],
  ["RSA spki that is none", importing("spki", message, rs256, true, ["verify"])],
  ["RSA pkcs8 that is none", importing("pkcs8", message, rs256, true, ["sign"])],
  ...["jwk", "spki"].map((format) => [`RSA public key as ${format}`, exporting("jwk", rsaPublic, rs256, ["verify"], format)]),
  ...["jwk", "pkcs8", "spki", "raw"].map((format) => [`RSA private key as ${format}`, exporting("jwk", rsa, rs256, ["sign"], format)]),
  ["RSA key for OAEP as jwk", exporting("jwk", rsa, { name: "RSA-OAEP", hash: "SHA-512" }, ["decrypt"], "jwk")],
  ["RSA key for PSS as jwk", exporting("jwk", rsa, { name: "RSA-PSS", hash: "SHA-1" }, ["sign"], "jwk")],
  ...["SHA-1", "SHA-256", "SHA-384", "SHA-512"].map((hash) => [`RSASSA-PKCS1-v1_5 ${hash}`, async ({ subtle }) => {
    const algorithm = { name: "RSASSA-PKCS1-v1_5", hash };
    const signature = await subtle.sign("RSASSA-PKCS1-v1_5", await subtle.importKey("jwk", rsa, algorithm, true, ["sign"]), message);
    const key = await subtle.importKey("jwk", rsaPublic, algorithm, true, ["verify"]);
    return [signature, await subtle.verify("RSASSA-PKCS1-v1_5", key, signature, message), await subtle.verify("RSASSA-PKCS1-v1_5", key, signature, iv), await subtle.verify("RSASSA-PKCS1-v1_5", key, iv, message)];
  }]),
  ["RSA-PSS without salt", async ({ subtle }) => subtle.sign({ name: "RSA-PSS", saltLength: 0 }, await subtle.importKey("jwk", rsa, { name: "RSA-PSS", hash: "SHA-256" }, true, ["sign"]), message)],
  ["RSA-PSS with too much salt", async ({ subtle }) => subtle.sign({ name: "RSA-PSS", saltLength: 95 }, await subtle.importKey("jwk", rsa, { name: "RSA-PSS", hash: "SHA-256" }, true, ["sign"]), message)],
  ["RSA-PSS with far too much salt", async ({ subtle }) => subtle.sign({ name: "RSA-PSS", saltLength: 2 ** 31 - 1 }, await subtle.importKey("jwk", rsa, { name: "RSA-PSS", hash: "SHA-256" }, true, ["sign"]), message)],
  ["RSA-PSS without a length of salt", async ({ subtle }) => subtle.sign("RSA-PSS", await subtle.importKey("jwk", rsa, { name: "RSA-PSS", hash: "SHA-256" }, true, ["sign"]), message)],
  ["RSA-OAEP of what was not encrypted", async ({ subtle }) => subtle.decrypt("RSA-OAEP", await subtle.importKey("jwk", rsa, { name: "RSA-OAEP", hash: "SHA-1" }, true, ["decrypt"]), new Uint8Array(128))],
  ["RSA-OAEP of a short text", async ({ subtle }) => subtle.decrypt("RSA-OAEP", await subtle.importKey("jwk", rsa, { name: "RSA-OAEP", hash: "SHA-1" }, true, ["decrypt"]), message)],
  ["RSA-OAEP of too long a text", async ({ subtle }) => subtle.encrypt("RSA-OAEP", await subtle.importKey("jwk", rsaPublic, { name: "RSA-OAEP", hash: "SHA-1" }, true, ["encrypt"]), new Uint8Array(87))],
  ["RSA-OAEP by a private key", async ({ subtle }) => subtle.encrypt("RSA-OAEP", await subtle.importKey("jwk", rsa, { name: "RSA-OAEP", hash: "SHA-1" }, true, ["decrypt"]), message)],
  ["RSA keys generated", async ({ subtle }) => pairOf(await subtle.generateKey({ ...rs256, modulusLength: 1024, publicExponent: new Uint8Array([0, 1, 0, 1]) }, false, ["sign", "verify"]))],
  ["RSA keys generated without an exponent", ({ subtle }) => subtle.generateKey({ ...rs256, modulusLength: 1024 }, false, ["sign"])],
  ["RSA keys generated with a number", ({ subtle }) => subtle.generateKey({ ...rs256, modulusLength: 1024, publicExponent: 65537 }, false, ["sign"])],
  ["RSA keys generated with e = 2", ({ subtle }) => subtle.generateKey({ ...rs256, modulusLength: 1024, publicExponent: new Uint8Array([2]) }, false, ["sign"])],
  ["RSA keys generated with e = 1", ({ subtle }) => subtle.generateKey({ ...rs256, modulusLength: 1024, publicExponent: new Uint8Array([1]) }, false, ["sign"])],
  ["RSA keys generated without usages", ({ subtle }) => subtle.generateKey({ ...rs256, modulusLength: 1024, publicExponent: new Uint8Array([3]) }, false, [])],
  ["RSA keys generated that encrypt", ({ subtle }) => subtle.generateKey({ ...rs256, modulusLength: 1024, publicExponent: new Uint8Array([3]) }, false, ["encrypt"])],

  // Exporting.
  ["exporting what is not extractable", async ({ subtle }) => subtle.exportKey("raw", await subtle.importKey("raw", iv, hmac, false, ["sign"]))],
  ["exporting in an unknown format", async ({ subtle }) => subtle.exportKey("pem", await subtle.importKey("raw", iv, hmac, true, ["sign"]))],
  ["exporting a secret as spki", async ({ subtle }) => subtle.exportKey("spki", await subtle.importKey("raw", iv, hmac, true, ["sign"]))],
  ["exporting a public key as pkcs8", async ({ subtle }) => subtle.exportKey("pkcs8", await subtle.importKey("jwk", publicOf(p256), ecdsa, true, ["verify"]))],
  ["exporting no key", ({ subtle }) => subtle.exportKey("raw", {})],
];

// Where the isolates answer differently, and the row of docs/reference/web-crypto.md that says so.
const deviating = {
  "usages of a key": { "HMAC key": "[secret, false, [sign, verify], {hash: {name: SHA-512}, length: 112, name: HMAC}]" },
  "a key's `algorithm` or `usages`, changed by the script": {
    "an algorithm that the caller changes": "32",
    "usages that the caller changes": "InvalidAccessError",
  },
  "`importKey` of a JSON Web Key with padding or plain base64": {
    "HMAC jwk with padding": "DataError",
    "HMAC jwk in plain base64": "DataError",
  },
  "`importKey` of bytes as `jwk`": { "HMAC jwk as bytes": "TypeError" },
  "`generateKey` for HMAC with length 0": { "HMAC key generated with length 0": "OperationError" },
  "`deriveKey` for HMAC with length 0": { "derived key for HMAC of length 0": "TypeError" },
  "AES-GCM with an `iv` of less than 12 or more than 128 bytes": {
    "AES-GCM with one byte": "[432d3f0050c1796a089ba70d4f3151f779403d43f2cb4d11fc713e918b0e, 61747461636b206174206461776e]",
  },
  "`exportKey` and `wrapKey` of a key that is not extractable": {
    "wrapping what is not extractable": "InvalidAccessError",
    "exporting what is not extractable": "InvalidAccessError",
  },
  "`exportKey` in a format that is not for keys of this type": {
    "ECDSA private key as raw": "InvalidAccessError",
    "ECDSA private key as spki": "InvalidAccessError",
    "Ed25519 private key as raw": "InvalidAccessError",
    "Ed25519 private key as spki": "InvalidAccessError",
    "RSA private key as spki": "InvalidAccessError",
    "exporting a public key as pkcs8": "InvalidAccessError",
  },
  "coordinates of a JSON Web Key with zeros before them": { "ECDSA jwk with a long x": "DataError" },
  "`verify` by Ed25519 with a key or signature of small order": {
    "Ed25519 verifies nothing by a key of small order": "false",
  },
  "`importKey` of a JSON Web Key for RSA with `oth`": { "RSA jwk with more primes": "NotSupportedError" },
  "`importKey` for RSA of numbers that are no key": {
    "RSA jwk with another d": "DataError",
    "RSA jwk with p twice": "DataError",
    "RSA jwk with an empty e": "DataError",
    "RSA jwk with e = 0": "DataError",
    "RSA jwk with an even modulus": "DataError",
    "RSA jwk with a small modulus": "DataError",
  },
};
export const rows = Object.keys(deviating);
export const deviations = new Map(Object.values(deviating).flatMap(Object.entries));
