// crypto: randomness, which comes from the seed of the call, and what the host computes.
import { randomBytes } from "tidemark:host";
import { bytesOf } from "tidemark:encoding";
import { codedError } from "tidemark:errors";
import { phase } from "tidemark:phase";
import { subtle } from "tidemark:subtle";

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

export class Crypto {
  get subtle() {
    return subtle;
  }

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
