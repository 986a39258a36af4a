// Convex Auth as published: passwords, an OpenID Connect provider, sessions and their tokens, which the app's own HTTP actions
// vouch for; through the official clients, and with its React provider in Chromium.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";
import { exportJWK, exportPKCS8, generateKeyPair } from "jose";
import { launchBrowser, openPage, says } from "./harness/browser.mjs";
import { whenOver } from "./harness/cleanup.mjs";
import { setVariables } from "./harness/functions.mjs";
import { connect, follow } from "./harness/live.mjs";
import { CLIENT_ID, CLIENT_SECRET, newKey, startProviderFor, Visitor } from "./harness/oidc.mjs";
import { servePage } from "./harness/page.mjs";
import { createProject } from "./harness/project.mjs";
import { secretParts, siteUrlOf, startTidemark } from "./harness/tidemark.mjs";

const { auth, people } = anyApi;
const LIMIT = { timeout: 300_000 };
/** The package's: how long a refresh token may be used again. */
const REUSE_MS = 10_000;
const PASSWORD = "correct horse battery staple";
const WRONG_PASSWORD = "incorrect horse battery staple";

/** Starts a server that says much, and none of these secrets. */
async function start(context, { limits = {}, environment = {} } = {}) {
  const tidemark = await startTidemark(context, { limits, environment: { TIDEMARK_LOG: "debug", ...environment } });
  tidemark.secrets.push(PASSWORD, WRONG_PASSWORD, CLIENT_SECRET);
  return tidemark;
}

/** A server with the app, and with its keys and these variables. */
async function serve(context, { variables = {}, ...options } = {}) {
  const tidemark = await start(context, options);
  const project = await createProject(context, tidemark, { app: "convex-auth" });
  const { privateKey, publicKey } = await generateKeyPair("RS256", { extractable: true });
  const pem = (await exportPKCS8(privateKey)).trimEnd().replaceAll("\n", " ");
  const keys = JSON.stringify({ keys: [{ use: "sig", ...(await exportJWK(publicKey)) }] });
  tidemark.secrets.push(...secretParts(pem));
  await setVariables(tidemark, { JWT_PRIVATE_KEY: pem, JWKS: keys, SITE_URL: "http://page.example", ...variables });
  await project.mustRun("deploy", "--typecheck", "disable");
  return tidemark;
}

/** A person at the app: `signIn(args)` calls what the package's clients call, and keeps the tokens that come. */
class Person {
  tokens = null;

  constructor(tidemark) {
    this.tidemark = tidemark;
    this.http = new ConvexHttpClient(tidemark.url, { logger: false });
  }

  async signIn(args, client = this.http) {
    const result = await client.action(auth.signIn, args);
    if (result.tokens) {
      this.tidemark.secrets.push(...secretParts(result.tokens.token), result.tokens.refreshToken);
    }
    if (result.tokens !== undefined) {
      this.tokens = result.tokens;
      this.tokens ? this.http.setAuth(this.tokens.token) : this.http.clearAuth();
    }
    return result;
  }

  withPassword(flow, email, password = PASSWORD) {
    return this.signIn({ provider: "password", params: { flow, email, password } });
  }

  /** In nobody's name: the token that the person has may have expired. */
  refresh(refreshToken = this.tokens.refreshToken) {
    return this.signIn({ refreshToken }, new ConvexHttpClient(this.tidemark.url, { logger: false }));
  }
}

test("who signs up with a password is known to functions, over HTTP and live, until signing out; a wrong one is refused", LIMIT, async (context) => {
  // What verifies the tokens is the app's own; to get it, nothing leaves the server.
  const tidemark = await serve(context, { environment: { TIDEMARK_EGRESS_DENY: "*" } });
  const ann = new Person(tidemark);
  assert.equal(await ann.http.query(people.me), null);
  await assert.rejects(ann.withPassword("signUp", "ann@notes.example", "short"), /Invalid password/);
  await assert.rejects(ann.withPassword("signIn", "ann@notes.example"), /InvalidAccountId/);
  await ann.withPassword("signUp", "ann@notes.example");
  const me = await ann.http.query(people.me);
  assert.deepEqual(me, { id: me.id, email: "ann@notes.example", name: null });
  assert.deepEqual(await ann.http.query(people.mine), { providers: ["password"], sessions: 1, isOpen: true });
  assert.equal(await ann.http.query(auth.isAuthenticated), true);

  const client = connect(context, tidemark);
  const live = follow(client, people.me);
  await live.until((result) => result === null);
  const changes = [];
  const fetchToken = async ({ forceRefreshToken }) => {
    if (forceRefreshToken) await ann.refresh();
    return ann.tokens?.token ?? null;
  };
  client.setAuth(fetchToken, (isAuthenticated) => changes.push(isAuthenticated));
  await live.until((result) => result?.email === "ann@notes.example");
  await client.mutation(people.rename, { name: "Ann" });
  await live.until((result) => result?.name === "Ann");
  // Once for each token: the client gets itself a second one at once, which is the same if it is of the same second.
  assert.ok(changes.length > 0 && changes.every((isAuthenticated) => isAuthenticated), `${changes}`);

  const elsewhere = new Person(tidemark);
  await assert.rejects(elsewhere.withPassword("signIn", "ann@notes.example", WRONG_PASSWORD), /InvalidSecret/);
  assert.equal(elsewhere.tokens, null);
  await elsewhere.withPassword("signIn", "ann@notes.example");
  assert.deepEqual(await elsewhere.http.query(people.me), { ...me, name: "Ann" });
  assert.deepEqual(await elsewhere.http.query(people.mine), { providers: ["password"], sessions: 2, isOpen: true });

  await client.action(auth.signOut, {});
  const ended = { providers: ["password"], sessions: 1, isOpen: false };
  assert.deepEqual(await ann.http.query(people.mine), ended, "a token holds until it ends, though its session has ended");
  assert.deepEqual(await elsewhere.http.query(people.mine), { providers: ["password"], sessions: 1, isOpen: true });
  assert.deepEqual(await ann.refresh(), { tokens: null }, "no more tokens for a session that has ended");
  await elsewhere.refresh();
  assert.equal((await elsewhere.http.query(people.me)).name, "Ann", "the other session goes on");
  await assert.rejects(new Person(tidemark).http.action(auth.store, { args: { type: "signOut" } }), /Could not find function/);
});

test("a refresh token is good once; used again later, it ends what came of it", LIMIT, async (context) => {
  const tidemark = await serve(context);
  const ann = new Person(tidemark);
  await ann.withPassword("signUp", "ann@notes.example");
  const [first, signedUp] = [ann.tokens.refreshToken, ann.tokens.token];
  await ann.refresh(first);
  const second = ann.tokens.refreshToken;
  assert.notEqual(second, first);
  const claims = (token) => JSON.parse(Buffer.from(token.split(".")[1], "base64url"));
  const { iss, aud, sub } = claims(signedUp);
  assert.deepEqual([iss, aud], [await siteUrlOf(tidemark), "convex"]);
  assert.equal(claims(ann.tokens.token).sub, sub, "the same user and session");

  // As after an answer that was lost: there is one way on.
  await ann.refresh(first);
  assert.equal(ann.tokens.refreshToken, second);
  await ann.refresh(second);
  const third = ann.tokens.refreshToken;
  assert.notEqual(third, second);
  assert.equal((await ann.http.query(people.me)).email, "ann@notes.example");

  await sleep(REUSE_MS + 1_000);
  assert.deepEqual(await ann.refresh(first), { tokens: null });
  assert.deepEqual(await ann.refresh(third), { tokens: null }, "whoever has the newest token is not let in either");
  await assert.rejects(ann.refresh("nonsense"), /Can't parse refresh token/);
});

test("a live connection goes on over the ends of its tokens", LIMIT, async (context) => {
  // The client asks for the next token ten seconds before the end of one.
  const tidemark = await serve(context, { variables: { TOKEN_MS: "13000" } });
  const ann = new Person(tidemark);
  await ann.withPassword("signUp", "ann@notes.example");
  const client = connect(context, tidemark);
  const live = follow(client, people.me);
  const changes = [];
  let refreshes = 0;
  const fetchToken = async () => {
    // Two tokens of one second are the same, and a client that gets the same one again does not ask any more.
    await sleep(1_000);
    await ann.refresh();
    refreshes++;
    return ann.tokens.token;
  };
  client.setAuth(fetchToken, (isAuthenticated) => changes.push(isAuthenticated));
  await live.until((result) => result?.email === "ann@notes.example");
  while (refreshes < 4) {
    await sleep(100);
  }
  await client.mutation(people.rename, { name: "Ann" });
  await live.until((result) => result?.name === "Ann");
  assert.ok(live.results.slice(1).every((result) => result !== null), JSON.stringify(live.results));
  assert.ok(changes.every((isAuthenticated) => isAuthenticated), "the client was signed out in between");
});

test("who signs in at an OpenID Connect provider comes back with a code that is good once, and is the same user the next time", LIMIT, async (context) => {
  const tidemark = await serve(context);
  const siteUrl = await siteUrlOf(tidemark);
  const provider = await startProviderFor(context, `${siteUrl}/api/auth/callback/keycloak`, await newKey("RS256", "first"));
  await setProvider(tidemark, provider);
  const board = "http://page.example/board";

  /** Goes the whole way in a browser, but for the exchange of the code. */
  async function goAround(visitor = new Visitor()) {
    const person = new Person(tidemark);
    const { redirect, verifier } = await person.signIn({ provider: "keycloak", params: { redirectTo: "/board" } });
    assert.ok(redirect.startsWith(`${siteUrl}/api/auth/signin/keycloak?code=${verifier}`), redirect);
    const end = new URL(await visitor.signIn(redirect, "ann", board));
    const code = end.searchParams.get("code");
    assert.match(code, /^\d{8}$/);
    return { person, verifier, code };
  }

  const { person, verifier, code } = await goAround();
  const me = async ({ http }) => await http.query(people.me);
  const thief = new Person(tidemark);
  assert.deepEqual(await thief.signIn({ params: { code } }), { tokens: null }, "the code alone is not enough");
  await person.signIn({ params: { code }, verifier });
  const ann = await me(person);
  assert.deepEqual(ann, { id: ann.id, email: "ann@notes.example", name: "ann of Notes" });
  assert.deepEqual(await person.http.query(people.mine), { providers: ["keycloak"], sessions: 1, isOpen: true });
  assert.deepEqual(await thief.signIn({ params: { code }, verifier }), { tokens: null }, "a code is good once");

  const later = await goAround();
  await later.person.signIn({ params: { code: later.code }, verifier: later.verifier });
  assert.equal((await me(later.person)).id, ann.id);

  // What a browser keeps of the way there must come along on the way back.
  const callback = `${siteUrl}/api/auth/callback/keycloak`;
  const { redirect } = await new Person(tidemark).signIn({ provider: "keycloak", params: {} });
  const back = await new Visitor().signIn(redirect, "ann", callback);
  const refused = await new Visitor().visit(back);
  assert.equal(refused.status, 302);
  assert.equal(new URL(refused.headers.get("location")).search, "", "no code for whoever did not begin here");
});

/** Tells the app of a provider, as its administrator would. */
async function setProvider(tidemark, { issuer }) {
  await setVariables(tidemark, { AUTH_KEYCLOAK_ID: CLIENT_ID, AUTH_KEYCLOAK_SECRET: CLIENT_SECRET, AUTH_KEYCLOAK_ISSUER: issuer });
}

test("the keys by which the app's tokens are verified come also while all places for actions are taken", LIMIT, async (context) => {
  // A deployment that is alone may have all of them.
  const held = 3;
  const tidemark = await serve(context, { limits: { action: { running_max: held, wait_ms_max: 1_000 } } });
  const ann = new Person(tidemark);
  await ann.withPassword("signUp", "ann@notes.example");

  const slow = createServer();
  slow.listen(0, "127.0.0.1");
  whenOver(context, () => {
    slow.closeAllConnections();
    slow.close();
  });
  await once(slow, "listening");
  const answers = [];
  slow.on("request", (_, response) => answers.push(response));
  const url = `http://127.0.0.1:${slow.address().port}`;
  const strangers = Array.from({ length: held }, () => new Person(tidemark).http.action(people.wait, { url }));
  while (answers.length < held) {
    await sleep(20);
  }
  await assert.rejects(new Person(tidemark).http.action(people.wait, { url }), /TooManyConcurrentRequests/);

  // The first token that this server sees: no keys have been fetched yet.
  assert.equal((await ann.http.query(people.me)).email, "ann@notes.example");
  const client = connect(context, tidemark);
  client.setAuth(async () => ann.tokens.token);
  await follow(client, people.me).until((result) => result?.email === "ann@notes.example");
  answers.forEach((response) => response.end("now"));
  assert.deepEqual(await Promise.all(strangers), Array(held).fill("now"));
});

test("the package's own set-up program sets keys and writes files that work", LIMIT, async (context) => {
  const tidemark = await start(context);
  const project = await createProject(context, tidemark, { app: "convex-auth" });
  await project.remove("convex/auth.config.ts");
  await project.remove("convex/http.ts");
  const target = ["--url", tidemark.url, "--admin-key", tidemark.adminKey];
  const setUp = await project.startPackage("@convex-dev/auth", "--skip-git-check", "--web-server-url", "http://page.example", ...target);
  await setUp.ended;
  assert.equal(setUp.code, 0, setUp.output);
  assert.match(setUp.output, /You're all set/);
  const list = (await project.mustRun("env", "list")).stdout;
  assert.match(list, /^SITE_URL=http:\/\/page\.example$/m);
  const key = /-----BEGIN PRIVATE KEY----- .* -----END PRIVATE KEY-----/.exec(list)?.[0];
  assert.ok(key, "there is a private key");
  tidemark.secrets.push(...secretParts(key));
  await project.mustRun("deploy", "--typecheck", "disable");
  const ann = new Person(tidemark);
  await ann.withPassword("signUp", "ann@notes.example");
  assert.equal((await ann.http.query(people.me)).email, "ann@notes.example");
});

test("in a browser one signs up, is still there after a reload, signs out, and comes back by a password or a provider", LIMIT, async (context) => {
  const origin = await servePage(context, "convex-auth/page/main.jsx");
  const tidemark = await serve(context, { variables: { SITE_URL: origin } });
  const siteUrl = await siteUrlOf(tidemark);
  const provider = await startProviderFor(context, `${siteUrl}/api/auth/callback/keycloak`, await newKey("RS256", "first"));
  await setProvider(tidemark, provider);
  const address = `${origin}/?deployment=${encodeURIComponent(tidemark.url)}`;
  const page = await openPage(context, await launchBrowser(context), address);
  // The provider's page would fetch its letters from elsewhere.
  await page.route((url) => url.hostname !== "127.0.0.1", (route) => route.abort());
  const press = (name) => page.getByRole("button", { name, exact: true }).click();
  const fill = async (password) => {
    await page.getByLabel("Email").fill("ann@notes.example");
    await page.getByLabel("Password").fill(password);
  };
  /** Tokens that the page keeps. */
  const kept = async () => {
    const values = await page.evaluate(() => Object.entries(localStorage).filter(([name]) => /JWT|RefreshToken/.test(name)));
    tidemark.secrets.push(...values.flatMap(([, value]) => secretParts(value)));
    return values.length;
  };

  await says(page, "state", "nobody");
  await fill(PASSWORD);
  await press("Sign up");
  await says(page, "me", "null ann@notes.example");
  await press("Rename");
  await says(page, "me", "Ann ann@notes.example");
  assert.equal(await kept(), 2);
  await page.reload();
  await says(page, "me", "Ann ann@notes.example");
  assert.equal(await kept(), 2);
  await press("Sign out");
  await says(page, "state", "nobody");
  assert.equal(await kept(), 0);
  await page.reload();
  await says(page, "state", "nobody");

  await press("I have an account");
  await fill(WRONG_PASSWORD);
  await press("Sign in");
  await says(page, "refused", /InvalidSecret/);
  await fill(PASSWORD);
  await press("Sign in");
  await says(page, "me", "Ann ann@notes.example");
  await press("Sign out");
  await says(page, "state", "nobody");

  await press("With Keycloak");
  await page.locator("input[name=login]").fill("bob");
  await page.locator("input[name=password]").fill("any");
  await press("Sign-in");
  await press("Continue");
  await says(page, "me", "bob of Notes bob@notes.example");
  assert.equal(page.url(), address, "the code is gone from the address");
  await page.reload();
  await says(page, "me", "bob of Notes bob@notes.example");
});
