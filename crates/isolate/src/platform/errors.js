// Makes the platform's errors, and describes what user code threw to the host.
import { frames } from "tidemark:host";
import { inspect } from "tidemark:inspect";
import { isDeterministic } from "tidemark:phase";

const convexErrorSymbol = Symbol.for("ConvexError");

// An error with a stable code, which the host passes on.
export function codedError(code, message, Constructor = Error) {
  const error = new Constructor(message);
  Object.defineProperty(error, "code", { value: code, configurable: true, writable: true });
  return error;
}

// The error for something that only functions of other kinds have: in a query or mutation, or while modules are imported.
// `code` is the middle of the error's code.
export function unavailable(what, code) {
  if (isDeterministic()) {
    return codedError(
      `No${code}InQueriesOrMutations`,
      `Can't use ${what} in queries and mutations. Consider an action instead.`,
    );
  }
  return codedError(`No${code}DuringImport`, `Can't use ${what} while modules are imported. Use it in a function.`);
}

const domExceptions = new Set(["NotSupportedError", "InvalidAccessError", "OperationError", "DataError"]);

// The error that the host answered a request with; called by the guest with JSON text.
export function syscallError(text) {
  const { message, name, code } = JSON.parse(text);
  const Constructor = { RangeError, TypeError }[name] ?? Error;
  if (domExceptions.has(name)) {
    return new DOMException(message, name);
  }
  return code ? codedError(code, message, Constructor) : new Constructor(message);
}

// What an operation's promise is rejected with; called by the guest with JSON text. `data` only where the library shall
// make a ConvexError of it.
export function rejectionOf(text) {
  const { message, data } = JSON.parse(text);
  const error = new Error(message);
  if (data !== null && data !== undefined) {
    error.data = JSON.parse(data);
  }
  return error;
}

// JSON text about a thrown value. User code may have thrown anything, also what throws when it is looked at.
export function describe(thrown) {
  return JSON.stringify({
    // Half a character, such as one at which a text was cut, has no place in JSON.
    name: attempt(() => nameOf(thrown).toWellFormed(), "Error"),
    message: attempt(() => messageOf(thrown).toWellFormed(), "a value that can't be shown"),
    stack: attempt(() => framesOf(thrown).toWellFormed(), ""),
    code: attempt(() => (isError(thrown) && typeof thrown.code === "string" ? thrown.code.toWellFormed() : null), null),
    convex_error_data: attempt(() => convexErrorData(thrown), null),
  });
}

function attempt(read, otherwise) {
  try {
    return read();
  } catch {
    return otherwise;
  }
}

const isError = (value) => typeof value === "object" && value !== null && typeof value.message === "string";

const nameOf = (thrown) => (isError(thrown) && typeof thrown.name === "string" ? thrown.name : "Error");

const messageOf = (thrown) =>
  isError(thrown) ? thrown.message : typeof thrown === "string" ? thrown : inspect(thrown);

// Without the line of name and message. What nobody has read yet is for the host to translate.
function framesOf(thrown) {
  const stack = frames(thrown) ?? (isError(thrown) && typeof thrown.stack === "string" ? thrown.stack : "");
  return stack
    .split("\n")
    .filter((line) => /^\s+at /.test(line))
    .join("\n");
}

// The library leaves the payload as JSON text on the error that it rethrows.
function convexErrorData(thrown) {
  if (typeof thrown !== "object" || thrown === null || thrown.ConvexErrorSymbol !== convexErrorSymbol) {
    return null;
  }
  return typeof thrown.data === "string" ? thrown.data : null;
}
