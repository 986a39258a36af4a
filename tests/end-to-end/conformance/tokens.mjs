// Tokens: whose hold, what functions see of them, and why others do not.
import assert from "node:assert/strict";
import { signToken } from "../harness/oidc.mjs";
import { AUDIENCE, ISSUER, ISSUER_FOR_ALL } from "./server.mjs";

const inSeconds = (seconds) => Math.floor(Date.now() / 1_000) + seconds;
const encode = (json) => Buffer.from(JSON.stringify(json)).toString("base64url");

/** A token is that of a user of whom functions see (at least) this. `make` is given the server. */
const holds = (rule, make, expected) => ({
  rule,
  check: async ({ server }) => {
    const identity = await server.identityOf(`Bearer ${await make(server)}`);
    assert.ok(typeof identity === "object" && identity !== null, `${identity}`);
    for (const [name, value] of Object.entries(expected)) {
      assert.deepEqual(identity[name], value, `${name} in ${JSON.stringify(identity)}`);
    }
  },
});

/** A header is refused with the status, the code and the text. */
const refused = (rule, make, pattern) => ({
  rule,
  check: async ({ server }) => assert.match(String(await server.identityOf(await make(server))), pattern),
});
const tokenRefused = (rule, make, pattern) => refused(rule, async (server) => `Bearer ${await make(server)}`, pattern);

const admin = (server, identity) => `Convex ${server.tidemark.adminKey}:${Buffer.from(JSON.stringify(identity)).toString("base64")}`;

/** All claims that OpenID Connect knows, and what functions know them by. */
const CLAIMS = {
  name: ["name", "Ann Ebb"],
  given_name: ["givenName", "Ann"],
  family_name: ["familyName", "Ebb"],
  nickname: ["nickname", "annie"],
  preferred_username: ["preferredUsername", "ann.ebb"],
  profile: ["profileUrl", "https://ann.example"],
  picture: ["pictureUrl", "https://ann.example/ann.png"],
  website: ["websiteUrl", "https://ebb.example"],
  email: ["email", "ann@ebb.example"],
  email_verified: ["emailVerified", true],
  gender: ["gender", "female"],
  birthdate: ["birthday", "1990-01-02"],
  zoneinfo: ["timezone", "Europe/Rome"],
  locale: ["language", "it"],
  phone_number: ["phoneNumber", "+39 06 1"],
  phone_number_verified: ["phoneNumberVerified", false],
  updated_at: ["updatedAt", "2023-11-14T22:13:20+00:00"],
};

const request = async (server, headers) => (await fetch(`${server.site}/who`, { headers })).json();

export default {
  group: "tokens",
  rules: [
    {
      rule: "who sends no token is nobody",
      check: async ({ server }) => assert.equal(await server.identityOf(null), null),
    },
    {
      rule: "a user is known by issuer and subject",
      check: async ({ server }) => {
        const { tokenIdentifier, issuer, subject } = await server.identityOf(`Bearer ${await server.ownToken({ sub: "ann|session" })}`);
        assert.deepEqual([tokenIdentifier, issuer, subject], [`${server.site}|ann|session`, server.site, "ann|session"]);
      },
    },
    holds(
      "the claims of OpenID Connect have the names that functions know",
      (server) => server.ownToken({ ...Object.fromEntries(Object.entries(CLAIMS).map(([claim, [, value]]) => [claim, value])), updated_at: 1_700_000_000 }),
      Object.fromEntries(Object.values(CLAIMS)),
    ),
    holds("of an address its text is shown", (server) => server.ownToken({ address: { formatted: "1 Quay", country: "IT" } }), { address: "1 Quay" }),
    holds("other claims have their own names and values", (server) => server.ownToken({ "https://x.example/role": "owner", teams: [{ id: 7 }] }), {
      "https://x.example/role": "owner",
      teams: [{ id: 7 }],
    }),
    holds("what a token says of itself is not shown", (server) => server.ownToken({ jti: "1", nbf: inSeconds(-9), fva: [1, 2] }), {
      jti: undefined,
      nbf: undefined,
      fva: undefined,
    }),
    holds("claims of a custom issuer have their own names, those within objects their paths", (server) => server.customToken({ given_name: "Ann", a: { b: { c: 1 }, d: [2] } }), {
      given_name: "Ann",
      "a.b.c": 1,
      "a.d": [2],
    }),
    holds("a slash at the end of an issuer makes no difference, and is shown", (server) => server.customToken({ iss: `${ISSUER}/` }), { tokenIdentifier: `${ISSUER}/|ann` }),
    holds("one audience of several may be the app, to a custom issuer", (server) => server.customToken({ aud: ["others", AUDIENCE] }), { subject: "ann" }),
    holds("any may be, where the app names none", (server) => server.customToken({ iss: ISSUER_FOR_ALL, aud: "others" }), { issuer: ISSUER_FOR_ALL }),
    holds("a token need not name its key where one key fits", (server) => server.ownToken({}, { header: { kid: undefined } }), { subject: "ann" }),
    holds("nor its type", (server) => server.ownToken({}, { header: { typ: undefined } }), { subject: "ann" }),
    holds("a custom issuer's clock may be some seconds ahead", (server) => server.customToken({ iat: inSeconds(3), nbf: inSeconds(3) }), { subject: "ann" }),
    tokenRefused("it may not be a minute ahead", (server) => server.customToken({ iat: inSeconds(60) }), /^401 InvalidAuthHeader[^]*`iat` is \d+ seconds in the future/),
    tokenRefused("a token of another issuer", (server) => server.customToken({ iss: "https://else.example" }), /^401 NoAuthProvider[^]*https:\/\/else\.example/),
    tokenRefused("a token for another app", (server) => server.ownToken({ aud: "others" }), /^401 NoAuthProvider[^]*others/),
    tokenRefused("an OpenID token for several apps", (server) => server.ownToken({ aud: [AUDIENCE, "others"] }), /^401 Unauthenticated[^]*2 audiences/),
    tokenRefused("a token that has expired", (server) => server.ownToken({}, { seconds: -1 }), /^401 Unauthenticated[^]*expired/),
    tokenRefused("that of a custom issuer, too", (server) => server.customToken({}, { seconds: -10 }), /^401 InvalidAuthHeader[^]*expired/),
    tokenRefused("one that does not hold yet", (server) => server.ownToken({ nbf: inSeconds(600) }), /^401 Unauthenticated[^]*`nbf` is \d+ seconds in the future/),
    tokenRefused("one without an end", (server) => server.ownToken({ exp: undefined }), /^401 Unauthenticated[^]*`exp`/),
    tokenRefused("one without a subject", (server) => server.ownToken({ sub: undefined }), /^401 Unauthenticated[^]*`sub`/),
    tokenRefused("one that names another key", (server) => server.customToken({}, { header: { kid: "other" } }), /^401 InvalidAuthHeader[^]*no key with the id `other`/),
    tokenRefused("one by another algorithm than the issuer's", (server) => signToken(server.keys.own, { iss: ISSUER, aud: AUDIENCE, sub: "ann" }), /^401 InvalidAuthHeader[^]*`RS256` is not allowed/),
    tokenRefused(
      "one that nobody has signed",
      async (server) => `${encode({ alg: "none" })}.${(await server.ownToken()).split(".")[1]}.`,
      /^401 Unauthenticated[^]*`none` is not allowed/,
    ),
    tokenRefused(
      "one with other claims than were signed",
      async (server) => {
        const [header, , signature] = (await server.ownToken()).split(".");
        return [header, encode({ iss: server.site, aud: AUDIENCE, sub: "bob", exp: inSeconds(600) }), signature].join(".");
      },
      /^401 Unauthenticated[^]*signature/,
    ),
    tokenRefused("what is no token", () => "hello", /^401 InvalidAuthHeader[^]*could not be decoded/),
    refused("a header of another kind", () => "Basic YTpi", /^401 InvalidAuthHeader/),
    refused("an admin key of another deployment", () => "Convex other|0102", /^403 BadDeployKey/),
    {
      rule: "an administrator is nobody",
      check: async ({ server }) => assert.equal(await server.identityOf(`Convex ${server.tidemark.adminKey}`), null),
    },
    {
      rule: "or whom they act as",
      check: async ({ server }) => {
        const { tokenIdentifier, name } = await server.identityOf(admin(server, { issuer: ISSUER, subject: "bob", name: "Bob" }));
        assert.deepEqual([tokenIdentifier, name], [`${ISSUER}|bob`, "Bob"]);
      },
    },
    {
      rule: "an HTTP action sees whose token a request brings, and so do functions that it calls",
      check: async ({ server }) => {
        const { own, called } = await request(server, { Authorization: `Bearer ${await server.ownToken()}` });
        assert.deepEqual([own, called], ["ann", "ann"]);
        assert.deepEqual(await request(server), { own: null, called: null, header: null });
      },
    },
    {
      rule: "a request whose token does not hold is answered, and who asks for its user is told why",
      check: async ({ server }) => {
        const { own, called } = await request(server, { Authorization: `Bearer ${await server.ownToken({}, { seconds: -1 })}` });
        assert.match(own, /Unauthenticated[^]*expired/);
        assert.match(called, /Unauthenticated[^]*expired/);
      },
    },
    {
      rule: "a header that means something else is the app's own affair",
      check: async ({ server }) => assert.equal((await request(server, { Authorization: "Basic YTpi" })).header, "Basic YTpi"),
    },
  ],
};
