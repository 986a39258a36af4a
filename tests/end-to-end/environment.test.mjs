// Environment variables: the official command line sets them, functions and auth.config read them.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { anyApi } from "convex/server";
import { asAdmin, callFunction, post } from "./harness/functions.mjs";
import { connect, follow } from "./harness/live.mjs";
import { newKey, signToken } from "./harness/oidc.mjs";
import { createProject } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const LIMIT = { timeout: 300_000 };
const APP = {
  "convex/settings.ts": `
    import { query } from "./_generated/server";
    const atImport = process.env.GREETING ?? "none";
    export const show = query({ args: {}, handler: async () => ({ atImport, now: process.env.GREETING ?? "none" }) });`,
};

async function deployed(context, files = APP, { convex = "convex", ...options } = {}) {
  const tidemark = await startTidemark(context, options);
  const project = await createProject(context, tidemark, { files, convex });
  await project.mustRun("deploy", "--typecheck", "disable");
  return { tidemark, project };
}

async function show(tidemark) {
  const { body } = await callFunction(tidemark, "query", "settings:show");
  return body.value ?? body;
}

async function listed(tidemark) {
  const response = await fetch(`${tidemark.url}/api/v1/list_environment_variables`, asAdmin(tidemark));
  return (await response.json()).environmentVariables;
}

for (const convex of ["convex", "convex-1-49"]) {
  test(`${convex} sets, shows and removes variables, and functions see them at once`, LIMIT, async (context) => {
    const { tidemark, project } = await deployed(context, APP, { convex, environment: { TIDEMARK_LOG: "debug" } });
    const shown = follow(connect(context, tidemark), anyApi.settings.show);
    const until = (value) => shown.until(({ now }) => now === value);
    await until("none");
    const awkward = 'two\nlines, a = b, "quotes", \'more\', $HOME, 🌊 and -----BEGIN';
    await project.mustRun("env", "set", "--", "GREETING", awkward);
    assert.deepEqual(await show(tidemark), { atImport: awkward, now: awkward });
    await until(awkward);
    assert.equal((await project.mustRun("env", "get", "GREETING")).stdout, `${awkward}\n`);
    assert.match((await project.mustRun("env", "list")).stdout, /^GREETING\b/m);
    await project.mustRun("env", "remove", "GREETING");
    await until("none");
    await project.mustRun("env", "remove", "GREETING");
    assert.match((await project.convex("env", "get", "GREETING")).output, /"GREETING" not found/);
    assert.deepEqual(await listed(tidemark), {});
    await project.write("production.env", '# a comment\nGREETING="from a\nfile = 1"\nOTHER=2\nEMPTY=\n');
    await project.mustRun("env", "set", "--from-file", join(project.folder, "production.env"));
    await until("from a\nfile = 1");
    assert.deepEqual(await listed(tidemark), { EMPTY: "", GREETING: "from a\nfile = 1", OTHER: "2" });
    await project.write("changed.env", "GREETING=replaced\nOTHER=2\n");
    const kept = await project.convex("env", "set", "--from-file", join(project.folder, "changed.env"));
    assert.equal(kept.code, 1, "the command line replaces values only when it is told to");
    await project.mustRun("env", "set", "--force", "--from-file", join(project.folder, "changed.env"));
    await until("replaced");
    for (const value of ["two\nlines", "two\\nlines", "from a", "replaced"]) {
      assert.ok(!tidemark.log.includes(value), "no value is in the log");
    }
  });
}

test("a change runs the live queries that have read the variable, and no others, without a gap", LIMIT, async (context) => {
  const { tidemark, project } = await deployed(context, {
    "convex/schema.ts": `
      import { defineSchema, defineTable } from "convex/server";
      export default defineSchema({ notes: defineTable({}) });`,
    "convex/values.ts": `
      import { mutation, query } from "./_generated/server";
      const atImport = Math.random();
      export const x = query({ args: {}, handler: async () => ({ value: process.env.X ?? "none", run: Math.random() }) });
      export const y = query({ args: {}, handler: async () => ({ value: process.env.Y ?? "none", run: Math.random() }) });
      export const names = query({ args: {}, handler: async () => ({ value: Object.keys(process.env).sort().join(), run: Math.random() }) });
      export const neither = query({ args: {}, handler: async () => ({ value: atImport, run: Math.random() }) });
      export const write = mutation({ args: {}, handler: async (ctx) => { await ctx.db.insert("notes", {}); return process.env.X ?? "none"; } });`,
  });
  const client = connect(context, tidemark);
  const { values } = anyApi;
  const [x, y, names, neither] = [values.x, values.y, values.names, values.neither].map((query) => follow(client, query));
  await Promise.all([x, y, names, neither].map(({ until }) => until(() => true)));

  // Somebody calls all the time.
  const calls = [];
  let isOver = false;
  const calling = (async () => {
    while (!isOver) {
      const [read, written] = await Promise.all([callFunction(tidemark, "query", "values:x"), callFunction(tidemark, "mutation", "values:write")]);
      calls.push([read.status, read.body.status, written.status, written.body.status].join());
    }
  })();
  for (const value of ["1", "2", "3"]) {
    await project.mustRun("env", "set", "X", value);
    assert.equal((await callFunction(tidemark, "query", "values:x")).body.value.value, value, "whoever comes after it sees it");
    await x.until((result) => result.value === value);
  }
  isOver = true;
  await calling;
  assert.deepEqual([...new Set(calls)], ["200,success,200,success"], "no call failed meanwhile");
  assert.deepEqual(x.results.map(({ value }) => value), ["none", "1", "2", "3"]);
  assert.deepEqual([y.results.length, neither.results.length], [1, 1], "who has not read it is not run again");
  assert.deepEqual(names.results.map(({ value }) => value).slice(1), Array(3).fill("CONVEX_CLOUD_URL,CONVEX_SITE_URL,X"), "who lists them is");

  // What was kept is what the rebuilt image says, too.
  assert.equal((await callFunction(tidemark, "query", "values:neither")).body.value.value, neither.results[0].value);
  await project.mustRun("env", "set", "Y", "1");
  await y.until(({ value }) => value === "1");
  assert.deepEqual([x.results.length, y.results.length, neither.results.length], [4, 2, 1]);
});

test("two who change variables at the same time both do", LIMIT, async (context) => {
  const { tidemark } = await deployed(context);
  const set = async (number) => {
    const changes = JSON.stringify({ changes: [{ name: `V${number}`, value: String(number) }] });
    return (await post(tidemark, "/api/update_environment_variables", changes, asAdmin(tidemark))).status;
  };
  const numbers = Array.from({ length: 6 }, (_, number) => number);
  assert.deepEqual(await Promise.all(numbers.map(set)), Array(6).fill(200));
  assert.deepEqual(await listed(tidemark), Object.fromEntries(numbers.map((number) => [`V${number}`, String(number)])));
});

test("a variable that the app declares as required lets its push through once it is set", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await createProject(context, tidemark, {
    files: {
      ...APP,
      "convex/convex.config.ts": `
        import { defineApp } from "convex/server";
        import { v } from "convex/values";
        export default defineApp({ env: { GREETING: v.string() } });`,
    },
  });
  const refused = await project.convex("deploy", "--typecheck", "disable");
  assert.equal(refused.code, 1, refused.output);
  assert.match(refused.output, /GREETING/);
  await project.mustRun("env", "set", "GREETING", "hello");
  await project.mustRun("deploy", "--typecheck", "disable");
  assert.deepEqual(await show(tidemark), { atImport: "hello", now: "hello" });
});

test("auth.config is evaluated anew with the variables, and a change that it can't take is refused whole", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const key = await newKey("ES256", "own");
  const jwks = `data:application/json,${encodeURIComponent(JSON.stringify({ keys: [key.published] }))}`;
  const project = await createProject(context, tidemark, {
    files: {
      "convex/who.ts": `
        import { query } from "./_generated/server";
        export const am = query({ args: {}, handler: async (ctx) => (await ctx.auth.getUserIdentity())?.subject ?? "nobody" });`,
      "convex/auth.config.ts": `
        export default { providers: [{ type: "customJwt", issuer: process.env.ISSUER!, jwks: ${JSON.stringify(jwks)}, algorithm: "ES256" }] };`,
    },
  });
  const missing = await project.convex("deploy", "--typecheck", "disable");
  assert.equal(missing.code, 1);
  assert.match(missing.output, /env set.*ISSUER/);
  await project.mustRun("env", "set", "ISSUER", "https://one.example");
  await project.mustRun("deploy", "--typecheck", "disable");
  const ask = async (issuer) => {
    const headers = { Authorization: `Bearer ${await signToken(key, { iss: issuer, sub: "ann" })}` };
    const { status, body } = await callFunction(tidemark, "query", "who:am", {}, { headers });
    return status === 200 ? body.value : body.code;
  };
  assert.equal(await ask("https://one.example"), "ann");
  await project.mustRun("env", "set", "ISSUER", "https://two.example");
  assert.deepEqual([await ask("https://one.example"), await ask("https://two.example")], ["NoAuthProvider", "ann"]);
  for (const words of [["set", "ISSUER", "nonsense"], ["remove", "ISSUER"]]) {
    const refused = await project.convex("env", ...words);
    assert.equal(refused.code, 1, refused.output);
    assert.equal(await ask("https://two.example"), "ann");
  }
  assert.match((await project.mustRun("env", "get", "ISSUER")).stdout, /two.example/);
});

test("changes are taken together or not at all, and are held to limits", LIMIT, async (context) => {
  const { tidemark } = await deployed(context);
  const update = async (changes, request = asAdmin(tidemark)) => {
    const response = await post(tidemark, "/api/update_environment_variables", JSON.stringify({ changes }), request);
    return response.status === 200 ? 200 : `${response.status} ${(await response.json()).code}`;
  };
  assert.equal(await update([{ name: "GREETING", value: "x" }], {}), "401 MissingAdminKey");
  for (const [name, value, code] of [
    ["CONVEX_SITE_URL", "x", "EnvVarNameForbidden"],
    ["CONVEX_CLOUD_URL", null, "EnvVarNameForbidden"],
    ["1A", "x", "EnvVarNameInvalid"],
    ["A".repeat(257), "x", "EnvVarNameInvalid"],
    ["LARGE", "x".repeat(8_193), "EnvVarValueTooLarge"],
  ]) {
    assert.equal(await update([{ name: "GREETING", value: "x" }, { name, value }]), `400 ${code}`);
    assert.equal((await show(tidemark)).now, "none");
  }
  const many = Array.from({ length: 1_001 }, (_, number) => ({ name: `V${number}`, value: "" }));
  assert.equal(await update(many), "400 EnvVarLimitMet");
  assert.equal(await update(many.slice(1)), 200);
  assert.equal(await update([{ name: "GREETING", value: "x" }]), "400 EnvVarLimitMet");
  assert.equal(await update([{ name: "V1" }, { name: "GREETING", value: "x" }]), 200);
  assert.equal((await show(tidemark)).now, "x");
});

test("code that can't be loaded with a variable says so, and the next change mends it", LIMIT, async (context) => {
  const { project, tidemark } = await deployed(context, {
    "convex/settings.ts": `
      import { query } from "./_generated/server";
      if (process.env.GREETING === "wrong") throw new Error("a wrong greeting");
      export const show = query({ args: {}, handler: async () => process.env.GREETING ?? "none" });`,
  });
  await project.mustRun("env", "set", "GREETING", "wrong");
  assert.match((await show(tidemark)).errorMessage, /a wrong greeting/);
  await project.mustRun("env", "set", "GREETING", "right");
  assert.equal(await show(tidemark), "right");
});
