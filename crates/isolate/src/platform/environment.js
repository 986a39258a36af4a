// process.env: the deployment's variables, which are part of the image.
import { codedError } from "tidemark:errors";

export const process = { env: {} };

// `text` is JSON text of what import.rs knows.
export function configure(_number, text) {
  const { environment, unsetVariablesFail } = JSON.parse(text);
  process.env = unsetVariablesFail ? failingWhereUnset(environment) : environment;
}

function failingWhereUnset(environment) {
  return new Proxy(environment, {
    get(target, name) {
      if (typeof name === "string" && !Object.hasOwn(target, name)) {
        throw codedError("AuthConfigMissingEnvironmentVariable", name);
      }
      return target[name];
    },
  });
}
