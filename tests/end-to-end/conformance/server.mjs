// What the rules are held against: Tidemark with the app, the keys that its users' tokens are signed with, and a server of somebody else's.
import assert from "node:assert/strict";
import { asAdmin, callFunction, post } from "../harness/functions.mjs";
import { newKey, signToken } from "../harness/oidc.mjs";
import { createProject } from "../harness/project.mjs";
import { serve } from "../harness/serve.mjs";

export const AUDIENCE = "conformance";
/** Whose tokens are for this app. */
export const ISSUER = "https://issuer.example";
/** Whose tokens are for any app. */
export const ISSUER_FOR_ALL = "https://all.example";
export const GREETING = "high = low\nand = again";

const AUTH_CONFIG = `
  const custom = { type: "customJwt", jwks: process.env.CUSTOM_KEYS, algorithm: "ES256" };
  export default {
    providers: [
      { domain: process.env.CONVEX_SITE_URL, applicationID: "${AUDIENCE}" },
      { ...custom, issuer: "${ISSUER}", applicationID: "${AUDIENCE}" },
      { ...custom, issuer: "${ISSUER_FOR_ALL}" },
    ],
  };`;

const keySet = (key) => JSON.stringify({ keys: [key.published] });

/** `start` starts a Tidemark with the environment that it is given: its `url` and `adminKey`. */
export async function startServer(context, start) {
  const outside = await startOutside(context);
  const tidemark = await start({ NOT_FOR_FUNCTIONS: "the server's own" });
  const keys = { own: await newKey("RS256", "own"), custom: await newKey("ES256", "custom") };
  const server = new Server(tidemark, keys, outside);
  server.site = (await server.get("/api/v1/get_canonical_urls")).convexSiteUrl;
  const changed = await server.change({
    GREETING,
    OWN_KEYS: keySet(keys.own),
    CUSTOM_KEYS: `data:text/plain;charset=utf-8;base64,${Buffer.from(keySet(keys.custom)).toString("base64")}`,
  });
  assert.equal(changed, 200);
  const project = await createProject(context, tidemark, { app: "conformance" });
  await project.write("convex/auth.config.ts", AUTH_CONFIG);
  await project.mustRun("deploy", "--typecheck", "disable");
  return server;
}

class Server {
  constructor(tidemark, keys, outside) {
    Object.assign(this, { tidemark, keys, outside, url: tidemark.url });
  }

  /** What an administrator gets from a path. */
  async get(path) {
    return (await fetch(this.url + path, asAdmin(this.tidemark))).json();
  }

  /** The value of a function of the system's. */
  async system(path, args = {}) {
    const { body } = await callFunction(this.tidemark, "query", path, args, asAdmin(this.tidemark));
    assert.equal(body.status, "success", JSON.stringify(body));
    return body.value;
  }

  /** Changes environment variables: the status, with the code and the message of a refusal. */
  async change(variables, { path = "/api/update_environment_variables", request = asAdmin(this.tidemark) } = {}) {
    const changes = Object.entries(variables).map(([name, value]) => ({ name, value }));
    const response = await post(this.tidemark, path, JSON.stringify({ changes }), request);
    const text = await response.text();
    return response.status === 200 ? 200 : refusal(response, JSON.parse(text));
  }

  /** A token of the app's own, which is an OpenID Connect provider. */
  ownToken(claims = {}, options) {
    return signToken(this.keys.own, { iss: this.site, aud: AUDIENCE, sub: "ann", ...claims }, options);
  }

  /** A token of an issuer who is no such provider. */
  customToken(claims = {}, options) {
    return signToken(this.keys.custom, { iss: ISSUER, aud: AUDIENCE, sub: "ann", ...claims }, options);
  }

  /** What a query sees of whoever brings this header; or the refusal. */
  async identityOf(header) {
    const headers = header === null ? {} : { Authorization: header };
    const { status, body } = await callFunction(this.tidemark, "query", "who:identity", {}, { headers });
    return status === 200 ? body.value : refusal({ status }, body);
  }
}

const refusal = ({ status }, { code, message }) => `${status} ${code}: ${message}`;

/** Answers with what it was asked. */
async function startOutside(context) {
  return serve(context, async (request, response) => {
    if (request.url === "/never") {
      return;
    }
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) {
      body += chunk;
    }
    const { method, url, headers } = request;
    response.writeHead(method === "POST" ? 201 : 200, { "Content-Type": "application/json" });
    response.end(JSON.stringify({ method, url, from: headers["x-from"] ?? null, body }));
  });
}
