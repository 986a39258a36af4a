// The object `Convex`, by which the library reaches the database and everything else outside.
import { operation } from "tidemark:host";
import { codedError } from "tidemark:errors";
import { convexJsonFromResponse, requestFromConvexJson } from "tidemark:http-action";
import { phase } from "tidemark:phase";
import { syscall } from "tidemark:requests";
import { getBlob, storeBlob } from "tidemark:storage";

const databaseOperations = /^1\.0\/(get|insert|shallowMerge|replace|remove|db\/|query|count)/;

const isImport = () => phase() === "import";

const refusalAtImport = (name) =>
  databaseOperations.test(name)
    ? codedError("NoDbDuringImport", "Can't use the database while modules are imported. Use it in a function.")
    : codedError("NoSyscallDuringImport", `Can't call ${name} while modules are imported. Call it in a function.`);

// Those that take and give objects of JavaScript.
const jsOperations = { convexJsonFromResponse, requestFromConvexJson, "storage/storeBlob": storeBlob, "storage/getBlob": getBlob };

export const Convex = {
  syscall(name, args) {
    if (isImport()) {
      throw refusalAtImport(name);
    }
    return syscall(name, args);
  },
  // A promise of JSON text. The host answers when no job is left.
  asyncSyscall(name, args) {
    return isImport() ? Promise.reject(refusalAtImport(name)) : operation(name, args);
  },
  jsSyscall(name, args) {
    if (isImport()) {
      throw refusalAtImport(name);
    }
    if (!Object.hasOwn(jsOperations, name)) {
      throw codedError("UnknownOperation", `Unknown operation: ${name}`);
    }
    return jsOperations[name](args);
  },
};
