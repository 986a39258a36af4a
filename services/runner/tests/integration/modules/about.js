import { action, ask, askNow, mutation, query } from "./_deps/library.js";

const atImport = { random: Math.random(), now: Date.now(), url: process.env.CONVEX_CLOUD_URL };
let calls = 0;

export const imported = query(async () => atImport);

export const state = query(async () => ++calls);

export const random = query(async () => [Math.random(), Math.random()]);

export const clock = query(async () => [Date.now(), Date.now()]);

export const snapshotTime = query(async () => askNow("1.0/getSnapshotTs"));

export const user = query(() => ask("1.0/getUserIdentity"));

export const metadata = mutation(async (ctx) => {
  await ctx.db.insert("messages", { body: "x" });
  return {
    function: await ask("1.0/getFunctionMetadata"),
    deployment: await ask("1.0/getDeploymentMetadata"),
    request: await ask("1.0/getRequestMetadata"),
    metrics: await ask("1.0/getTransactionMetrics"),
  };
});

export const request = mutation((ctx) => ctx.request());

export const requestOfAction = action(async (ctx) => [await ctx.request(), await ctx.runMutation("about:request")]);
