// How keys for crypto.subtle are generated, imported and exported.
import { blockBits, checkCurve, notSupported } from "tidemark:crypto-algorithms";
import { makeKey, slots } from "tidemark:crypto-key";
import { TextDecoder } from "tidemark:encoding";
import { cryptography } from "tidemark:requests";

const isObject = (value) => typeof value === "object" && value !== null;

const dataError = (message) => new DOMException(message, "DataError");
const syntaxError = (message) => new DOMException(message, "SyntaxError");
const invalidAccess = (message) => new DOMException(message, "InvalidAccessError");
const operationError = (message) => new DOMException(message, "OperationError");

// What a kind of algorithm has of its own: which usages its keys may have by type, what the host calls its keys, in which
// formats they are written, and what JSON Web Keys say of it.
const signs = { public: ["verify"], private: ["sign"] };
const agrees = { public: [], private: ["deriveKey", "deriveBits"] };
const encrypts = { secret: ["encrypt", "decrypt", "wrapKey", "unwrapKey"] };
const derives = { secret: ["deriveKey", "deriveBits"] };
const pairFormats = { raw: "public", spki: "public", pkcs8: "private", jwk: "either" };
const rsaFormats = { spki: "public", pkcs8: "private", jwk: "either" };
const secretFormats = { raw: "secret", jwk: "secret" };
const hashNumber = (hash) => hash.slice("SHA-".length);

const rsa = (usages, use, jwkAlgorithm) => ({
  usages,
  use,
  formats: rsaFormats,
  kind: () => "Rsa",
  jwkAlgorithms: ({ hash }) => [jwkAlgorithm(hashNumber(hash))],
  describe: ({ name, hash, publicExponent: given }, { bits, publicExponent }) => ({
    name,
    modulusLength: bits,
    publicExponent: given?.slice() ?? Uint8Array.fromBase64(publicExponent),
    hash: { name: hash },
  }),
});

const elliptic = (usages, use, jwkAlgorithms) => ({
  usages,
  use,
  formats: pairFormats,
  kind: ({ namedCurve }) => ({ Ec: checkCurve(namedCurve) }),
  jwkAlgorithms,
  describe: ({ name, namedCurve }) => ({ name, namedCurve }),
});

const curve25519 = (usages, use, kind, jwkAlgorithms) => ({
  usages,
  use,
  formats: pairFormats,
  kind: () => kind,
  jwkAlgorithms,
  describe: ({ name }) => ({ name }),
});

const aes = (usages, suffix) => ({
  usages,
  use: "enc",
  formats: secretFormats,
  kind: () => "Aes",
  jwkAlgorithms: (_, bits) => [`A${bits}${suffix}`],
  describe: ({ name }, { bits }) => ({ name, length: bits }),
});

const derivation = {
  usages: derives,
  formats: { raw: "secret" },
  kind: () => "Secret",
  describe: ({ name }) => ({ name }),
};

const families = {
  "RSASSA-PKCS1-v1_5": rsa(signs, "sig", (number) => `RS${number}`),
  "RSA-PSS": rsa(signs, "sig", (number) => `PS${number}`),
  "RSA-OAEP": rsa({ public: ["encrypt", "wrapKey"], private: ["decrypt", "unwrapKey"] }, "enc", (number) =>
    number === "1" ? "RSA-OAEP" : `RSA-OAEP-${number}`,
  ),
  ECDSA: elliptic(signs, "sig", ({ namedCurve }) => [
    { "P-256": "ES256", "P-384": "ES384", "P-521": "ES512" }[namedCurve],
  ]),
  ECDH: elliptic(agrees, "enc"),
  Ed25519: curve25519(signs, "sig", "Ed25519", () => ["Ed25519", "EdDSA"]),
  X25519: curve25519(agrees, "enc", "X25519"),
  HMAC: {
    usages: { secret: ["sign", "verify"] },
    use: "sig",
    formats: secretFormats,
    kind: () => "Secret",
    jwkAlgorithms: ({ hash }) => [`HS${hashNumber(hash)}`],
    describe: ({ name, hash }, { bits }) => ({ name, hash: { name: hash }, length: bits }),
  },
  "AES-CBC": aes(encrypts, "CBC"),
  "AES-CTR": aes(encrypts, "CTR"),
  "AES-GCM": aes(encrypts, "GCM"),
  "AES-KW": aes({ secret: ["wrapKey", "unwrapKey"] }, "KW"),
  HKDF: derivation,
  PBKDF2: derivation,
};

const usageNames = ["encrypt", "decrypt", "sign", "verify", "deriveKey", "deriveBits", "wrapKey", "unwrapKey"];

// A sequence of usages, as the interface takes it: in a fixed order and each once.
export function usagesOf(given) {
  if (!isObject(given) || typeof given[Symbol.iterator] !== "function") {
    throw new TypeError("keyUsages must be a sequence");
  }
  const names = Array.from(given, String);
  for (const name of names) {
    if (!usageNames.includes(name)) {
      throw new TypeError(`${name} is no usage of a key`);
    }
  }
  return usageNames.filter((name) => names.includes(name));
}

function checkUsages(family, usages, ...types) {
  const allowed = types.flatMap((type) => family.usages[type]);
  for (const usage of usages) {
    if (!allowed.includes(usage)) {
      throw syntaxError(`a key of that kind can't be used to ${usage}`);
    }
  }
}

function checkNotUseless(type, usages) {
  if (type !== "public" && usages.length === 0) {
    throw syntaxError("a key without usages would be of no use");
  }
}

function keyOf(algorithm, described, extractable, usages) {
  const { hash, namedCurve: curve, name } = algorithm;
  return makeKey({
    type: described.type,
    extractable,
    usages,
    algorithm: families[name].describe(algorithm, described),
    name,
    hash,
    curve,
    bits: described.bits,
    material: described.key,
  });
}

export function generate(algorithm, extractable, usages) {
  const family = families[algorithm.name];
  const types = Object.keys(family.usages);
  checkUsages(family, usages, ...types);
  const operation = generation(algorithm);
  const last = types.at(-1);
  checkNotUseless(last, usages.filter((usage) => family.usages[last].includes(usage)));
  const answer = JSON.parse(cryptography(operation, ""));
  if (last === "secret") {
    return keyOf(algorithm, answer, extractable, usages);
  }
  const of = (type) => usages.filter((usage) => family.usages[type].includes(usage));
  return {
    publicKey: keyOf(algorithm, answer.public, true, of("public")),
    privateKey: keyOf(algorithm, answer.private, extractable, of("private")),
  };
}

function generation(algorithm) {
  const { name, hash, modulusLength, publicExponent, length, namedCurve } = algorithm;
  switch (name) {
    case "RSASSA-PKCS1-v1_5":
    case "RSA-PSS":
    case "RSA-OAEP":
      return { operation: "generate-rsa", modulusBits: modulusLength, publicExponent: publicExponent.toBase64() };
    case "ECDSA":
    case "ECDH":
      return { operation: "generate-ec", curve: checkCurve(namedCurve) };
    case "Ed25519":
      return { operation: "generate-ed25519" };
    case "X25519":
      return { operation: "generate-x25519" };
    case "HMAC":
      return { operation: "generate-secret", bytes: wholeBytes(length ?? blockBits(hash)) };
    default:
      return { operation: "generate-aes", bits: length };
  }
}

function wholeBytes(bits) {
  if (bits % 8 !== 0) {
    throw notSupported("a key for HMAC must consist of whole bytes");
  }
  return bits / 8;
}

// `data` are bytes, or for "jwk" an object.
export function importKey(format, data, algorithm, extractable, usages) {
  const family = families[algorithm.name];
  let type = family.formats[format];
  if (!type) {
    throw notSupported(`keys for ${algorithm.name} can't be imported as ${format}`);
  }
  if (type === "either") {
    type = data.d === undefined ? "public" : "private";
  }
  checkUsages(family, usages, type);
  if (family === derivation && extractable) {
    throw syntaxError(`a key for ${algorithm.name} can't be extractable`);
  }
  const kind = family.kind(algorithm);
  if (format === "jwk") {
    checkUse(family, data, extractable, usages);
  }
  const described = JSON.parse(
    cryptography({ operation: "import", kind, format }, format === "jwk" ? JSON.stringify(membersOf(data)) : data.buffer),
  );
  if (format === "jwk") {
    checkJwkAlgorithm(family, data, algorithm, described.bits);
  }
  if (algorithm.name === "HMAC") {
    checkHmacLength(described.bits, algorithm.length);
  }
  checkNotUseless(type, usages);
  return keyOf(algorithm, described, extractable, usages);
}

function checkHmacLength(bits, wanted) {
  if (bits === 0) {
    throw dataError("a key for HMAC must not be empty");
  }
  if (wanted !== undefined && wanted !== bits) {
    if (wanted > bits || wanted <= bits - 8) {
      throw dataError("the key for HMAC has another length");
    }
    wholeBytes(wanted);
  }
}

// What a JSON Web Key says about its own use.
function checkUse(family, { use, key_ops: operations, ext }, extractable, usages) {
  if (usages.length > 0 && use !== undefined && String(use) !== family.use) {
    throw dataError(`the JSON Web Key is not one for the use "${family.use}"`);
  }
  if (operations !== undefined) {
    if (!isObject(operations) || typeof operations[Symbol.iterator] !== "function") {
      throw new TypeError("key_ops must be a sequence");
    }
    const names = Array.from(operations, String);
    if (new Set(names).size !== names.length) {
      throw dataError("key_ops of the JSON Web Key names an operation twice");
    }
    if (usages.some((usage) => !names.includes(usage))) {
      throw dataError("the JSON Web Key is not one for all of these usages");
    }
  }
  if (ext !== undefined && !ext && extractable) {
    throw dataError("the JSON Web Key is not extractable");
  }
}

function checkJwkAlgorithm(family, { alg }, algorithm, bits) {
  const expected = family.jwkAlgorithms?.(algorithm, bits);
  if (alg !== undefined && expected && !expected.includes(String(alg))) {
    throw dataError(`the JSON Web Key is not one for ${algorithm.name} with these parameters`);
  }
}

// Those members of a JSON Web Key that make the key; getters are called once.
function membersOf(data) {
  const members = {};
  for (const name of ["kty", "crv", "x", "y", "d", "n", "e", "p", "q", "dp", "dq", "qi", "k", "oth"]) {
    const value = data[name];
    if (value !== undefined) {
      members[name] = name === "oth" ? [] : String(value);
    }
  }
  return members;
}

// Bytes, or for "jwk" an object.
export function exportKey(format, key) {
  const { name, type, extractable, material, hash, usages, curve, bits } = slots(key);
  const family = families[name];
  if (family === derivation) {
    throw notSupported(`keys for ${name} can't be exported`);
  }
  if (!extractable) {
    throw invalidAccess("the key is not extractable");
  }
  const written = family.formats[format];
  if (!written) {
    throw notSupported(`keys for ${name} can't be exported as ${format}`);
  }
  if (written !== "either" && written !== type) {
    throw invalidAccess(`a key that is ${type} can't be exported as ${format}`);
  }
  const answer = cryptography({ operation: "export", key: material, format }, "");
  if (format !== "jwk") {
    return Uint8Array.fromBase64(answer).buffer;
  }
  const jwk = JSON.parse(new TextDecoder().decode(Uint8Array.fromBase64(answer)));
  jwk.key_ops = [...usages];
  jwk.ext = extractable;
  const alg = jwkName(family, { name, hash, namedCurve: curve }, bits);
  return alg === undefined ? jwk : { ...jwk, alg };
}

// ECDSA's keys may be used with any hash, so they don't say.
function jwkName(family, algorithm, bits) {
  return algorithm.name === "ECDSA" ? undefined : family.jwkAlgorithms?.(algorithm, bits)[0];
}

// How many bits a derived key has; null for as many as there are.
export function keyLength({ name, length, hash }) {
  switch (name) {
    case "HKDF":
    case "PBKDF2":
      return null;
    case "HMAC":
      if (length === 0) {
        throw new TypeError("a key for HMAC must not be empty");
      }
      return length ?? blockBits(hash);
    default:
      if (![128, 192, 256].includes(length)) {
        throw operationError("a key for AES has 128, 192 or 256 bits");
      }
      return length;
  }
}
