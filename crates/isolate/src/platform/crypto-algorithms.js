// What callers of crypto.subtle say about algorithms, checked and put into one form: "normalizing an algorithm" in the
// words of the Web Cryptography API (section 18.4).
import { isCryptoKey } from "tidemark:crypto-key";
import { bytesOf } from "tidemark:encoding";

export const notSupported = (message) => new DOMException(message, "NotSupportedError");

// Copied at once: the caller may change them while we work.
export function copiedBytes(value) {
  return bytesOf(value).slice();
}

// An integer of `bits` bits without sign, which must not be out of range.
function integer(bits) {
  return (value, member) => {
    const number = Math.trunc(Number(value));
    if (!(number >= 0 && number < 2 ** bits)) {
      throw new TypeError(`${member} must be an integer from 0 to ${2 ** bits - 1}`);
    }
    return number;
  };
}

const octet = integer(8);
const unsignedShort = integer(16);
export const unsignedLong = integer(32);

function bigInteger(value, member) {
  if (!(value instanceof Uint8Array)) {
    throw new TypeError(`${member} must be a Uint8Array`);
  }
  return value.slice();
}

function cryptoKey(value, member) {
  if (!isCryptoKey(value)) {
    throw new TypeError(`${member} must be a CryptoKey`);
  }
  return value;
}

const hash = (value) => normalize("digest", value).name;
const text = (value) => String(value);

// A dictionary: its members with how they are converted. A member may be left out if its name ends in "?".
function dictionary(members) {
  const described = Object.entries(members).map(([key, convert]) => ({
    member: key.replace("?", ""),
    isRequired: !key.endsWith("?"),
    convert,
  }));
  return (given) => {
    const converted = {};
    for (const { member, isRequired, convert } of described) {
      const value = given[member];
      if (value !== undefined) {
        converted[member] = convert(value, member);
      } else if (isRequired) {
        throw new TypeError(`the algorithm needs the member ${member}`);
      }
    }
    return converted;
  };
}

const nothing = dictionary({});
const ofHash = dictionary({ hash });
const ofCurve = dictionary({ namedCurve: text });
const hmacKey = dictionary({ hash, "length?": unsignedLong });
const rsaGenerated = dictionary({ modulusLength: unsignedLong, publicExponent: bigInteger, hash });
const aesLength = dictionary({ length: unsignedShort });
const agreement = dictionary({ public: cryptoKey });
const aesCbc = dictionary({ iv: copiedBytes });
const aesCtr = dictionary({ counter: copiedBytes, length: octet });
const aesGcm = dictionary({ iv: copiedBytes, "additionalData?": copiedBytes, "tagLength?": octet });
const rsaOaep = dictionary({ "label?": copiedBytes });
const hkdf = dictionary({ hash, salt: copiedBytes, info: copiedBytes });
const pbkdf2 = dictionary({ hash, salt: copiedBytes, iterations: unsignedLong });

// Per operation the algorithms that have it, with what they need to be told.
const registered = {
  digest: { "SHA-1": nothing, "SHA-256": nothing, "SHA-384": nothing, "SHA-512": nothing },
  sign: {
    "RSASSA-PKCS1-v1_5": nothing,
    "RSA-PSS": dictionary({ saltLength: unsignedLong }),
    ECDSA: ofHash,
    Ed25519: nothing,
    HMAC: nothing,
  },
  encrypt: { "RSA-OAEP": rsaOaep, "AES-CBC": aesCbc, "AES-CTR": aesCtr, "AES-GCM": aesGcm },
  wrapKey: { "AES-KW": nothing },
  deriveBits: { ECDH: agreement, X25519: agreement, HKDF: hkdf, PBKDF2: pbkdf2 },
  generateKey: {
    "RSASSA-PKCS1-v1_5": rsaGenerated,
    "RSA-PSS": rsaGenerated,
    "RSA-OAEP": rsaGenerated,
    ECDSA: ofCurve,
    ECDH: ofCurve,
    Ed25519: nothing,
    X25519: nothing,
    HMAC: hmacKey,
    "AES-CBC": aesLength,
    "AES-CTR": aesLength,
    "AES-GCM": aesLength,
    "AES-KW": aesLength,
  },
  importKey: {
    "RSASSA-PKCS1-v1_5": ofHash,
    "RSA-PSS": ofHash,
    "RSA-OAEP": ofHash,
    ECDSA: ofCurve,
    ECDH: ofCurve,
    Ed25519: nothing,
    X25519: nothing,
    HMAC: hmacKey,
    "AES-CBC": nothing,
    "AES-CTR": nothing,
    "AES-GCM": nothing,
    "AES-KW": nothing,
    HKDF: nothing,
    PBKDF2: nothing,
  },
  getKeyLength: {
    HMAC: hmacKey,
    "AES-CBC": aesLength,
    "AES-CTR": aesLength,
    "AES-GCM": aesLength,
    "AES-KW": aesLength,
    HKDF: nothing,
    PBKDF2: nothing,
  },
};
registered.verify = registered.sign;
registered.decrypt = registered.encrypt;
registered.unwrapKey = registered.wrapKey;

// Names are compared without regard to case.
const algorithms = Object.fromEntries(
  Object.entries(registered).map(([operation, dictionaries]) => [
    operation,
    new Map(Object.entries(dictionaries).map(([name, convert]) => [name.toUpperCase(), { name, convert }])),
  ]),
);

const isObject = (value) => (typeof value === "object" && value !== null) || typeof value === "function";

// Whether `identifier` names an algorithm that has the operation.
export function hasOperation(operation, identifier) {
  return algorithms[operation].has(nameOf(identifier).toUpperCase());
}

function nameOf(identifier) {
  if (!isObject(identifier)) {
    return String(identifier);
  }
  if (identifier.name === undefined) {
    throw new TypeError("the algorithm needs the member name");
  }
  return String(identifier.name);
}

// The algorithm with its name as the standard writes it and its other members converted.
export function normalize(operation, identifier) {
  const name = nameOf(identifier);
  const known = algorithms[operation].get(name.toUpperCase());
  if (!known) {
    throw notSupported(
      operation === "digest" ? `Unrecognized digest algorithm ${name}` : `${name} is no algorithm for ${operation}()`,
    );
  }
  return { name: known.name, ...known.convert(isObject(identifier) ? identifier : {}) };
}

const curves = new Set(["P-256", "P-384", "P-521"]);

export function checkCurve(name) {
  if (!curves.has(name)) {
    throw notSupported(`the curve ${name} is not supported`);
  }
  return name;
}

// The bits of a block of a hash, which is how long its keys for HMAC are unless one says otherwise.
export const blockBits = (hashName) => (hashName === "SHA-384" || hashName === "SHA-512" ? 1024 : 512);
