// A real OpenID Connect provider on this machine, a user who signs in there, and tokens of every kind.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { Provider } from "oidc-provider";
import { whenOver } from "./cleanup.mjs";

export const CLIENT_ID = "notes";
/** An app of somebody else, at the same provider. */
export const OTHER_CLIENT_ID = "others";
const REDIRECT_URI = "http://127.0.0.1/signed-in";
const PAGES_MAX = 20;

/** A key with which tokens are signed. `published` is its public half, as a key set has it. */
export async function newKey(algorithm, keyId) {
  const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true });
  const kid = keyId === undefined ? {} : { kid: keyId };
  const about = { alg: algorithm, use: "sig", ...kid };
  return {
    algorithm,
    keyId,
    privateKey,
    private: { ...(await exportJWK(privateKey)), ...about },
    published: { ...(await exportJWK(publicKey)), ...about },
  };
}

/** Signs claims with a key. `seconds` is how long the token holds from now on, less than nothing for one that has expired. */
export async function signToken(key, claims, { seconds = 3_600, header = {} } = {}) {
  const now = Math.floor(Date.now() / 1_000);
  const kid = key.keyId === undefined ? {} : { kid: key.keyId };
  return new SignJWT({ iat: now, exp: now + seconds, ...claims })
    .setProtectedHeader({ alg: key.algorithm, typ: "JWT", ...kid, ...header })
    .sign(key.privateKey);
}

/** Starts a provider whose tokens are signed with the keys; it stops with the test. */
export async function startProvider(context, ...keys) {
  const provider = new OidcProvider();
  whenOver(context, () => provider.stop());
  await provider.start(...keys);
  return provider;
}

class OidcProvider {
  #server = null;
  #port = 0;
  #keys = [];
  /** Paths that were asked for. */
  requests = [];
  /** How long the tokens hold that it gives from now on. */
  seconds = 3_600;

  /** On the port that it had before, with these keys from now on. */
  async start(...keys) {
    this.#keys = keys;
    let handle = null;
    this.#server = createServer((request, response) => {
      this.requests.push(request.url);
      handle(request, response);
    });
    this.#server.listen(this.#port, "127.0.0.1");
    await once(this.#server, "listening");
    this.#port = this.#server.address().port;
    this.issuer = `http://127.0.0.1:${this.#port}`;
    const [{ algorithm }] = keys;
    const provider = new Provider(this.issuer, {
      jwks: { keys: keys.map((key) => key.private) },
      clients: [CLIENT_ID, OTHER_CLIENT_ID].map((id) => ({
        client_id: id,
        client_secret: "not a secret",
        redirect_uris: [REDIRECT_URI],
        id_token_signed_response_alg: algorithm,
      })),
      ttl: { IdToken: () => this.seconds },
      // Each token is another one: a client that gets the same one again does not ask any more.
      findAccount: (_, id) => ({
        accountId: id,
        claims: () => ({ sub: id, name: `${id} of Notes`, email: `${id}@notes.example`, email_verified: true, favourite: { colour: "blue" }, serial: randomUUID() }),
      }),
      claims: { openid: ["sub", "favourite", "serial"], profile: ["name"], email: ["email", "email_verified"] },
      conformIdTokenClaims: false,
      enabledJWA: { idTokenSigningAlgValues: ["RS256", "ES256", "EdDSA"] },
      cookies: { keys: ["of a test"] },
      pkce: { required: () => false },
    });
    handle = provider.callback();
  }

  /** Returns the keys that it had. */
  async stop() {
    if (this.#server.listening) {
      this.#server.close();
      this.#server.closeAllConnections();
      await once(this.#server, "close");
    }
    return this.#keys;
  }

  /** Signs a user in with a browser's steps (pages, forms, cookies) and returns the ID token, which is for an app. */
  async signIn(user, app = CLIENT_ID) {
    const cookies = new Map();
    const visit = async (url, form) => {
      const response = await fetch(url, {
        method: form ? "POST" : "GET",
        body: form && new URLSearchParams(form),
        redirect: "manual",
        // The provider may be another one soon, at the same address.
        headers: { Connection: "close", Cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join("; ") },
      });
      for (const cookie of response.headers.getSetCookie()) {
        const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie);
        cookies.set(name, value);
      }
      return response;
    };
    const asked = { client_id: app, response_type: "code", scope: "openid profile email", redirect_uri: REDIRECT_URI };
    let url = `${this.issuer}/auth?${new URLSearchParams(asked)}`;
    let response = await visit(url);
    for (let pages = 0; !url.startsWith(REDIRECT_URI); pages++) {
      assert.ok(pages < PAGES_MAX, `signing in does not end: ${url}`);
      const location = response.headers.get("location");
      if (location) {
        url = new URL(location, url).href;
        response = url.startsWith(REDIRECT_URI) ? response : await visit(url);
        continue;
      }
      const page = await response.text();
      const prompt = /name="prompt" value="(\w+)"/.exec(page)?.[1];
      assert.ok(prompt, `the provider shows a page without a form (${response.status}): ${page}`);
      url = new URL(/action="([^"]+)"/.exec(page)[1], url).href;
      response = await visit(url, { prompt, login: user, password: "any" });
    }
    const code = new URL(url).searchParams.get("code");
    const answer = await fetch(`${this.issuer}/token`, {
      method: "POST",
      headers: { Connection: "close", Authorization: `Basic ${btoa(`${app}:not%20a%20secret`)}` },
      body: new URLSearchParams({ grant_type: "authorization_code", code, redirect_uri: REDIRECT_URI }),
    });
    const { id_token: token } = await answer.json();
    assert.ok(token, "the provider gives an ID token");
    return token;
  }
}
