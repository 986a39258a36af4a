// crypto: what is deterministic, and randomness from the seed of the call.
import { randomBytes } from "tidemark:host";
import { bytesOf } from "tidemark:encoding";
import { codedError } from "tidemark:errors";
import { phase } from "tidemark:phase";
import { digest } from "tidemark:requests";

const RANDOM_BYTES_MAX = 65_536;

function drawBytes(length) {
  if (phase() === "import") {
    throw codedError(
      "NoCryptoRngDuringImport",
      "Can't draw random numbers by crypto while modules are imported. Draw them in a function.",
    );
  }
  return new Uint8Array(randomBytes(length));
}

export class SubtleCrypto {
  async digest(algorithm, data) {
    const name = String(typeof algorithm === "object" && algorithm !== null ? algorithm.name : algorithm).toUpperCase();
    return digest(name, bytesOf(data).slice().buffer).buffer;
  }

  static {
    const missing = [
      "decrypt",
      "deriveBits",
      "deriveKey",
      "encrypt",
      "exportKey",
      "generateKey",
      "importKey",
      "sign",
      "unwrapKey",
      "verify",
      "wrapKey",
    ];
    for (const name of missing) {
      Object.defineProperty(SubtleCrypto.prototype, name, {
        async value() {
          throw codedError("NoSubtleCrypto", `crypto.subtle.${name}() is not available yet.`);
        },
        configurable: true,
        writable: true,
      });
    }
  }
}

export class CryptoKey {
  constructor() {
    throw new TypeError("Illegal constructor");
  }
}

export class Crypto {
  subtle = new SubtleCrypto();

  getRandomValues(array) {
    if (!ArrayBuffer.isView(array) || array instanceof DataView || /Float/.test(array.constructor.name)) {
      throw new DOMException("getRandomValues() needs an array of integers", "TypeMismatchError");
    }
    if (array.byteLength > RANDOM_BYTES_MAX) {
      throw new DOMException(`getRandomValues() fills at most ${RANDOM_BYTES_MAX} bytes`, "QuotaExceededError");
    }
    bytesOf(array).set(drawBytes(array.byteLength));
    return array;
  }

  randomUUID() {
    const bytes = drawBytes(16);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    return bytes.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  }
}

export const crypto = new Crypto();
