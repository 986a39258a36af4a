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
export const CLIENT_SECRET = "not a secret";
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
export function startProvider(context, ...keys) {
  return startProviderFor(context, REDIRECT_URI, ...keys);
}

/** The same for apps that have people sent back to an address of their own. */
export async function startProviderFor(context, redirectUri, ...keys) {
  const provider = new OidcProvider(redirectUri);
  whenOver(context, () => provider.stop());
  await provider.start(...keys);
  return provider;
}

/** What a person's browser does where no script runs: it keeps cookies, goes where it is sent, and fills in forms. */
export class Visitor {
  #cookies = new Map();

  /** As `fetch`, with the cookies that have come so far. */
  async fetch(url, { headers, ...init } = {}) {
    const cookies = [...this.#cookies].map(([name, value]) => `${name}=${value}`);
    const sent = new Headers(headers);
    if (cookies.length > 0) sent.set("Cookie", cookies.join("; "));
    const response = await fetch(url, { ...init, headers: sent });
    for (const cookie of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie);
      value === "" ? this.#cookies.delete(name) : this.#cookies.set(name, value);
    }
    return response;
  }

  /** Opens a page, or sends a form to it. */
  async visit(url, form) {
    // A server may be another one soon, at the same address.
    const headers = { Connection: "close" };
    return this.fetch(url, { method: form ? "POST" : "GET", body: form && new URLSearchParams(form), redirect: "manual", headers });
  }

  /** Begins at `url`, signs in as `user` where a provider asks, and returns the address that begins with `end` without visiting it. */
  async signIn(url, user, end) {
    let response = await this.visit(url);
    for (let pages = 0; pages < PAGES_MAX; pages++) {
      const location = response.headers.get("location");
      if (location) {
        url = new URL(location, url).href;
        if (url.startsWith(end)) {
          return url;
        }
        response = await this.visit(url);
        continue;
      }
      const page = await response.text();
      const prompt = /name="prompt" value="(\w+)"/.exec(page)?.[1];
      assert.ok(prompt, `there is a page without a form (${response.status}): ${page}`);
      url = new URL(/action="([^"]+)"/.exec(page)[1], url).href;
      response = await this.visit(url, { prompt, login: user, password: "any" });
    }
    assert.fail(`signing in does not end: ${url}`);
  }
}

class OidcProvider {
  #redirectUri;
  #server = null;
  #port = 0;
  #keys = [];
  /** Paths that were asked for. */
  requests = [];
  /** How long the tokens hold that it gives from now on. */
  seconds = 3_600;

  constructor(redirectUri) {
    this.#redirectUri = redirectUri;
  }

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
        client_secret: CLIENT_SECRET,
        redirect_uris: [this.#redirectUri],
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
    const asked = { client_id: app, response_type: "code", scope: "openid profile email", redirect_uri: this.#redirectUri };
    const url = await new Visitor().signIn(`${this.issuer}/auth?${new URLSearchParams(asked)}`, user, this.#redirectUri);
    const code = new URL(url).searchParams.get("code");
    const answer = await fetch(`${this.issuer}/token`, {
      method: "POST",
      headers: { Connection: "close", Authorization: `Basic ${btoa(`${app}:${encodeURIComponent(CLIENT_SECRET)}`)}` },
      body: new URLSearchParams({ grant_type: "authorization_code", code, redirect_uri: this.#redirectUri }),
    });
    const { id_token: token } = await answer.json();
    assert.ok(token, "the provider gives an ID token");
    return token;
  }
}
