// The HTTP function API without a client library between, to see exactly what is answered.
import assert from "node:assert/strict";

/** Calls a function and returns the HTTP status and the body. `request` replaces parts of fetch's options. */
export async function callFunction(tidemark, kind, path, args = {}, request = {}) {
  const response = await post(tidemark, `/api/${kind}`, JSON.stringify({ path, format: "convex_encoded_json", args: [args] }), request);
  return { status: response.status, body: JSON.parse(await response.text()) };
}

export function post(tidemark, path, body, { headers = {}, ...request } = {}) {
  return fetch(tidemark.url + path, {
    method: "POST",
    body,
    headers: { "Content-Type": "application/json", ...headers },
    ...request,
  });
}

export function asAdmin(tidemark) {
  return { headers: { Authorization: `Convex ${tidemark.adminKey}` } };
}

/** Sets environment variables of the deployment, in one step and without the command line's. */
export async function setVariables(tidemark, variables) {
  const changes = Object.entries(variables).map(([name, value]) => ({ name, value }));
  const { status } = await post(tidemark, "/api/update_environment_variables", JSON.stringify({ changes }), asAdmin(tidemark));
  assert.equal(status, 200, `${Object.keys(variables)} can't be set`);
}
