// Better Auth as published, in an HTTP action, with the app's tables as its database: its own client signs people in, and functions
// know them by the tokens that its JWT plugin signs.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { createAuthClient } from "better-auth/client";
import { jwtClient } from "better-auth/client/plugins";
import { ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";
import { asAdmin, callFunction, setVariables } from "./harness/functions.mjs";
import { connect, follow } from "./harness/live.mjs";
import { Visitor } from "./harness/oidc.mjs";
import { createProject } from "./harness/project.mjs";
import { secretParts, siteUrlOf, startTidemark } from "./harness/tidemark.mjs";

const { people } = anyApi;
const LIMIT = { timeout: 300_000 };
const ORIGIN = "http://page.example";
const PASSWORD = "correct horse battery staple";
const WRONG_PASSWORD = "incorrect horse battery staple";
const NEW_PASSWORD = "another horse battery staple";

async function serve(context) {
  // What the app serves itself is all that it needs.
  const tidemark = await startTidemark(context, { environment: { TIDEMARK_LOG: "debug", TIDEMARK_EGRESS_DENY: "*" } });
  const secret = randomBytes(32).toString("base64");
  tidemark.secrets.push(PASSWORD, WRONG_PASSWORD, NEW_PASSWORD, secret);
  tidemark.siteUrl = await siteUrlOf(tidemark);
  const project = await createProject(context, tidemark, { app: "better-auth" });
  await setVariables(tidemark, { BETTER_AUTH_SECRET: secret, SITE_URL: ORIGIN });
  await project.mustRun("deploy", "--typecheck", "disable");
  return tidemark;
}

/** A person's browser at the app's page, with the package's client in it. */
class Person {
  constructor(tidemark, address) {
    const visitor = new Visitor();
    const customFetchImpl = async (url, init = {}) => {
      const headers = new Headers(init.headers);
      headers.set("Origin", this.origin);
      headers.set("X-Forwarded-For", address);
      const response = await visitor.fetch(url, { ...init, headers });
      const cookies = response.headers.getSetCookie().map((cookie) => /=([^;]*)/.exec(cookie)[1]);
      tidemark.secrets.push(...cookies.flatMap(secretParts));
      return response;
    };
    this.origin = ORIGIN;
    this.auth = createAuthClient({ baseURL: tidemark.siteUrl, plugins: [jwtClient()], fetchOptions: { customFetchImpl } });
    this.tidemark = tidemark;
  }

  /** A token for functions; null for nobody. */
  async token() {
    const { data, error } = await this.auth.token();
    if (error) {
      assert.equal(error.status, 401, JSON.stringify(error));
      return null;
    }
    this.tidemark.secrets.push(...secretParts(data.token));
    return data.token;
  }

  /** What functions know of the person. */
  async me() {
    const http = new ConvexHttpClient(this.tidemark.url, { logger: false });
    http.setAuth(await this.token());
    return http.query(people.me);
  }
}

/** The data of an answer of the client, which must be none of refusal. */
function given({ data, error }) {
  assert.equal(error, null, JSON.stringify(error));
  return data;
}

/** The status and the code of a refusal. */
function refused({ data, error }) {
  assert.equal(data, null, JSON.stringify(data));
  return [error.status, error.code];
}

test("who signs up is known to functions, over HTTP and live, until signing out; a wrong password is refused", LIMIT, async (context) => {
  const tidemark = await serve(context);
  const ann = new Person(tidemark, "192.0.2.1");
  assert.equal(given(await ann.auth.getSession()), null);
  assert.equal(await ann.token(), null);
  const { user } = given(await ann.auth.signUp.email({ name: "Ann", email: "ann@notes.example", password: PASSWORD }));
  const token = { tokenIdentifier: `${tidemark.siteUrl}|${user.id}`, subject: user.id, name: "Ann", email: "ann@notes.example" };
  assert.deepEqual(await ann.me(), { token, name: "Ann", sessions: 1, isOpen: true });
  const again = await new Person(tidemark, "192.0.2.2").auth.signUp.email({ name: "Ann", email: "ann@notes.example", password: PASSWORD });
  assert.deepEqual(refused(again), [422, "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL"]);

  const client = connect(context, tidemark);
  const live = follow(client, people.me);
  await live.until((result) => result === null);
  client.setAuth(() => ann.token());
  await live.until((result) => result?.name === "Ann");
  given(await ann.auth.updateUser({ name: "Anne" }));
  await live.until((result) => result?.name === "Anne");

  const elsewhere = new Person(tidemark, "192.0.2.3");
  const wrong = await elsewhere.auth.signIn.email({ email: "ann@notes.example", password: WRONG_PASSWORD });
  assert.deepEqual(refused(wrong), [401, "INVALID_EMAIL_OR_PASSWORD"]);
  assert.equal(given(await elsewhere.auth.getSession()), null);
  given(await elsewhere.auth.signIn.email({ email: "ann@notes.example", password: PASSWORD }));
  await live.until((result) => result?.sessions === 2);
  assert.equal(given(await elsewhere.auth.getSession()).user.id, user.id);
  const addresses = given(await elsewhere.auth.listSessions()).map(({ ipAddress }) => ipAddress);
  assert.deepEqual(addresses.sort(), ["192.0.2.1", "192.0.2.3"]);

  elsewhere.origin = "http://elsewhere.example";
  assert.deepEqual(refused(await elsewhere.auth.signOut()), [403, "INVALID_ORIGIN"]);
  elsewhere.origin = ORIGIN;
  given(await elsewhere.auth.revokeOtherSessions());
  await live.until((result) => result?.isOpen === false);
  assert.equal(given(await ann.auth.getSession()), null);
  assert.equal(await ann.token(), null);
  assert.deepEqual(await elsewhere.me(), { token: { ...token, name: "Anne" }, name: "Anne", sessions: 1, isOpen: true });
  given(await elsewhere.auth.signOut());
  assert.equal(given(await elsewhere.auth.getSession()), null);
  await live.until((result) => result?.sessions === 0);
});

test("a forgotten password is replaced by a token that is good once, and who asks too often is made to wait", LIMIT, async (context) => {
  const tidemark = await serve(context);
  const ann = new Person(tidemark, "192.0.2.1");
  const email = "ann@notes.example";
  given(await ann.auth.signUp.email({ name: "Ann", email, password: PASSWORD }));
  const ask = (person) => person.auth.requestPasswordReset({ email, redirectTo: `${ORIGIN}/reset` });
  const forgetful = new Person(tidemark, "192.0.2.2");
  for (let time = 0; time < 3; time++) {
    given(await ask(forgetful));
  }
  assert.equal(refused(await ask(forgetful))[0], 429);
  given(await ask(new Person(tidemark, "192.0.2.3")));

  const { token } = (await callFunction(tidemark, "query", "people:newestMail", { to: email }, asAdmin(tidemark))).body.value;
  tidemark.secrets.push(token);
  const reset = () => forgetful.auth.resetPassword({ newPassword: NEW_PASSWORD, token });
  given(await reset());
  assert.deepEqual(refused(await reset()), [400, "INVALID_TOKEN"]);
  assert.equal(given(await ann.auth.getSession()), null, "sessions end with the password");
  assert.deepEqual(refused(await ann.auth.signIn.email({ email, password: PASSWORD })), [401, "INVALID_EMAIL_OR_PASSWORD"]);
  given(await ann.auth.signIn.email({ email, password: NEW_PASSWORD }));
  const { token: claims, ...rest } = await ann.me();
  assert.deepEqual([claims.email, rest], [email, { name: "Ann", sessions: 1, isOpen: true }]);
});
