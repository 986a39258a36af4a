// What one implementation makes, the other must understand: keys in all formats, signatures, encrypted messages, agreed
// secrets, wrapped keys.
import { isDeepStrictEqual } from "node:util";

const hashes = ["SHA-1", "SHA-256", "SHA-384", "SHA-512"];
const curves = ["P-256", "P-384", "P-521"];

// Bytes that depend on the seed and on how many were asked for before: xorshift.
function bytesOf(seed) {
  let state = (seed * 2654435761 + 1) >>> 0 || 1;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state;
  };
  return { bytes: (length) => Uint8Array.from({ length }, () => next() & 0xff), below: (bound) => next() % bound };
}

const hex = (bytes) => Buffer.from(bytes).toString("hex");

// The key, taken to another implementation in each format it has; undefined or what is wrong.
async function moved(key, from, to, format, usages = key.usages) {
  const exported = await from.subtle.exportKey(format, key);
  const imported = await to.subtle.importKey(format, exported, key.algorithm, true, usages);
  const again = await to.subtle.exportKey(format, imported);
  const isSame = format === "jwk" ? isDeepStrictEqual({ ...again, alg: 0 }, { ...exported, alg: 0 }) : hex(again) === hex(exported);
  if (!isSame) {
    throw new Error(`${format} differs: ${JSON.stringify(exported)} and ${JSON.stringify(again)} ${hex(exported)} ${hex(again)}`);
  }
  for (const member of ["type", "extractable", "usages", "algorithm"]) {
    if (!isDeepStrictEqual(plain(imported[member]), plain(key[member]))) {
      throw new Error(`${member} differs: ${JSON.stringify(imported[member])} and ${JSON.stringify(key[member])}`);
    }
  }
  return imported;
}

// Without prototypes, which differ between implementations.
const plain = (value) =>
  ArrayBuffer.isView(value)
    ? hex(value)
    : typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]))
      : value;

export function* exchanges(seed) {
  const random = bytesOf(seed);
  const message = () => random.bytes(random.below(300));

  for (const name of ["ECDSA", "Ed25519"]) {
    for (const namedCurve of name === "ECDSA" ? curves : [undefined]) {
      for (const hash of name === "ECDSA" ? hashes : [undefined]) {
        yield [`${name} ${namedCurve ?? ""} ${hash ?? ""}`, async (first, second) => {
          const pair = await first.subtle.generateKey({ name, namedCurve }, true, ["sign", "verify"]);
          return signed(pair, { name, hash }, first, second, message(), ["spki", "jwk", "raw"], ["pkcs8", "jwk"]);
        }];
      }
    }
  }
  for (const name of ["RSASSA-PKCS1-v1_5", "RSA-PSS"]) {
    for (const hash of hashes) {
      const modulusLength = [1024, 1536, 2048][random.below(3)];
      const saltLength = random.below(1024 / 8 - 64 - 2);
      yield [`${name} ${hash} ${modulusLength} salt ${saltLength}`, async (first, second) => {
        const publicExponent = new Uint8Array(hash === "SHA-1" ? [3] : [1, 0, 1]);
        const pair = await first.subtle.generateKey({ name, hash, modulusLength, publicExponent }, true, ["sign", "verify"]);
        return signed(pair, { name, saltLength }, first, second, message(), ["spki", "jwk"], ["pkcs8", "jwk"]);
      }];
    }
  }
  for (const hash of hashes) {
    yield [`RSA-OAEP ${hash}`, async (first, second) => {
      const algorithm = { name: "RSA-OAEP", hash, modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) };
      const pair = await first.subtle.generateKey(algorithm, true, ["encrypt", "decrypt", "wrapKey", "unwrapKey"]);
      const label = random.bytes(random.below(20));
      const text = random.bytes(random.below(62 + 1));
      const publicKey = await moved(pair.publicKey, first, second, "spki");
      await moved(pair.publicKey, first, second, "jwk");
      const encrypted = await second.subtle.encrypt({ name: "RSA-OAEP", label }, publicKey, text);
      const decrypted = await first.subtle.decrypt({ name: "RSA-OAEP", label }, pair.privateKey, encrypted);
      const privateKey = await moved(pair.privateKey, first, second, "pkcs8");
      await moved(pair.privateKey, first, second, "jwk");
      const back = await second.subtle.decrypt(
        { name: "RSA-OAEP", label },
        privateKey,
        await first.subtle.encrypt({ name: "RSA-OAEP", label }, pair.publicKey, text),
      );
      return hex(decrypted) === hex(text) && hex(back) === hex(text) ? undefined : "another message came back";
    }];
  }
  for (const hash of hashes) {
    yield [`HMAC ${hash}`, async (first, second) => {
      const length = random.below(2) ? undefined : 8 * (1 + random.below(200));
      const key = await first.subtle.generateKey({ name: "HMAC", hash, length }, true, ["sign", "verify"]);
      const imported = await moved(key, first, second, "raw");
      await moved(key, first, second, "jwk");
      const text = message();
      const signature = await first.subtle.sign("HMAC", key, text);
      const isGood = await second.subtle.verify("HMAC", imported, signature, text);
      const isBad = await second.subtle.verify("HMAC", imported, changed(signature, random), text);
      return isGood && !isBad ? undefined : `verified: ${isGood}, ${isBad}`;
    }];
  }
  for (const name of ["AES-CBC", "AES-CTR", "AES-GCM"]) {
    for (const length of [128, 192, 256]) {
      for (let round = 0; round < 4; round++) {
        yield [`${name} ${length} ${round}`, async (first, second) => {
          const key = await first.subtle.generateKey({ name, length }, true, ["encrypt", "decrypt"]);
          const imported = await moved(key, first, second, "raw");
          await moved(key, first, second, "jwk");
          const text = message();
          const counter = random.below(2) ? random.bytes(16) : new Uint8Array(16).fill(255);
          const algorithm = {
            "AES-CBC": { name, iv: random.bytes(16) },
            // Enough for the message, and often beginning again at zero.
            "AES-CTR": { name, counter, length: 5 + random.below(124) },
            "AES-GCM": {
              name,
              // Node.js takes 12 to 128 bytes.
              iv: random.bytes(round === 0 ? 12 : 12 + random.below(117)),
              additionalData: round === 1 ? undefined : random.bytes(random.below(40)),
              tagLength: [128, 32, 64, 96, 104, 112, 120][random.below(7)],
            },
          }[name];
          const encrypted = await first.subtle.encrypt(algorithm, key, text);
          const same = await second.subtle.encrypt(algorithm, imported, text);
          const decrypted = await second.subtle.decrypt(algorithm, imported, encrypted);
          return hex(encrypted) === hex(same) && hex(decrypted) === hex(text) ? undefined : "another message came back";
        }];
      }
    }
  }
  for (const name of ["ECDH", "X25519"]) {
    for (const namedCurve of name === "ECDH" ? curves : [undefined]) {
      yield [`${name} ${namedCurve ?? ""}`, async (first, second) => {
        const one = await first.subtle.generateKey({ name, namedCurve }, true, ["deriveBits", "deriveKey"]);
        const other = await second.subtle.generateKey({ name, namedCurve }, true, ["deriveBits", "deriveKey"]);
        for (const format of ["raw", "spki", "jwk"]) {
          await moved(one.publicKey, first, second, format);
        }
        for (const format of ["pkcs8", "jwk"]) {
          await moved(one.privateKey, first, second, format);
        }
        const oneThere = await moved(one.publicKey, first, second, "raw");
        const otherHere = await moved(other.publicKey, second, first, "raw");
        const length = [null, 8, 64, 128, 200, 256][random.below(6)];
        const here = await first.subtle.deriveBits({ name, public: otherHere }, one.privateKey, length);
        const there = await second.subtle.deriveBits({ name, public: oneThere }, other.privateKey, length);
        return hex(here) === hex(there) ? undefined : `${hex(here)} and ${hex(there)}`;
      }];
    }
  }
  for (const name of ["HKDF", "PBKDF2"]) {
    for (const hash of hashes) {
      yield [`${name} ${hash}`, async (first, second) => {
        const secret = message();
        const algorithm = { name, hash, salt: message(), info: message(), iterations: 1 + random.below(2000) };
        const bits = 8 * (1 + random.below(200));
        const [here, there] = await Promise.all(
          [first, second].map(async ({ subtle }) => {
            const key = await subtle.importKey("raw", secret, name, false, ["deriveBits", "deriveKey"]);
            const derived = await subtle.deriveKey(algorithm, key, { name: "AES-GCM", length: 192 }, true, ["encrypt"]);
            const mac = await subtle.deriveKey(algorithm, key, { name: "HMAC", hash }, true, ["sign"]);
            return [
              await subtle.deriveBits(algorithm, key, bits),
              await subtle.exportKey("raw", derived),
              await subtle.exportKey("raw", mac),
            ].map(hex).join();
          }),
        );
        return here === there ? undefined : `${here} and ${there}`;
      }];
    }
  }
  for (const format of ["raw", "jwk", "pkcs8", "spki"]) {
    for (const name of ["AES-KW", "AES-GCM", "AES-CBC", "AES-CTR", "RSA-OAEP"]) {
      if (name === "RSA-OAEP" && format !== "raw") {
        continue;
      }
      yield [`${format} wrapped by ${name}`, async (first, second) => {
        const algorithm = { name, iv: random.bytes(16), counter: random.bytes(16), length: name === "AES-CTR" ? 64 : 256 };
        const usages = ["wrapKey", "unwrapKey"];
        let [wrapper, unwrapper] = [];
        if (name === "RSA-OAEP") {
          const parameters = { name, hash: "SHA-1", modulusLength: 1024, publicExponent: new Uint8Array([1, 0, 1]) };
          const pair = await first.subtle.generateKey(parameters, true, usages);
          wrapper = pair.publicKey;
          unwrapper = await moved(pair.privateKey, first, second, "pkcs8");
        } else {
          wrapper = await first.subtle.generateKey({ name, length: 256 }, true, usages);
          unwrapper = await moved(wrapper, first, second, "raw");
        }
        const wrapped =
          format === "raw" || format === "jwk"
            ? await first.subtle.generateKey({ name: "HMAC", hash: "SHA-256" }, true, ["sign"])
            : (await first.subtle.generateKey({ name: "ECDSA", namedCurve: "P-384" }, true, ["sign", "verify"]))[
                format === "spki" ? "publicKey" : "privateKey"
              ];
        if (name === "AES-KW" && (format === "spki" || format === "pkcs8")) {
          // These are seldom a multiple of eight bytes.
          return;
        }
        const bytes = await first.subtle.wrapKey(format, wrapped, wrapper, algorithm);
        const unwrapped = await second.subtle.unwrapKey(format, bytes, unwrapper, algorithm, wrapped.algorithm, true, wrapped.usages);
        const [before, after] = [await first.subtle.exportKey("jwk", wrapped), await second.subtle.exportKey("jwk", unwrapped)];
        return isDeepStrictEqual({ ...before, alg: 0 }, { ...after, alg: 0 }) ? undefined : "another key came back";
      }];
    }
  }
}

function changed(bytes, random) {
  const copy = new Uint8Array(bytes).slice();
  copy[random.below(copy.length)] ^= 1 << random.below(8);
  return copy;
}

// Signed by one, verified by the other, with keys that went over in each format.
async function signed(pair, algorithm, first, second, message, publicFormats, privateFormats) {
  const signature = await first.subtle.sign(algorithm, pair.privateKey, message);
  for (const format of publicFormats) {
    const publicKey = await moved(pair.publicKey, first, second, format);
    if (!(await second.subtle.verify(algorithm, publicKey, signature, message))) {
      return `${format}: does not verify`;
    }
    const other = new Uint8Array(signature).slice();
    other[other.length >> 1] ^= 4;
    if (await second.subtle.verify(algorithm, publicKey, other, message)) {
      return `${format}: verifies what was changed`;
    }
  }
  for (const format of privateFormats) {
    const privateKey = await moved(pair.privateKey, first, second, format);
    const back = await second.subtle.sign(algorithm, privateKey, message);
    if (!(await first.subtle.verify(algorithm, pair.publicKey, back, message))) {
      return `${format}: its signature does not verify`;
    }
    if (["RSASSA-PKCS1-v1_5", "Ed25519"].includes(algorithm.name) && hex(back) !== hex(signature)) {
      return `${format}: signs differently`;
    }
  }
}

