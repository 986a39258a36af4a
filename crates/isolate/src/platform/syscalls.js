// The object `Convex`, by which the library reaches the database and everything else outside.
import { operation } from "tidemark:host";
import { codedError, rejectionOf } from "tidemark:errors";
import { phase } from "tidemark:phase";
import { syscall } from "tidemark:requests";

const pending = new Map();
let lastId = 0;

const databaseOperations = /^1\.0\/(get|insert|shallowMerge|replace|remove|db\/|query|count)/;

function refuseAtImport(name) {
  if (phase() !== "import") {
    return;
  }
  throw databaseOperations.test(name)
    ? codedError("NoDbDuringImport", "Can't use the database while modules are imported. Use it in a function.")
    : codedError("NoSyscallDuringImport", `Can't call ${name} while modules are imported. Call it in a function.`);
}

export const Convex = {
  syscall(name, args) {
    refuseAtImport(name);
    return syscall(name, args);
  },
  asyncSyscall(name, args) {
    return new Promise((resolve, reject) => {
      refuseAtImport(name);
      const id = ++lastId;
      pending.set(id, { resolve, reject });
      operation(id, name, args);
    });
  },
  jsSyscall(name) {
    refuseAtImport(name);
    throw codedError("UnknownOperation", `Unknown operation: ${name}`);
  },
};

export const hasOutstanding = () => pending.size > 0;

// The host's answer to an operation: JSON text of a result or of an error.
export function resolve(id, succeeded, text) {
  const waiting = pending.get(id);
  pending.delete(id);
  if (succeeded) {
    waiting.resolve(text);
  } else {
    waiting.reject(rejectionOf(text));
  }
}
