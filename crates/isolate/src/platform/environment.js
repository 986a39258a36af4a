// process.env: the deployment's variables, which are part of the image. What is read of it is told to the host, so that a
// result holds until one of the variables that it was made from changes.
import { codedError } from "tidemark:errors";
import { variableIsRead } from "tidemark:requests";

export const process = { env: {} };

let variables = {};

// The names that the host knows of, those that modules have read while they were imported included.
const known = Object.create(null);

// `text` is JSON text of what import.rs knows.
export function configure(_number, text) {
  const { environment, unsetVariablesFail } = JSON.parse(text);
  variables = environment;
  process.env = watched(environment, unsetVariablesFail);
}

// Whether a property is a variable with its value, also in a copy of `process.env`. Tells nobody.
export const isVariable = (name, value) =>
  typeof name === "string" && typeof value === "string" && Object.hasOwn(variables, name) && variables[name] === value;

function note(name) {
  if (typeof name === "string" && !(name in known) && !("" in known)) {
    known[name] = true;
    variableIsRead(name);
  }
}

function watched(environment, unsetVariablesFail) {
  return new Proxy(environment, {
    get(target, name) {
      note(name);
      if (unsetVariablesFail && typeof name === "string" && !Object.hasOwn(target, name)) {
        throw codedError("AuthConfigMissingEnvironmentVariable", name);
      }
      return target[name];
    },
    has(target, name) {
      note(name);
      return Reflect.has(target, name);
    },
    getOwnPropertyDescriptor(target, name) {
      note(name);
      return Reflect.getOwnPropertyDescriptor(target, name);
    },
    ownKeys(target) {
      note("");
      return Reflect.ownKeys(target);
    },
  });
}
