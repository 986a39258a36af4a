// Calls registered functions, and reports how they end.
import { hasOutstanding, outcome } from "tidemark:host";
import { codedError, describe } from "tidemark:errors";
import { answerRequest } from "tidemark:http-action";
import { beginCall } from "tidemark:phase";

// By the numbers that slot.rs knows.
const kinds = [
  { name: "query", flag: "isQuery", invoke: (f, args) => f.invokeQuery(args) },
  { name: "mutation", flag: "isMutation", invoke: (f, args) => f.invokeMutation(args) },
  { name: "action", flag: "isAction", invoke: (f, args, requestId) => f.invokeAction(requestId, args) },
];

// What answers HTTP requests is the router of a module, behind all kinds.
const router = { name: "router", phase: "action", invoke: answerRequest };

// The namespaces of the entry points, by path.
export const modules = new Map();

export function addModule(path, namespace) {
  modules.set(path, namespace);
}

export function kindOf(value) {
  return typeof value === "function" ? kinds.find(({ flag }) => value[flag] === true)?.name : undefined;
}

export function invoke(number, path, exportName, args, requestId) {
  const kind = kinds[number] ?? router;
  beginCall(kind.phase ?? kind.name);
  const registered = lookUp(path, exportName);
  const isOfKind = kind === router ? registered?.isRouter === true : kindOf(registered) === kind.name;
  if (!isOfKind) {
    throw codedError("WrongFunctionKind", `${path}:${exportName} is not a ${kind.name}`);
  }
  kind.invoke(registered, args, requestId).then(
    (text) => outcome(true, typeof text === "string" ? text : "null"),
    (error) => outcome(false, describe(error)),
  );
}

function lookUp(path, exportName) {
  const namespace = modules.get(path);
  if (namespace === undefined) {
    throw codedError("ModuleNotFound", `There is no module ${path}`);
  }
  if (!Object.hasOwn(namespace, exportName)) {
    throw codedError("FunctionNotFound", `The module ${path} has no export ${exportName}`);
  }
  return namespace[exportName];
}

// Rejected promises that nobody handles.
const rejected = new Map();

export function rejection(promise, reason, isHandled) {
  if (isHandled) {
    rejected.delete(promise);
  } else {
    rejected.set(promise, reason);
  }
}

// Called when no job is left. What is unhandled may still find a handler while operations are outstanding; what is
// unhandled after the last one fails the call. Says whether to ask again.
export function unhandled() {
  if (hasOutstanding()) {
    return rejected.size > 0;
  }
  for (const reason of rejected.values()) {
    outcome(false, describe(reason));
    break;
  }
  rejected.clear();
  return false;
}
