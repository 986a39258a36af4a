// The HTTP function API without a client library between, to see exactly what is answered.

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
