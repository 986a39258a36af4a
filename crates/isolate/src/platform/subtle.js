// crypto.subtle: what it checks before the host computes, method by method as the Web Cryptography API has them
// (section 14.3). Keys are known to the host only while it computes.
import { copiedBytes, hasOperation, normalize, unsignedLong } from "tidemark:crypto-algorithms";
import { slots } from "tidemark:crypto-key";
import { exportKey, generate, importKey, keyLength, usagesOf } from "tidemark:crypto-keys";
import { TextDecoder, TextEncoder } from "tidemark:encoding";
import { unavailable } from "tidemark:errors";
import { isDeterministic, phase } from "tidemark:phase";
import { cryptography } from "tidemark:requests";

const invalidAccess = (message) => new DOMException(message, "InvalidAccessError");
const operationError = (message) => new DOMException(message, "OperationError");

const formats = ["raw", "spki", "pkcs8", "jwk"];

const illegal = Symbol("made by the platform");

export class SubtleCrypto {
  constructor(token) {
    if (token !== illegal) {
      throw new TypeError("Illegal constructor");
    }
  }

  async digest(algorithm, data) {
    needs(arguments, 2, "digest");
    const { name } = normalize("digest", algorithm);
    return bytesFrom(cryptography({ operation: "digest", hash: name }, copiedBytes(data).buffer));
  }

  async generateKey(algorithm, extractable, keyUsages) {
    needs(arguments, 3, "generateKey");
    const normalized = normalize("generateKey", algorithm);
    const usages = usagesOf(keyUsages);
    needsRandomness("crypto.subtle.generateKey()");
    return generate(normalized, Boolean(extractable), usages);
  }

  async importKey(format, keyData, algorithm, extractable, keyUsages) {
    needs(arguments, 5, "importKey");
    const formatName = checkFormat(format);
    const data = formatName === "jwk" ? jwkOf(keyData) : copiedBytes(keyData);
    const normalized = normalize("importKey", algorithm);
    return importKey(formatName, data, normalized, Boolean(extractable), usagesOf(keyUsages));
  }

  async exportKey(format, key) {
    needs(arguments, 2, "exportKey");
    return exportKey(checkFormat(format), key);
  }

  async sign(algorithm, key, data) {
    needs(arguments, 3, "sign");
    const normalized = normalize("sign", algorithm);
    const { material } = usable(key, normalized, "sign");
    const bytes = copiedBytes(data);
    const scheme = schemeOf(normalized, slots(key));
    if (scheme.name === "RSA-PSS" || scheme.name === "ECDSA") {
      needsRandomness(`crypto.subtle.sign() by ${scheme.name}`);
    }
    checkType(key, normalized.name === "HMAC" ? "secret" : "private");
    return bytesFrom(cryptography({ operation: "sign", key: material, scheme }, bytes.buffer));
  }

  async verify(algorithm, key, signature, data) {
    needs(arguments, 4, "verify");
    const normalized = normalize("verify", algorithm);
    const { material } = usable(key, normalized, "verify");
    const signatureBytes = copiedBytes(signature);
    const bytes = copiedBytes(data);
    checkType(key, normalized.name === "HMAC" ? "secret" : "public");
    const scheme = schemeOf(normalized, slots(key));
    const operation = { operation: "verify", key: material, scheme, signature: signatureBytes.toBase64() };
    return cryptography(operation, bytes.buffer) === "true";
  }

  async encrypt(algorithm, key, data) {
    needs(arguments, 3, "encrypt");
    const normalized = normalize("encrypt", algorithm);
    usable(key, normalized, "encrypt");
    return encrypt(normalized, key, copiedBytes(data));
  }

  async decrypt(algorithm, key, data) {
    needs(arguments, 3, "decrypt");
    const normalized = normalize("decrypt", algorithm);
    usable(key, normalized, "decrypt");
    return decrypt(normalized, key, copiedBytes(data));
  }

  async deriveBits(algorithm, baseKey, length = null) {
    needs(arguments, 2, "deriveBits");
    const normalized = normalize("deriveBits", algorithm);
    const bits = length === null ? null : unsignedLong(length, "length");
    usable(baseKey, normalized, "deriveBits");
    return derive(normalized, baseKey, bits).buffer;
  }

  async deriveKey(algorithm, baseKey, derivedKeyType, extractable, keyUsages) {
    needs(arguments, 5, "deriveKey");
    const normalized = normalize("deriveBits", algorithm);
    const imported = normalize("importKey", derivedKeyType);
    const measured = normalize("getKeyLength", derivedKeyType);
    const usages = usagesOf(keyUsages);
    usable(baseKey, normalized, "deriveKey");
    const secret = derive(normalized, baseKey, keyLength(measured));
    return importKey("raw", secret, imported, Boolean(extractable), usages);
  }

  async wrapKey(format, key, wrappingKey, wrapAlgorithm) {
    needs(arguments, 4, "wrapKey");
    const formatName = checkFormat(format);
    const { isWrapping, normalized } = wrapping("wrapKey", "encrypt", wrapAlgorithm);
    slots(key);
    usable(wrappingKey, normalized, "wrapKey", "wrappingKey");
    const exported = exportKey(formatName, key);
    const bytes = formatName === "jwk" ? jsonBytes(exported, isWrapping ? 8 : 1) : new Uint8Array(exported);
    return encrypt(normalized, wrappingKey, bytes);
  }

  async unwrapKey(format, wrappedKey, unwrappingKey, unwrapAlgorithm, unwrappedKeyAlgorithm, extractable, keyUsages) {
    needs(arguments, 7, "unwrapKey");
    const formatName = checkFormat(format);
    const wrapped = copiedBytes(wrappedKey);
    const { normalized } = wrapping("unwrapKey", "decrypt", unwrapAlgorithm);
    const imported = normalize("importKey", unwrappedKeyAlgorithm);
    const usages = usagesOf(keyUsages);
    usable(unwrappingKey, normalized, "unwrapKey", "unwrappingKey");
    const bytes = decrypt(normalized, unwrappingKey, wrapped);
    const data = formatName === "jwk" ? jwkFrom(bytes) : new Uint8Array(bytes);
    return importKey(formatName, data, imported, Boolean(extractable), usages);
  }
}

export const subtle = new SubtleCrypto(illegal);

const bytesFrom = (answer) => Uint8Array.fromBase64(answer).buffer;

function needs(given, count, method) {
  if (given.length < count) {
    throw new TypeError(`crypto.subtle.${method}() needs ${count} arguments, but only ${given.length} were given`);
  }
}

// What answers differently each time must not decide what a query or a mutation does, nor be in an image.
function needsRandomness(what) {
  if (isDeterministic() || phase() === "import") {
    throw unavailable(what, "CryptoRng");
  }
}

function checkFormat(format) {
  const name = String(format);
  if (!formats.includes(name)) {
    throw new TypeError(`${name} is no format of a key`);
  }
  return name;
}

function jwkOf(data) {
  if (typeof data !== "object" || data === null || ArrayBuffer.isView(data) || data instanceof ArrayBuffer) {
    throw new TypeError("keyData must be a JSON Web Key");
  }
  return data;
}

// What the platform keeps of a key that may be used for that.
function usable(key, { name }, usage, argument = "key") {
  const kept = slots(key, argument);
  if (kept.name !== name) {
    throw invalidAccess(`a key for ${kept.name} can't be used for ${name}`);
  }
  if (!kept.usages.includes(usage)) {
    throw invalidAccess(`the key may not be used for ${usage}`);
  }
  return kept;
}

function checkType(key, type) {
  if (slots(key).type !== type) {
    throw invalidAccess(`the key is not ${type}`);
  }
}

function schemeOf({ name, saltLength, hash }, kept) {
  switch (name) {
    case "RSA-PSS":
      return { name, hash: kept.hash, saltBytes: saltLength };
    case "ECDSA":
      return { name, hash };
    case "Ed25519":
      return { name };
    default:
      return { name, hash: kept.hash };
  }
}

function cipherOf(normalized, { hash }) {
  const { name, iv, counter, length, additionalData, tagLength, label } = normalized;
  const base64 = (bytes) => (bytes === undefined ? "" : bytes.toBase64());
  switch (name) {
    case "AES-CBC":
      return { name, iv: base64(iv) };
    case "AES-CTR":
      return { name, counter: base64(counter), counterBits: length };
    case "AES-GCM":
      return { name, iv: base64(iv), additionalData: base64(additionalData), tagBits: tagLength ?? 128 };
    case "AES-KW":
      return { name };
    default:
      return { name, hash, label: base64(label) };
  }
}

function encrypt(normalized, key, bytes) {
  const kept = slots(key);
  if (normalized.name === "RSA-OAEP") {
    checkType(key, "public");
    needsRandomness("encryption by RSA-OAEP");
  }
  const cipher = cipherOf(normalized, kept);
  return bytesFrom(cryptography({ operation: "encrypt", key: kept.material, cipher }, bytes.buffer));
}

function decrypt(normalized, key, bytes) {
  const kept = slots(key);
  if (normalized.name === "RSA-OAEP") {
    checkType(key, "private");
  }
  const cipher = cipherOf(normalized, kept);
  return bytesFrom(cryptography({ operation: "decrypt", key: kept.material, cipher }, bytes.buffer));
}

// A Uint8Array of its own.
function derive(normalized, baseKey, bits) {
  const { name, hash, iterations } = normalized;
  const kept = slots(baseKey);
  if (name === "HKDF" || name === "PBKDF2") {
    if (bits === null || bits % 8 !== 0) {
      throw operationError(`${name} derives whole bytes, and must be told how many`);
    }
    const salt = normalized.salt.toBase64();
    const derivation =
      name === "HKDF"
        ? { name, hash, salt, info: normalized.info.toBase64(), bytes: bits / 8 }
        : { name, hash, salt, iterations, bytes: bits / 8 };
    return Uint8Array.fromBase64(cryptography({ operation: "derive", key: kept.material, derivation }, ""));
  }
  const other = slots(normalized.public, "public");
  checkType(baseKey, "private");
  if (other.type !== "public" || other.name !== kept.name || other.curve !== kept.curve) {
    throw invalidAccess("the public key is none that the private key could agree with");
  }
  const derivation = { name: "Agreement", public: other.material };
  const secret = Uint8Array.fromBase64(cryptography({ operation: "derive", key: kept.material, derivation }, ""));
  return bits === null ? secret : firstBits(secret, bits);
}

function firstBits(bytes, bits) {
  if (bits > bytes.length * 8) {
    throw operationError("the keys agree on fewer bits");
  }
  const first = bytes.slice(0, Math.ceil(bits / 8));
  if (bits % 8 !== 0) {
    first[first.length - 1] &= 0xff << (8 - (bits % 8));
  }
  return first;
}

// An algorithm that wraps keys, or else one that encrypts anything.
function wrapping(operation, fallback, algorithm) {
  const isWrapping = hasOperation(operation, algorithm);
  return { isWrapping, normalized: normalize(isWrapping ? operation : fallback, algorithm) };
}

// JSON text, with spaces before its end as an algorithm needs them that takes a multiple of `step` bytes.
function jsonBytes(jwk, step) {
  const bytes = new TextEncoder().encode(JSON.stringify(jwk));
  const missing = (step - (bytes.length % step)) % step;
  return missing === 0 ? bytes : new TextEncoder().encode(JSON.stringify(jwk).slice(0, -1) + " ".repeat(missing) + "}");
}

function jwkFrom(bytes) {
  let jwk;
  try {
    jwk = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    // Below.
  }
  if (typeof jwk !== "object" || jwk === null || jwk.kty === undefined) {
    throw new DOMException("what was wrapped is no JSON Web Key", "DataError");
  }
  return jwk;
}
