// `convex/react`, `convex/react-clerk` and `convex/nextjs` as published: hooks and providers in Chromium, and a server's functions.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ConvexHttpClient } from "convex/browser";
import { fetchMutation, fetchQuery, preloadedQueryResult, preloadQuery } from "convex/nextjs";
import { anyApi } from "convex/server";
import { launchBrowser, openPage, says } from "./harness/browser.mjs";
import { CLIENT_ID, newKey, signToken, startProvider } from "./harness/oidc.mjs";
import { servePage } from "./harness/page.mjs";
import { createProject } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const { notes } = anyApi;
const LIMIT = { timeout: 300_000 };

/** The app with a provider, the page's server, which signs tokens as that provider does, and the requests for tokens. */
async function serve(context) {
  const key = await newKey("RS256", "first");
  const provider = await startProvider(context, key);
  const tidemark = await startTidemark(context);
  const project = await createProject(context, tidemark, { app: "react" });
  const providers = [CLIENT_ID, "convex"].map((applicationID) => ({ domain: provider.issuer, applicationID }));
  await project.write("convex/auth.config.ts", `export default { providers: ${JSON.stringify(providers)} };`);
  await project.mustRun("deploy", "--typecheck", "disable");

  const asked = [];
  const claimsFor = (user, template) =>
    template === "convex"
      ? { iss: provider.issuer, aud: "convex", sub: user, azp: "http://127.0.0.1", sid: `sess_${user}`, fva: [1, -1], sts: "active", v: 2 }
      : { iss: provider.issuer, aud: CLIENT_ID, sub: user };
  const tokens = { asked, seconds: 3_600 };
  const origin = await servePage(context, "react/page/main.jsx", (url) => {
    if (url.pathname !== "/token") return undefined;
    const [user, template, refresh] = ["user", "template", "refresh"].map((name) => url.searchParams.get(name));
    asked.push({ template, refresh });
    // Each token is another one, as a provider's are: a client that gets the same one again does not ask any more.
    const claims = { ...claimsFor(user, template), jti: randomUUID() };
    return signToken(key, claims, { seconds: tokens.seconds });
  });
  const address = (name) => `${origin}/?deployment=${encodeURIComponent(tidemark.url)}#${name}`;
  return { tidemark, tokens, address, client: new ConvexHttpClient(tidemark.url), sign: (user) => signToken(key, claimsFor(user)) };
}

test("usePaginatedQuery loads page after page, and shows what comes and goes meanwhile", LIMIT, async (context) => {
  const { address, client } = await serve(context);
  for (const text of ["a", "b", "c", "d", "e", "f", "g"]) {
    await client.mutation(notes.add, { text });
  }
  const page = await openPage(context, await launchBrowser(context), address("pages"));
  await says(page, "texts", "g f e");
  await says(page, "status", "CanLoadMore");
  await page.getByRole("button", { name: "More", exact: true }).click();
  await says(page, "texts", "g f e d c b");
  await client.mutation(notes.add, { text: "h" });
  await says(page, "texts", "h g f e d c b");
  await page.getByRole("button", { name: "More", exact: true }).click();
  await says(page, "texts", "h g f e d c b a");
  await says(page, "status", "Exhausted");
});

test("an optimistic update shows before the server knows, stays when it does, and goes when it refuses", LIMIT, async (context) => {
  const { address, client } = await serve(context);
  const page = await openPage(context, await launchBrowser(context), address("optimistic"));
  await says(page, "count", "0");
  await page.context().setOffline(true);
  await page.getByRole("button", { name: "Short", exact: true }).click();
  await says(page, "count", "1");
  assert.equal(await client.query(notes.count), 0, "the server does not know yet");
  await page.context().setOffline(false);
  while ((await client.query(notes.count)) === 0) {
    await sleep(50);
  }
  await says(page, "count", "1");
  await page.getByRole("button", { name: "Long", exact: true }).click();
  await says(page, "refused", "much too long");
  await says(page, "count", "1");
});

for (const [name, provider, session] of [
  ["auth", "ConvexProviderWithAuth", "null"],
  ["clerk", "ConvexProviderWithClerk", '"sess_ann"'],
]) {
  test(`${provider} signs in, acts as the user, takes new tokens while it lives, and signs out`, LIMIT, async (context) => {
    const { address, tokens, tidemark } = await serve(context);
    const page = await openPage(context, await launchBrowser(context), address(name));
    await says(page, "state", "nobody");
    await says(page, "mine", "null");
    // Short, so that the client asks for the next one while the test watches.
    tokens.seconds = 12;
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await says(page, "state", "somebody");
    await page.getByRole("button", { name: "Add", exact: true }).click();
    await says(page, "mine", `{"notes":1,"session":${session},"user":"ann"}`);
    const before = tokens.asked.length;
    while (tokens.asked.length === before) {
      await sleep(50);
    }
    assert.equal(tokens.asked.at(-1).refresh, "true");
    await says(page, "state", "somebody");
    await page.getByRole("button", { name: "Add", exact: true }).click();
    await says(page, "mine", `{"notes":2,"session":${session},"user":"ann"}`);
    tokens.seconds = 3_600;
    await tidemark.kill();
    await tidemark.start();
    await page.getByRole("button", { name: "Add", exact: true }).click();
    await says(page, "mine", `{"notes":3,"session":${session},"user":"ann"}`);
    await page.getByRole("button", { name: "Sign out", exact: true }).click();
    await says(page, "state", "nobody");
    await says(page, "mine", "null");
  });
}

test("convex/nextjs asks from a server, in a user's name as well, and preloads what a page shows first", LIMIT, async (context) => {
  const { tidemark, sign } = await serve(context);
  const options = { url: tidemark.url, skipConvexDeploymentUrlCheck: true };
  const asAnn = { ...options, token: await sign("ann") };
  await fetchMutation(notes.add, { text: "mine" }, asAnn);
  await fetchMutation(notes.add, { text: "nobody's" }, options);
  assert.equal(await fetchQuery(notes.count, {}, options), 2);
  assert.equal(await fetchQuery(notes.mine, {}, options), null);
  assert.deepEqual(await fetchQuery(notes.mine, {}, asAnn), { user: "ann", session: null, notes: 1 });
  const preloaded = await preloadQuery(notes.mine, {}, asAnn);
  assert.deepEqual(preloadedQueryResult(JSON.parse(JSON.stringify(preloaded))), { user: "ann", session: null, notes: 1 });
});
