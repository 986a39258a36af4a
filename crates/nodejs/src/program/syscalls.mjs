// `Convex`: what functions ask of the server, each operation in the name of the call that issued it.
import { currentCall } from "./calls.mjs";
import { FrameTooLarge, send } from "./frames.mjs";

const CHUNK_BYTES = 256 * 1024;

const pending = new Map();
let issued = 0;
let pendingMax;

export function installConvex(operationsMax) {
  pendingMax = operationsMax;
  globalThis.Convex = { syscall, asyncSyscall, jsSyscall };
}

function syscall(operation) {
  throw new Error(`Unknown sync operation: ${operation}`);
}

async function asyncSyscall(operation, jsonArguments) {
  return (await issue(operation, String(jsonArguments))).json;
}

function jsSyscall(operation, values) {
  switch (operation) {
    case "storage/storeBlob":
      return storeBlob(operation, values);
    case "storage/getBlob":
      return getBlob(operation, values);
    default:
      throw new Error(`Unknown operation: ${operation}`);
  }
}

async function storeBlob(operation, { blob, options, storageId: _, ...values }) {
  if (!(blob instanceof Blob)) {
    throw new TypeError("storage.store takes a Blob.");
  }
  const described = { ...values, size: blob.size, contentType: blob.type || null, sha256: options?.sha256 };
  return JSON.parse((await issue(operation, JSON.stringify(described), blob)).json);
}

async function getBlob(operation, values) {
  const { json, chunks } = await issue(operation, JSON.stringify(values));
  const described = JSON.parse(json);
  return described === null ? null : new Blob(chunks, { type: described.contentType ?? "" });
}

function issue(name, jsonArguments, blob) {
  const call = currentCall();
  if (call === undefined) {
    return Promise.reject(
      new Error(`ActionEnded: \`${name}\` was asked for outside of an action that runs. Is a promise not awaited?`),
    );
  }
  if (pending.size >= pendingMax) {
    return Promise.reject(
      new Error(`TooManyConcurrentOperations: \`${name}\` is one more than the ${pendingMax} operations that may be unanswered.`),
    );
  }
  const id = ++issued;
  return new Promise((resolve, reject) => {
    const operation = { resolve, reject, chunks: [], isAnswered: false, onMore: null };
    try {
      send({ type: "operation", call: call.id, id, name, arguments: jsonArguments, hasBody: blob !== undefined });
    } catch (error) {
      reject(error instanceof FrameTooLarge ? new Error(`FunctionArgumentsTooLarge: \`${name}\` has ${error.message}.`) : error);
      return;
    }
    pending.set(id, operation);
    if (blob !== undefined) {
      sendBody(call, id, operation, blob).catch(reject);
    }
  });
}

// A chunk follows when the server asks for it. Whoever answers before it has read all wants no more.
async function sendBody(call, id, operation, blob) {
  for (let at = 0; at < blob.size; at += CHUNK_BYTES) {
    await new Promise((resolve) => {
      operation.onMore = resolve;
    });
    if (operation.isAnswered) {
      return;
    }
    const bytes = await blob.slice(at, at + CHUNK_BYTES).arrayBuffer();
    send({ type: "chunk", call: call.id, id, isLast: false }, Buffer.from(bytes));
  }
  send({ type: "chunk", call: call.id, id, isLast: true });
}

export function moreWanted({ id }) {
  pending.get(id)?.onMore?.();
}

export function answered({ id, error, hasBody }, body) {
  const operation = pending.get(id);
  if (operation === undefined) {
    return;
  }
  operation.isAnswered = true;
  operation.onMore?.();
  if (error) {
    pending.delete(id);
    const { message, data } = error;
    operation.reject(data === null ? { message } : { message, data: JSON.parse(data) });
    return;
  }
  operation.json = body.toString();
  if (!hasBody) {
    pending.delete(id);
    operation.resolve(operation);
  }
}

export function chunkCame({ id, isLast, error }, body) {
  const operation = pending.get(id);
  if (operation === undefined) {
    return;
  }
  if (body.length > 0) {
    operation.chunks.push(body);
  }
  if (error) {
    pending.delete(id);
    operation.reject(new Error(error.message));
  } else if (isLast) {
    pending.delete(id);
    operation.resolve(operation);
  }
}
