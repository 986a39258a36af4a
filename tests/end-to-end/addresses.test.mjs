// A deployment's addresses can be changed: what functions, tools and files are told.
import assert from "node:assert/strict";
import { test } from "node:test";
import { askAsAdmin, valueOf } from "./harness/anywhere.mjs";
import { createProject } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const LIMIT = { timeout: 300_000 };

const FILES = {
  "convex/told.ts": `
    import { mutation } from "./_generated/server";
    export default mutation({ args: {}, handler: async (ctx) => ({
      cloud: process.env.CONVEX_CLOUD_URL,
      site: process.env.CONVEX_SITE_URL,
      upload: await ctx.storage.generateUploadUrl(),
    }) });`,
};

test("functions, tools and files tell the addresses that a deployment was given, also after a restart", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await createProject(context, tidemark, { files: FILES });
  await project.mustRun("deploy", "--typecheck", "disable");
  const told = () => valueOf(tidemark, "mutation", "told:default");
  const urls = async () => JSON.parse(await askAsAdmin(tidemark, "/api/v1/get_canonical_urls"));
  const change = (requestDestination, url) => askAsAdmin(tidemark, "/api/v1/update_canonical_url", { method: "POST", body: JSON.stringify({ requestDestination, url }) });
  const before = await told();
  assert.deepEqual(await urls(), { convexCloudUrl: before.cloud, convexSiteUrl: before.site });

  await change("convexCloud", "https://api.shop.example/");
  await change("convexSite", "https://shop.example");
  const expected = { convexCloudUrl: "https://api.shop.example", convexSiteUrl: "https://shop.example" };
  assert.deepEqual(await urls(), expected);
  const { cloud, site, upload } = await told();
  assert.deepEqual([cloud, site, upload.startsWith(`${cloud}/api/storage/upload?`)], [...Object.values(expected), true]);
  await tidemark.stop();
  await tidemark.start();
  assert.deepEqual(await urls(), expected);
  // It is reached where it was.
  assert.equal((await told()).cloud, expected.convexCloudUrl);

  await change("convexCloud", null);
  await change("convexSite");
  // HTTP actions have another port since the restart.
  const { site: siteAfter } = await told();
  assert.match(siteAfter, /^http:\/\/127\.0\.0\.1:\d+$/);
  assert.deepEqual(await urls(), { convexCloudUrl: before.cloud, convexSiteUrl: siteAfter });
  for (const url of ["ftp://shop.example", "https://shop.example/path", "nonsense"]) {
    await assert.rejects(change("convexSite", url), /400 .*InvalidDeploymentUrl/, url);
  }
  await assert.rejects(change("elsewhere", "https://shop.example"), /400/);
  const { items } = JSON.parse(await askAsAdmin(tidemark, "/api/v1/list_audit_log_events?limit=100"));
  const actions = items.map(({ action }) => action).filter((action) => action.endsWith("_canonical_url"));
  assert.deepEqual(actions, ["update_canonical_url", "update_canonical_url", "delete_canonical_url", "delete_canonical_url"]);
});
