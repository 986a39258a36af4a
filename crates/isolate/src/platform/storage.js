// storage.store() and storage.get() of actions. The bytes of a file pass piece by piece, so that the host holds few of them.
import { operation } from "tidemark:host";
import { blobBytes, blobOf, isBlob } from "tidemark:blob";
import { unavailable } from "tidemark:errors";
import { isDeterministic, phase } from "tidemark:phase";

const PIECE_BYTES = 1 << 20;

let lastNumber = 0;

// Asks the host for one step after another of one file's way.
function beginTransfer() {
  const transfer = ++lastNumber;
  return (step, args = {}, bytes = undefined) =>
    operation(`storage/${step}`, JSON.stringify({ transfer, ...args }), bytes);
}

function needAction(what) {
  if (isDeterministic() || phase() === "import") {
    throw unavailable(what, "Storage");
  }
}

// Resolves to the file's id.
export async function storeBlob({ blob, options }) {
  needAction("storage.store()");
  if (!isBlob(blob)) {
    throw new TypeError("storage.store() needs a Blob");
  }
  const ask = beginTransfer();
  const bytes = blobBytes(blob);
  await ask("begin", { contentType: blob.type || null, sha256: options?.sha256 ?? null });
  for (let start = 0; start < bytes.length; start += PIECE_BYTES) {
    await ask("write", {}, bytes.slice(start, start + PIECE_BYTES).buffer);
  }
  return JSON.parse(await ask("finish"));
}

// Resolves to a Blob, or to null if there is no such file.
export async function getBlob({ storageId }) {
  needAction("storage.get()");
  const ask = beginTransfer();
  const file = JSON.parse(await ask("open", { storageId }));
  if (file === null) {
    return null;
  }
  const bytes = new Uint8Array(file.size);
  // Bytes, or text at the end.
  for (let length = 0, piece; typeof (piece = await ask("read")) !== "string"; length += piece.byteLength) {
    bytes.set(new Uint8Array(piece), length);
  }
  return blobOf(bytes, file.contentType ?? "");
}
