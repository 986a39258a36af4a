// A Next.js app as published, built and served: pages that its server makes with `convex/nextjs` and that are live in Chromium.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";
import { click, launchBrowser, openPage, says } from "./harness/browser.mjs";
import { whenOver } from "./harness/cleanup.mjs";
import { CLIENT_ID, newKey, signToken, startProvider } from "./harness/oidc.mjs";
import { createProject } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const { notes } = anyApi;
const LIMIT = { timeout: 600_000 };
const app = new URL("./apps/next", import.meta.url).pathname;
const next = new URL("./node_modules/next/dist/bin/next", import.meta.url).pathname;

/** Starts `next …` in the app; `output` is what it has printed. */
function startNext(context, words, environment) {
  const child = spawn(process.execPath, [next, ...words], {
    cwd: app,
    env: { ...process.env, NODE_ENV: "production", NEXT_TELEMETRY_DISABLED: "1", ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const command = { child, output: "", ended: once(child, "close") };
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => (command.output += text));
  }
  whenOver(context, async () => {
    child.kill();
    await command.ended;
  });
  return command;
}

/** Builds the app for this Tidemark and serves it; its URL. */
async function serveApp(context, tidemark, tokensUrl) {
  const build = startNext(context, ["build"], { NEXT_PUBLIC_CONVEX_URL: tidemark.url });
  await build.ended;
  assert.equal(build.child.exitCode, 0, `next build failed:\n${build.output}`);
  const server = startNext(context, ["start", "--hostname", "127.0.0.1", "--port", "0"], { NEXT_PUBLIC_CONVEX_URL: tidemark.url, TOKENS_URL: tokensUrl });
  for (;;) {
    const port = /http:\/\/\S+:(\d+)/.exec(server.output)?.[1];
    if (port !== undefined && server.output.includes("Ready")) {
      return `http://127.0.0.1:${port}`;
    }
    assert.equal(server.child.exitCode, null, `next start has ended:\n${server.output}`);
    await sleep(50);
  }
}

/** Serves tokens for a user who is named; its URL. */
async function serveTokens(context, tokenOf) {
  const server = createServer(async (request, response) => response.end(await tokenOf(new URL(request.url, "http://tokens").searchParams.get("user"))));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  whenOver(context, () => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}/`;
}

test("a page that Next.js renders in a user's name is live in the browser from what it shows first", LIMIT, async (context) => {
  const key = await newKey("RS256", "first");
  const provider = await startProvider(context, key);
  const tidemark = await startTidemark(context);
  const project = await createProject(context, tidemark, { app: "react" });
  const config = { domain: provider.issuer, applicationID: CLIENT_ID };
  await project.write("convex/auth.config.ts", `export default { providers: [${JSON.stringify(config)}] };`);
  await project.mustRun("deploy", "--typecheck", "disable");
  const tokenOf = (user) => signToken(key, { iss: provider.issuer, aud: CLIENT_ID, sub: user, jti: randomUUID() });
  const url = await serveApp(context, tidemark, await serveTokens(context, tokenOf));

  const client = new ConvexHttpClient(tidemark.url);
  await client.mutation(notes.add, { text: "nobody's" });
  client.setAuth(await tokenOf("ann"));
  await client.mutation(notes.add, { text: "mine" });
  const html = async (headers) => (await fetch(url, { headers })).text();
  const nobody = await html({});
  assert.match(nobody, /2 notes when the page was made\./);
  assert.match(nobody, />Nobody is signed in\.</);
  assert.match(await html({ Cookie: "user=ann" }), />ann has 1 notes\.</);

  const page = await openPage(context, await launchBrowser(context), "about:blank");
  await page.context().addCookies([{ name: "user", value: "ann", url }]);
  await page.goto(url);
  await says(page, "mine", "ann has 1 notes.");
  await client.mutation(notes.add, { text: "mine" });
  await says(page, "mine", "ann has 2 notes.");
  await click(page, "Add");
  await says(page, "mine", "ann has 3 notes.");
  const several = await fetch(`${url}/several`, { method: "POST", headers: { Cookie: "user=ann" } });
  assert.deepEqual(await several.json(), { by: "ann", notes: 6 });
  await says(page, "mine", "ann has 5 notes.");
  const shown = await page.evaluate(() => window.shown);
  assert.deepEqual([shown[0], shown.includes("Nobody is signed in.")], ["ann has 1 notes.", false], `${shown}`);
  await tidemark.kill();
  await tidemark.start();
  await click(page, "Add");
  await says(page, "mine", "ann has 6 notes.");
});
