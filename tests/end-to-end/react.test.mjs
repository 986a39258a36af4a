// `convex/react`, `convex/react-clerk` and `convex/nextjs` as published: hooks and providers in Chromium, and a server's functions.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ConvexHttpClient } from "convex/browser";
import { fetchAction, fetchMutation, fetchQuery, preloadedQueryResult, preloadQuery } from "convex/nextjs";
import { anyApi } from "convex/server";
import { click, launchBrowser, openPage, says } from "./harness/browser.mjs";
import { CLIENT_ID, newKey, signToken, startProvider } from "./harness/oidc.mjs";
import { servePage } from "./harness/page.mjs";
import { createProject } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const { notes } = anyApi;
const LIMIT = { timeout: 300_000 };
const browser = await launchBrowser({ after });

/** What a page's tokens claim: those of a session of its own, and both kinds that Clerk gives. */
const CLAIMS = {
  session: ({ user }) => ({ aud: CLIENT_ID, sub: user }),
  convex: ({ user, organization, ...clerk }) => ({ ...clerk, aud: "convex", sub: user, name: user, email: `${user}@notes.example`, ...(organization && { org_id: organization }) }),
  clerk: ({ user, organization, ...clerk }) => ({
    ...clerk,
    aud: "convex",
    sub: user,
    sid: `sess_${user}`,
    sts: "active",
    fva: [1, -1],
    v: 2,
    ...(organization && { o: { id: organization, rol: "admin", slg: organization } }),
  }),
};
const HEADERS = { session: {}, convex: { cat: "cl_B7d4PD222AAA" }, clerk: { cat: "cl_B7d4PD111AAA" } };

/** The app with a provider, the page's server, which signs tokens as that provider does, and the requests for tokens. */
async function serve(context) {
  const key = await newKey("RS256", "ins_first");
  const provider = await startProvider(context, key);
  const tidemark = await startTidemark(context);
  const project = await createProject(context, tidemark, { app: "react" });
  const providers = [CLIENT_ID, "convex"].map((applicationID) => ({ domain: provider.issuer, applicationID }));
  await project.write("convex/auth.config.ts", `export default { providers: ${JSON.stringify(providers)} };`);
  await project.mustRun("deploy", "--typecheck", "disable");

  const tokens = { asked: [], seconds: 3_600, isRevoked: false };
  const sign = (kind, about) => {
    // Each token is another one, as a provider's are: a client that gets the same one again does not ask any more.
    const claims = { iss: provider.issuer, jti: randomUUID(), ...CLAIMS[kind](about) };
    return signToken(key, claims, { seconds: tokens.seconds, header: HEADERS[kind] });
  };
  const served = { preloaded: null };
  const origin = await servePage(context, "react/page/main.jsx", ({ pathname, searchParams }) => {
    if (pathname === "/preloaded") {
      return JSON.stringify(served.preloaded);
    }
    if (pathname === "/token") {
      const { of, user, organization, fresh } = Object.fromEntries(searchParams);
      tokens.asked.push({ of, user, organization, fresh });
      const clerk = of === "session" ? {} : { azp: origin, nbf: Math.floor(Date.now() / 1_000) - 10 };
      return tokens.isRevoked ? "" : sign(of, { user, organization, ...clerk });
    }
  });
  const address = (name) => `${origin}/?deployment=${encodeURIComponent(tidemark.url)}#${name}`;
  return { tidemark, tokens, served, address, client: new ConvexHttpClient(tidemark.url), sign };
}

/** What stood on the page, one after the other. */
const shown = (page) => page.evaluate(() => window.shown);

test("useAction waits for an action, tells its ConvexError, and loses it with its connection", LIMIT, async (context) => {
  const { tidemark, address, client } = await serve(context);
  const page = await openPage(context, browser, address("actions"));
  await says(page, "count", "0");
  await click(page, "Add");
  await says(page, "answer", '{"by":null,"notes":3}');
  await says(page, "count", "3");
  await click(page, "Add nothing");
  await says(page, "answer", 'refused: {"missing":"texts"}');

  await click(page, "Linger");
  await says(page, "count", "4");
  await tidemark.kill();
  await tidemark.start();
  await says(page, "answer", /Connection lost while action was in flight/);
  await click(page, "Add");
  await says(page, "answer", '{"by":null,"notes":7}');
  assert.equal((await client.query(notes.texts)).filter((text) => text === "lingering").length, 1, "it was not run again");
});

test("usePaginatedQuery loads page after page, and shows what comes and goes meanwhile as it was at one moment", LIMIT, async (context) => {
  const { tidemark, address, client } = await serve(context);
  const all = Array.from({ length: 60 }, (_, number) => `n${String(number).padStart(2, "0")}`);
  // What there was, moment by moment.
  const moments = [[]];
  const toggle = async (...texts) => {
    await client.mutation(notes.toggle, { texts });
    const there = new Set(moments.at(-1));
    texts.forEach((text) => there.delete(text) || there.add(text));
    moments.push([...there].sort());
  };
  const now = () => moments.at(-1).join(" ");
  await toggle(...all.filter((_, number) => number % 2 === 0));
  const page = await openPage(context, browser, address("pages"));
  await says(page, "texts", "n00 n02 n04");
  await says(page, "status", "CanLoadMore");
  await click(page, "More");
  await says(page, "texts", "n00 n02 n04 n06 n08 n10");
  // The last of the first page, and what comes between the pages and into each of them.
  await toggle("n04");
  await says(page, "texts", "n00 n02 n06 n08 n10");
  await toggle("n03", "n05");
  await says(page, "texts", "n00 n02 n03 n05 n06 n08 n10");
  await toggle("n01", "n08", "n09");
  await says(page, "texts", "n00 n01 n02 n03 n05 n06 n09 n10");

  let isExhausted = false;
  const loadAll = async () => {
    while ((await page.getByTestId("status").textContent()) !== "Exhausted") {
      if (await page.getByRole("button", { name: "More", exact: true }).isEnabled()) {
        await click(page, "More");
      }
    }
  };
  const churn = async () => {
    for (let step = 0; !isExhausted || step < all.length; step++) {
      await toggle(all[(step * 37) % all.length]);
    }
  };
  await Promise.all([loadAll().finally(() => (isExhausted = true)), churn()]);
  await says(page, "texts", now());

  // Pages that grow until they are split, that are asked for again after a restart, and that become empty.
  for (const text of all.filter((text) => !moments.at(-1).includes(text))) {
    await toggle(text);
  }
  await says(page, "texts", all.join(" "));
  await tidemark.kill();
  await tidemark.start();
  await toggle("n07", "n30");
  await says(page, "texts", now());
  for (const text of moments.at(-1).slice(2)) {
    await toggle(text);
  }
  await says(page, "texts", "n00 n01");
  await says(page, "status", "Exhausted");

  let moment = 0;
  for (const texts of await shown(page)) {
    const from = moments[moment];
    while (moment < moments.length && !(texts === "" || `${moments[moment].join(" ")} `.startsWith(`${texts} `))) {
      moment += 1;
    }
    assert.ok(moment < moments.length, `at no moment after ${from.join(" ")} a list began with ${texts}`);
  }
});

test("an optimistic update shows at once, gives way to what the server made of it, and goes when it refuses", LIMIT, async (context) => {
  const { tidemark, address, client } = await serve(context);
  const page = await openPage(context, browser, address("optimistic"));
  await says(page, "texts", "");
  await page.context().setOffline(true);
  await click(page, "Short");
  await says(page, "texts", " short …");
  assert.deepEqual(await client.query(notes.texts), [], "the server does not know yet");
  await page.context().setOffline(false);
  await says(page, "texts", "short");
  await tidemark.whileFrozen(async () => {
    await click(page, "Long");
    await says(page, "texts", "short, much too long…");
  });
  await says(page, "refused", "much too long");
  await says(page, "texts", "short");
  assert.deepEqual(await client.query(notes.texts), ["short"]);
  // Never gone in between. For a moment it may be there twice: where the server could not send its response before the results.
  assert.match((await shown(page)).join("|"), /^loading\|\| short …\|(short,  short …\|)?short\|short, much too long…\|short$/);
});

test("usePreloadedQuery shows what a server asked before, and goes on with what there is", LIMIT, async (context) => {
  const { tidemark, served, address, client } = await serve(context);
  await client.mutation(notes.add, { text: "one" });
  served.preloaded = await preloadQuery(notes.count, {}, { url: tidemark.url });
  await client.mutation(notes.add, { text: "two" });
  const page = await tidemark.whileFrozen(async () => {
    const opened = await openPage(context, browser, address("preloaded"));
    await says(opened, "count", "1");
    return opened;
  });
  await says(page, "count", "2");
  await client.mutation(notes.add, { text: "three" });
  await says(page, "count", "3");
  assert.deepEqual(await shown(page), ["1", "2", "3"], "it was never loading");
});

for (const [name, provider, of, session] of [
  ["auth", "ConvexProviderWithAuth", "session", () => null],
  ["clerk", "ConvexProviderWithClerk, by a template of tokens,", "convex", () => null],
  ["clerk-integration", "ConvexProviderWithClerk, by its integration,", "clerk", (user) => `sess_${user}`],
]) {
  const mine = (user, notes, organization = null) => JSON.stringify({ notes, organization, session: session(user), user });

  test(`${provider} shows each user what is theirs while tokens live, are renewed and end, and nobody anything`, LIMIT, async (context) => {
    const { address, tokens, tidemark } = await serve(context);
    const page = await openPage(context, browser, address(name));
    await says(page, "state", "nobody");
    await says(page, "mine", "null");
    // Short, so that the client asks for the next one while the test watches.
    tokens.seconds = 12;
    await click(page, "Sign in as Ann");
    await says(page, "state", "somebody");
    await click(page, "Add");
    await says(page, "mine", mine("ann", 1));
    const before = tokens.asked.length;
    while (tokens.asked.length < before + 2) {
      await sleep(50);
    }
    assert.deepEqual(tokens.asked.at(-1), { of, user: "ann", organization: undefined, fresh: "true" });
    await says(page, "state", "somebody");
    await click(page, "Add");
    await says(page, "mine", mine("ann", 2));
    await tidemark.kill();
    await tidemark.start();
    await click(page, "Add");
    await says(page, "mine", mine("ann", 3));

    await click(page, "Sign in as Bob");
    await says(page, "mine", mine("bob", 0));
    await click(page, "Add");
    await says(page, "mine", mine("bob", 1));
    await click(page, "Sign out");
    await says(page, "state", "nobody");
    await says(page, "mine", "null");
    await click(page, "Sign in as Ann");
    await says(page, "mine", mine("ann", 3));
    if (name !== "auth") {
      await click(page, "Act for the harbour");
      await says(page, "mine", mine("ann", 3, "harbour"));
    }
    tokens.isRevoked = true;
    await says(page, "state", "nobody");
    await says(page, "mine", "null");
    const users = (await shown(page)).map((text) => /"user":"(\w+)"/.exec(text)?.[1]).filter(Boolean);
    assert.deepEqual(users.filter((user, index) => user !== users[index - 1]), ["ann", "bob", "ann"]);
  });
}

test("convex/nextjs asks from a server, in a user's name as well, and preloads what a page shows first", LIMIT, async (context) => {
  const { tidemark, tokens, sign } = await serve(context);
  const options = { url: tidemark.url };
  const asAnn = { ...options, token: await sign("session", { user: "ann" }) };
  const ofAnn = { user: "ann", session: null, organization: null, notes: 3 };
  await fetchMutation(notes.add, { text: "mine" }, asAnn);
  await fetchMutation(notes.add, { text: "nobody's" }, options);
  assert.deepEqual(await fetchAction(notes.addAll, { texts: ["mine", "mine, too"] }, asAnn), { by: "ann", notes: 4 });
  assert.deepEqual(await fetchAction(notes.addAll, { texts: ["nobody's"] }, options), { by: null, notes: 5 });
  assert.equal(await fetchQuery(notes.count, {}, options), 5);
  assert.equal(await fetchQuery(notes.mine, {}, options), null);
  assert.deepEqual(await fetchQuery(notes.mine, {}, asAnn), ofAnn);
  const preload = async (options) => preloadedQueryResult(JSON.parse(JSON.stringify(await preloadQuery(notes.mine, {}, options))));
  assert.equal(await preload(options), null);
  assert.deepEqual(await preload(asAnn), ofAnn);

  await assert.rejects(fetchAction(notes.addAll, { texts: [] }, asAnn), { data: { missing: "texts" } });
  await assert.rejects(fetchMutation(notes.addShort, { text: "much too long" }, options), /too long/);
  tokens.seconds = -60;
  const expired = { ...options, token: await sign("session", { user: "ann" }) };
  for (const [ask, of, args] of [
    [fetchQuery, notes.mine, {}],
    [preloadQuery, notes.mine, {}],
    [fetchMutation, notes.add, { text: "late" }],
    [fetchAction, notes.addAll, { texts: ["late"] }],
  ]) {
    await assert.rejects(ask(of, args, expired), /expired/);
  }
  assert.equal(await fetchQuery(notes.count, {}, options), 5);
});
