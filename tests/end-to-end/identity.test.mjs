// Users and their tokens: a real OpenID Connect provider, the official clients, and what functions see of it.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ConvexClient, ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";
import { WebSocket } from "ws";
import { whenOver } from "./harness/cleanup.mjs";
import { asAdmin, callFunction } from "./harness/functions.mjs";
import { connect, follow } from "./harness/live.mjs";
import { CLIENT_ID, OTHER_CLIENT_ID, newKey, signToken, startProvider } from "./harness/oidc.mjs";
import { createProject } from "./harness/project.mjs";
import { startTidemark, temporaryFolder } from "./harness/tidemark.mjs";

const { asked, who } = anyApi;
const LIMIT = { timeout: 300_000 };
/** How long a token holds that a test sees holding and expiring. */
const SHORT_SECONDS = 15;
const PROVIDER_IS_DOWN = /WARN.* an auth provider's document can't be fetched/;

/** Pushes the app with these providers in its auth.config: JavaScript, which may read variables. */
async function pushWith(project, providers) {
  await project.write("convex/auth.config.ts", `export default { providers: [${providers}] };`);
  return project.convex("deploy", "--typecheck", "disable");
}

async function serveApp(context, providers, { app = "identity", limits = {}, ...options } = {}) {
  const file = join(await temporaryFolder(context), "tidemark.toml");
  const lines = Object.entries(limits).map(([name, value]) => `${name} = ${value}\n`);
  await writeFile(file, `[limits.auth]\n${lines.join("")}`);
  const environment = { TIDEMARK_CONFIG: file, ...options.environment };
  const tidemark = await startTidemark(context, { ...options, environment });
  const project = await createProject(context, tidemark, { app });
  const push = await pushWith(project, providers);
  assert.equal(push.code, 0, push.output);
  return { tidemark, project };
}

const oidc = (provider, applicationID = CLIENT_ID) => `{ domain: ${JSON.stringify(provider.issuer)}, applicationID: ${JSON.stringify(applicationID)} }`;

/** What the HTTP API answers to a token: `{ status, code, message }`, or the value. */
async function ask(tidemark, token) {
  const { status, body } = await callFunction(tidemark, "query", "who:am", {}, { headers: { Authorization: `Bearer ${token}` } });
  return status === 200 ? body.value : { status, ...body };
}

/** Nothing of a token stands in the log, not even of one that was refused. */
function assertNotLogged(tidemark, ...tokens) {
  for (const token of tokens) {
    for (const part of token.split(".").filter((part) => part.length > 20)) {
      assert.ok(!tidemark.log.includes(part), `the log holds a part of a token: ${tidemark.log}`);
    }
  }
}

test("who signs in at an OIDC provider is known to functions, over HTTP and live", LIMIT, async (context) => {
  const provider = await startProvider(context, await newKey("RS256", "first"));
  const { tidemark } = await serveApp(context, oidc(provider), { environment: { TIDEMARK_LOG: "debug" } });
  assert.deepEqual(provider.requests, [], "nobody is asked before there is a token");
  const token = await provider.signIn("ann");
  provider.requests.length = 0;

  const http = new ConvexHttpClient(tidemark.url);
  assert.equal(await http.query(who.am), null);
  http.setAuth(token);
  const identity = await http.query(who.am);
  const { tokenIdentifier, subject, issuer, name, email, emailVerified, favourite } = identity;
  assert.deepEqual(
    { tokenIdentifier, subject, issuer, name, email, emailVerified, favourite },
    {
      tokenIdentifier: `${provider.issuer}|ann`,
      subject: "ann",
      issuer: provider.issuer,
      name: "ann of Notes",
      email: "ann@notes.example",
      emailVerified: true,
      favourite: { colour: "blue" },
    },
  );
  await http.mutation(who.sign);
  assert.deepEqual(provider.requests, ["/.well-known/openid-configuration", "/jwks"], "keys are fetched once");

  const client = connect(context, tidemark);
  const board = follow(client, who.board);
  await board.until(({ me }) => me === "nobody");
  const changes = [];
  client.setAuth(async () => token, (isAuthenticated) => changes.push(isAuthenticated));
  await board.until(({ me, signatures }) => me === "ann" && signatures.length === 1);
  await client.mutation(who.sign, {});
  assert.deepEqual((await board.until(({ signatures }) => signatures.length === 2)).signatures, ["ann", "ann"]);
  assert.deepEqual(changes, [true]);
  assert.deepEqual(provider.requests, ["/.well-known/openid-configuration", "/jwks"]);
  assertNotLogged(tidemark, token);
});

test("new keys of a provider are found by the first token that is signed with them", LIMIT, async (context) => {
  const provider = await startProvider(context, await newKey("RS256", "first"));
  const { tidemark } = await serveApp(context, oidc(provider), { limits: { unknown_key_ms_min: 1 } });
  const before = await provider.signIn("ann");
  assert.equal((await ask(tidemark, before)).subject, "ann");
  await provider.stop();
  await provider.start(await newKey("ES256", "second"));
  const after = await provider.signIn("bob");
  assert.equal((await ask(tidemark, after)).subject, "bob");
  const withdrawn = await ask(tidemark, before);
  assert.deepEqual([withdrawn.status, withdrawn.code], [401, "Unauthenticated"]);
  assert.match(withdrawn.message, /no key with the id `first`/);
});

test("what a provider signs by RS256, ES256 or EdDSA holds for the app it is for, from that provider, until it ends", LIMIT, async (context) => {
  const start = async (algorithm) => startProvider(context, await newKey(algorithm, "first"));
  const providers = await Promise.all(["RS256", "ES256", "EdDSA"].map(start));
  const stranger = await start("RS256");
  const { tidemark } = await serveApp(context, providers.map((provider) => oidc(provider)).join());
  const expired = new Map();
  for (const provider of providers) {
    // With the keys fetched, so that nothing but the call takes from the token's time.
    assert.equal((await ask(tidemark, await provider.signIn("ann"))).subject, "ann");
    provider.seconds = SHORT_SECONDS;
    const token = await provider.signIn("ann");
    provider.seconds = 3_600;
    assert.equal((await ask(tidemark, token)).subject, "ann");
    expired.set(provider, token);
  }
  await sleep((SHORT_SECONDS + 1) * 1_000);
  for (const provider of providers) {
    const [header, payload, signature] = (await provider.signIn("ann")).split(".");
    const changed = Buffer.from(payload, "base64url").toString().replace('"ann"', '"bob"');
    for (const [refused, code, message] of [
      [expired.get(provider), "Unauthenticated", /expired \d+ seconds? ago/],
      [await provider.signIn("ann", OTHER_CLIENT_ID), "NoAuthProvider", /for `others`/],
      [await stranger.signIn("ann"), "NoAuthProvider", new RegExp(stranger.issuer)],
      [[header, Buffer.from(changed).toString("base64url"), signature].join("."), "Unauthenticated", /signature is not right/],
      [[Buffer.from('{"alg":"none"}').toString("base64url"), payload, ""].join("."), "Unauthenticated", /`none` is not allowed/],
    ]) {
      const answer = await ask(tidemark, refused);
      assert.deepEqual([answer.status, answer.code], [401, code], JSON.stringify(answer));
      assert.match(answer.message, message);
      assert.match((await authenticate(context, tidemark, refused)).error, message);
    }
  }
  const fetched = stranger.requests.filter((path) => path.startsWith("/.well-known") || path.startsWith("/jwks"));
  assert.deepEqual(fetched, [], "nobody is asked whom the app does not name");
  assert.deepEqual(await signatures(tidemark), []);
});

test("a live connection goes on over a change of the provider's keys", LIMIT, async (context) => {
  const provider = await startProvider(context, await newKey("RS256", "first"));
  const { tidemark } = await serveApp(context, oidc(provider), { limits: { unknown_key_ms_min: 1 } });
  // The client asks for the next token ten seconds before the end of one.
  provider.seconds = 13;
  const client = connect(context, tidemark);
  const board = follow(client, who.board);
  const [headers, changes] = [[], []];
  // Nobody is signing in while the provider is away.
  let turns = Promise.resolve();
  const inTurn = (work) => (turns = turns.then(work));
  const fetchToken = async () => {
    const token = await inTurn(() => provider.signIn("ann"));
    headers.push(JSON.parse(Buffer.from(token.split(".")[0], "base64url")));
    return token;
  };
  client.setAuth(fetchToken, (isAuthenticated) => changes.push(isAuthenticated));
  await board.until(({ me }) => me === "ann");
  const key = await newKey("EdDSA", "second");
  await inTurn(() => provider.stop().then(() => provider.start(key)));
  while (headers.filter(({ kid }) => kid === "second").length < 2) {
    await sleep(100);
  }
  await client.mutation(who.sign, {});
  await board.until(({ signatures }) => signatures.length === 1);
  assert.deepEqual((await signatures(tidemark)), ["ann"]);
  assert.ok(board.results.slice(1).every(({ me }) => me === "ann"), JSON.stringify(board.results));
  assert.ok(changes.every((isAuthenticated) => isAuthenticated), "the client was signed out in between");
});

test("tokens that do not hold are refused by code, over HTTP and by AuthError", LIMIT, async (context) => {
  const key = await newKey("RS256", "first");
  const provider = await startProvider(context, key);
  const { tidemark } = await serveApp(context, oidc(provider));
  const now = Math.floor(Date.now() / 1_000);
  const claims = { iss: provider.issuer, aud: CLIENT_ID, sub: "ann" };
  assert.equal((await ask(tidemark, await signToken(key, claims))).subject, "ann", "what is changed below holds as it is");
  const encode = (json) => Buffer.from(JSON.stringify(json)).toString("base64url");
  const good = await signToken(key, claims);
  const [, payload, signature] = good.split(".");
  const stranger = await newKey("RS256", "first");
  const { createHmac } = await import("node:crypto");
  const { exportSPKI, importJWK } = await import("jose");
  const publicPem = await exportSPKI(await importJWK(key.published, "RS256"));
  const confused = `${encode({ alg: "HS256", typ: "JWT", kid: "first" })}.${payload}`;
  const table = {
    "of another audience": [await signToken(key, { ...claims, aud: "others" }), "NoAuthProvider", /for `others`/],
    "of several audiences": [await signToken(key, { ...claims, aud: [CLIENT_ID, "others"] }), "Unauthenticated", /2 audiences/],
    "of another issuer": [await signToken(key, { ...claims, iss: "https://login.example" }), "NoAuthProvider", /`https:\/\/login.example`/],
    expired: [await signToken(key, claims, { seconds: -10 }), "Unauthenticated", /expired \d+ seconds ago/],
    "not yet valid": [await signToken(key, { ...claims, nbf: now + 600 }), "Unauthenticated", /`nbf` is \d+ seconds in the future/],
    "without an end": [await signToken(key, { ...claims, exp: undefined }), "Unauthenticated", /`exp` must be/],
    unsigned: [`${encode({ alg: "none", typ: "JWT" })}.${payload}.`, "Unauthenticated", /`none` is not allowed/],
    "with its signature taken off": [`${good.slice(0, good.lastIndexOf("."))}.`, "Unauthenticated", /signature is not right/],
    "signed with the public key as a secret": [
      `${confused}.${createHmac("sha256", publicPem).update(confused).digest("base64url")}`,
      "Unauthenticated",
      /`HS256` is not allowed/,
    ],
    "signed by somebody else": [await signToken(stranger, claims), "Unauthenticated", /signature is not right/],
    "that brings its own key": [await signToken(stranger, claims, { header: { kid: undefined, jwk: stranger.published } }), "Unauthenticated", /signature is not right/],
    "with other claims than were signed": [
      `${good.split(".")[0]}.${encode({ ...claims, sub: "bob", exp: now + 600 })}.${signature}`,
      "Unauthenticated",
      /signature is not right/,
    ],
    "that is too large": [await signToken(key, { ...claims, more: "x".repeat(20_000) }), "InvalidAuthHeader", /more than the 16384/],
    "that is none": ["hello", "InvalidAuthHeader", /could not be decoded/],
  };
  for (const [what, [token, code, message]] of Object.entries(table)) {
    await context.test(`a token ${what}`, async () => {
      const answer = await ask(tidemark, token);
      assert.deepEqual([answer.status, answer.code], [401, code], JSON.stringify(answer));
      assert.match(answer.message, message);
      const http = new ConvexHttpClient(tidemark.url);
      http.setAuth(token);
      await assert.rejects(http.mutation(who.sign), message);
      const refusal = await authenticate(context, tidemark, token);
      assert.deepEqual([refusal.type, refusal.baseVersion, refusal.authUpdateAttempted], ["AuthError", 0, true]);
      assert.match(refusal.error, message);
    });
  }
  assert.deepEqual(await signatures(tidemark), [], "nothing was done in anybody's name");
  assertNotLogged(tidemark, ...Object.values(table).map(([token]) => token));
});

/** Who has signed, as an administrator sees it. */
async function signatures(tidemark) {
  return (await callFunction(tidemark, "query", "who:board", {}, asAdmin(tidemark))).body.value.signatures;
}

/** A bare session. `next(type)` waits for the next message of a type. */
async function openSocket(context, tidemark) {
  const socket = new WebSocket(`${tidemark.url.replace("http", "ws")}/api/1.48.0/sync`);
  whenOver(context, () => socket.terminate());
  const messages = [];
  let wake = () => {};
  socket.on("message", (text) => {
    messages.push(JSON.parse(text));
    wake();
  });
  await new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject));
  const send = (message) => socket.send(JSON.stringify(message));
  send({ type: "Connect", sessionId: crypto.randomUUID(), connectionCount: 0, lastCloseReason: "InitialConnect", clientTs: Date.now() });
  const next = async (type) => {
    for (;;) {
      const message = messages.shift();
      if (message === undefined) {
        await new Promise((resolve) => (wake = resolve));
      } else if (message.type === type) {
        return message;
      }
    }
  };
  return { send, next, socket };
}

/** What a session answers to a token that it does not take. */
async function authenticate(context, tidemark, token) {
  const { send, next } = await openSocket(context, tidemark);
  send({ type: "Authenticate", baseVersion: 0, tokenType: "User", value: token });
  // Behind a token that is refused nothing counts.
  send({ type: "Mutation", requestId: 0, udfPath: "who:sign", args: [{}] });
  return next("AuthError");
}

test("a client whose tokens are all refused is told so, and goes on as nobody", LIMIT, async (context) => {
  const key = await newKey("RS256", "first");
  const provider = await startProvider(context, key);
  const { tidemark } = await serveApp(context, oidc(provider));
  const client = connect(context, tidemark);
  const board = follow(client, who.board);
  const told = new Promise((resolve) => {
    const expired = () => signToken(key, { iss: provider.issuer, aud: CLIENT_ID, sub: "ann", jti: crypto.randomUUID() }, { seconds: -60 });
    client.setAuth(expired, resolve);
  });
  assert.equal(await told, false);
  assert.equal((await board.until(() => true)).me, "nobody");
});

test("a token that expires on a live connection ends what it showed, until there is another", LIMIT, async (context) => {
  const key = await newKey("RS256", "first");
  const provider = await startProvider(context, key);
  const { tidemark } = await serveApp(context, oidc(provider));
  const claims = { iss: provider.issuer, aud: CLIENT_ID, sub: "ann" };

  const { send, next } = await openSocket(context, tidemark);
  assert.equal((await ask(tidemark, await signToken(key, claims))).subject, "ann", "the keys are fetched");
  const token = await signToken(key, claims, { seconds: SHORT_SECONDS });
  send({ type: "Authenticate", baseVersion: 0, tokenType: "User", value: token });
  send({ type: "ModifyQuerySet", baseVersion: 0, newVersion: 1, modifications: [{ type: "Add", queryId: 0, udfPath: "who:board", args: [{}] }] });
  let transition = await next("Transition");
  while (transition.endVersion.querySet === 0) {
    transition = await next("Transition");
  }
  assert.equal(transition.modifications[0].value.me, "ann");
  await sleep((SHORT_SECONDS + 1) * 1_000);
  await callFunction(tidemark, "mutation", "who:sign");
  const expired = await next("AuthError");
  assert.deepEqual([expired.baseVersion, expired.authUpdateAttempted], [1, false]);
  assert.match(expired.error, /expired/);

  // The official client gets itself the next token before it comes to that, and its user notices nothing.
  const client = connect(context, tidemark);
  const board = follow(client, who.board);
  let turn = 0;
  const changes = [];
  const fetchToken = () => signToken(key, { ...claims, turn: ++turn }, { seconds: 13 });
  client.setAuth(fetchToken, (isAuthenticated) => changes.push(isAuthenticated));
  await board.until((result) => result.turn >= 3);
  assert.ok(board.results.every(({ me }, index) => index === 0 || me === "ann"), JSON.stringify(board.results));
  assert.ok(changes.every((isAuthenticated) => isAuthenticated), "the client was signed out in between");
});

test("a provider that is down refuses nobody for good: 503, and clients come back", LIMIT, async (context) => {
  const provider = await startProvider(context, await newKey("RS256", "first"));
  const limits = { retry_ms_min: 1, retry_ms_max: 1 };
  const { tidemark } = await serveApp(context, oidc(provider), { limits, allowedInLog: [PROVIDER_IS_DOWN] });
  const token = await provider.signIn("ann");
  const keys = await provider.stop();
  const answer = await ask(tidemark, token);
  assert.deepEqual([answer.status, answer.code], [503, "AuthProviderDiscoveryFailed"]);
  assert.match(answer.message, new RegExp(`${provider.issuer}/.well-known/openid-configuration could not be reached`));

  const client = connect(context, tidemark);
  const board = follow(client, who.board);
  const told = new Promise((resolve) => client.setAuth(async () => token, resolve));
  const { socket, send } = await openSocket(context, tidemark);
  send({ type: "Authenticate", baseVersion: 0, tokenType: "User", value: token });
  const [code, reason] = await new Promise((resolve) => socket.on("close", (...why) => resolve(why)));
  assert.equal(code, 1013);
  assert.match(String(reason), /^AuthProviderDiscoveryFailed: /);
  await provider.start(...keys);
  assert.equal(await told, true);
  await board.until(({ me }) => me === "ann");
});

test("a custom issuer's keys stand in its configuration, and its claims are shown by their paths", LIMIT, async (context) => {
  const key = await newKey("ES256", "own");
  const keys = Buffer.from(JSON.stringify({ keys: [key.published] })).toString("base64");
  const issuer = "https://issuer.example";
  const jwks = `data:text/plain;charset=utf-8;base64,${keys}`;
  const custom = { type: "customJwt", issuer, jwks, algorithm: "ES256" };
  // Nothing leaves the server for it.
  const environment = { TIDEMARK_EGRESS_DENY: "*" };
  const { tidemark } = await serveApp(context, JSON.stringify(custom), { environment });
  const claims = { iss: issuer, sub: "ann", role: "owner", properties: { email: "ann@notes.example", team: { id: 7 } } };
  const identity = await ask(tidemark, await signToken(key, claims));
  assert.deepEqual(
    { ...identity, iat: 0, exp: 0 },
    {
      tokenIdentifier: `${issuer}|ann`,
      issuer,
      subject: "ann",
      iss: issuer,
      sub: "ann",
      iat: 0,
      exp: 0,
      role: "owner",
      "properties.email": "ann@notes.example",
      "properties.team.id": 7,
    },
  );
  const other = await newKey("RS256", "own");
  for (const [token, message] of [
    [await signToken(other, claims), /`RS256` is not allowed for this provider, which uses ES256/],
    [await signToken(await newKey("ES256", "own"), claims), /signature is not right/],
    [await signToken(await newKey("ES256", "another"), claims), /no key with the id `another`/],
    [await signToken(key, claims, { seconds: -6 }), /expired/],
    [await signToken(key, { ...claims, iat: Math.floor(Date.now() / 1_000) + 60 }), /`iat` is \d+ seconds in the future/],
  ]) {
    const answer = await ask(tidemark, token);
    assert.deepEqual([answer.status, answer.code], [401, "InvalidAuthHeader"]);
    assert.match(answer.message, message);
  }
});

test("an app that is its own provider is asked within the server, whatever requests may leave it", LIMIT, async (context) => {
  const environment = { TIDEMARK_EGRESS_DENY: "*" };
  const ours = '{ domain: process.env.CONVEX_SITE_URL, applicationID: "convex" }';
  const key = await newKey("RS256");
  const elsewhere = '{ domain: "http://127.0.0.1:9", applicationID: "convex" }';
  const allowedInLog = [/WARN.*http:\/\/127.0.0.1:9\/.* is not let through by this server's configuration \(`egress.deny`\)/];
  const { tidemark } = await serveApp(context, `${ours}, ${elsewhere}`, { environment, allowedInLog });
  const urls = await (await fetch(`${tidemark.url}/api/v1/get_canonical_urls`, asAdmin(tidemark))).json();
  const token = (iss) => signToken(key, { iss, aud: "convex", sub: "user|session" });
  // The app has no HTTP actions: there is no such page, which is said at once.
  const own = await ask(tidemark, await token(urls.convexSiteUrl));
  assert.deepEqual([own.status, own.code], [404, "AuthProviderDiscoveryFailed"]);
  assert.match(own.message, /openid-configuration answered with the status 404/);
  const other = await ask(tidemark, await token("http://127.0.0.1:9"));
  assert.deepEqual([other.status, other.code], [503, "AuthProviderDiscoveryFailed"]);
  assert.match(other.message, /is not let through by this server's configuration \(`egress.deny`\)/);
});

test("pushes change the providers of the next token, and refuse what can't be one", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await createProject(context, tidemark, { app: "identity" });
  const key = await newKey("ES256", "own");
  const keys = JSON.stringify({ keys: [key.published] });
  const custom = (issuer) => JSON.stringify({ type: "customJwt", issuer, jwks: `data:application/json,${encodeURIComponent(keys)}`, algorithm: "ES256" });
  const token = await signToken(key, { iss: "https://one.example", sub: "ann" });
  assert.equal((await pushWith(project, "")).code, 0);
  const none = await ask(tidemark, token);
  assert.deepEqual([none.status, none.code], [401, "NoAuthProvider"]);
  assert.match(none.message, /This deployment has no auth providers configured/);
  assert.equal((await pushWith(project, `${custom("https://one.example")}, ${custom("two.example")}`)).code, 0);
  assert.equal((await ask(tidemark, token)).subject, "ann");

  for (const [providers, code, message] of [
    ['{ domain: "\\"https://x.example\\"", applicationID: "convex" }', "InvalidProviderDomainUrl", /begins with a quotation mark/],
    ['{ type: "customJwt", issuer: "https://x.example", jwks: "https://x.example/keys", algorithm: "HS256" } as any', "InvalidAuthConfig", /must be RS256, ES256, EdDSA/],
    ["{ domain: process.env.AUTH_DOMAIN, applicationID: 'convex' }", "AuthConfigMissingEnvironmentVariable", /AUTH_DOMAIN/],
  ]) {
    const push = await pushWith(project, providers);
    assert.equal(push.code, 1, push.output);
    assert.match(push.output, message);
    assert.match(push.output, new RegExp(code === "AuthConfigMissingEnvironmentVariable" ? "env set" : code));
    assert.equal((await ask(tidemark, token)).subject, "ann", "what is served has not changed");
  }
  const push = await pushWith(project, custom("https://three.example"));
  assert.equal(push.code, 0, push.output);
  const gone = await ask(tidemark, token);
  assert.deepEqual([gone.status, gone.code], [401, "NoAuthProvider"]);
  assert.match(gone.message, /Configured are: custom JWT `https:\/\/three.example` for any audience/);
});

test("functions see where a request comes from and by which token; those that they call see the same", LIMIT, async (context) => {
  const provider = await startProvider(context, await newKey("RS256", "first"));
  const { tidemark } = await serveApp(context, oidc(provider), { app: "requests", environment: { TIDEMARK_LOG: "debug" } });
  const urls = await (await fetch(`${tidemark.url}/api/v1/get_canonical_urls`, asAdmin(tidemark))).json();
  const token = await provider.signIn("ann");
  // Whoever stands before the proxy can send the first of these addresses.
  const proxied = { "User-Agent": "asker/1", "X-Forwarded-For": "1.1.1.1, 8.8.4.4" };
  const bearer = (token) => ({ Authorization: `Bearer ${token}` });
  const isSeen = ([first, second, ...others], authToken, expected = {}) => {
    assert.match(first.requestId, /^[0-9a-f]{16}$/);
    const { requestId } = first;
    assert.deepEqual(first, { ip: "8.8.4.4", userAgent: "asker/1", requestId, scheduledFunctionId: null, authToken, ...expected });
    assert.deepEqual([second, ...others], [first]);
  };

  for (const [kind, path] of [["mutation", "asked:inMutation"], ["action", "asked:inAction"], ["function", "asked:inAction"]]) {
    const ask = async (headers) => (await callFunction(tidemark, kind, path, {}, { headers })).body.value;
    isSeen(await ask(proxied), null);
    isSeen(await ask({ ...proxied, ...bearer(token) }), token);
    isSeen(await ask({ ...proxied, ...asAdmin(tidemark).headers }), null);
    isSeen(await ask({ "User-Agent": "asker/2" }), null, { ip: "127.0.0.1", userAgent: "asker/2" });
  }

  for (const base of [urls.convexSiteUrl, `${tidemark.url}/http`]) {
    const ask = async (headers) => (await fetch(`${base}/asked`, { headers })).json();
    isSeen(await ask(proxied), null);
    isSeen(await ask({ ...proxied, ...bearer(token) }), token);
    isSeen(await ask({ ...proxied, ...bearer("the app's own") }), null);
  }

  class ProxiedWebSocket extends WebSocket {
    constructor(url) {
      super(url, { headers: proxied });
    }
  }
  const client = new ConvexClient(tidemark.url, { webSocketConstructor: ProxiedWebSocket });
  whenOver(context, () => client.close());
  const before = await client.mutation(asked.inMutation, {});
  isSeen(before, null);
  isSeen(await client.action(asked.inAction, {}), null);
  await new Promise((done) => client.setAuth(async () => token, done));
  const after = await client.mutation(asked.inMutation, {});
  isSeen(after, token);
  isSeen(await client.action(asked.inAction, {}), token);
  assert.notEqual(before[0].requestId, after[0].requestId, "each call is a request of its own");

  // What is scheduled comes from nobody, whoever has scheduled it.
  const jobs = await client.mutation(asked.later, {});
  let notes = [];
  while (notes.length < jobs.length) {
    await sleep(20);
    notes = await client.query(asked.notes, {});
  }
  for (const { requestId, ...note } of notes) {
    assert.match(requestId, /./);
    assert.deepEqual(note, { ip: null, userAgent: null, scheduledFunctionId: note.scheduledFunctionId, authToken: null });
  }
  assert.deepEqual(notes.map((note) => note.scheduledFunctionId).sort(), [...jobs].sort());
  assertNotLogged(tidemark, token);
});
