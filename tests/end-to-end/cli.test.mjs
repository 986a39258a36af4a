// The official CLI, as it comes from npm, against a real Tidemark.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";
import { whenOver } from "./harness/cleanup.mjs";
import { asAdmin, callFunction, post } from "./harness/functions.mjs";
import { chat, createProject, pushApp } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const { channels, messages } = anyApi;
const LIMIT = { timeout: 300_000 };
const READY = /Convex functions ready!/;

/** The functions that are served, by module, as the server tells the CLI. */
async function deployedHashes(tidemark) {
  const response = await post(tidemark, "/api/get_config_hashes", JSON.stringify({ version: "1.48.0" }), asAdmin(tidemark));
  assert.equal(response.status, 200);
  return (await response.json()).moduleHashes.sort((one, other) => one.path.localeCompare(other.path));
}

/** Opens a channel and writes into it; returns the channel's id and the messages' ids. */
async function writeMessages(tidemark, bodies) {
  const client = new ConvexHttpClient(tidemark.url);
  const channel = await client.mutation(channels.open, { name: "harbour" });
  const ids = [];
  for (const body of bodies) {
    ids.push(await client.mutation(messages.send, { channel, author: "Ada", body }));
  }
  return { channel, ids };
}

async function readMessages(tidemark, channel) {
  const { page } = await new ConvexHttpClient(tidemark.url).query(messages.list, {
    channel,
    paginationOpts: { numItems: 100, cursor: null },
  });
  return page.reverse().map(({ body }) => body);
}

test("convex dev --once pushes an app, whose functions then run", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await createProject(context, tidemark, { app: chat });
  const push = await project.mustRun("dev", "--once");
  assert.match(push.output, READY);
  assert.match(await project.read(".env.local"), new RegExp(`CONVEX_URL=${tidemark.url}`));
  const { channel } = await writeMessages(tidemark, ["first", "second"]);
  assert.deepEqual(await readMessages(tidemark, channel), ["first", "second"]);
});

test("a second push without changes succeeds and changes nothing", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await createProject(context, tidemark, { app: chat });
  await project.mustRun("dev", "--once");
  const hashes = await deployedHashes(tidemark);
  assert.deepEqual(hashes.map(({ path }) => path).filter((path) => !path.startsWith("_deps/")), ["channels.js", "messages.js"]);
  await project.mustRun("dev", "--once");
  assert.deepEqual(await deployedHashes(tidemark), hashes);
});

test("convex dev pushes again when a file changes", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const greeter = (word) => `
    import { query } from "./_generated/server";
    export const greet = query({ args: {}, handler: () => "${word}" });
  `;
  const project = await createProject(context, tidemark, { files: { "convex/greeter.ts": greeter("hello") } });
  const watch = project.start("dev");
  await watch.prints(READY);
  assert.equal((await callFunction(tidemark, "query", "greeter:greet")).body.value, "hello");
  await project.write("convex/greeter.ts", greeter("ahoy"));
  await watch.prints(READY, { count: 2 });
  assert.equal((await callFunction(tidemark, "query", "greeter:greet")).body.value, "ahoy");
});

test("convex deploy pushes without asking, and data outlives it", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await pushApp(context, tidemark, chat);
  const { channel } = await writeMessages(tidemark, ["before the deploy"]);
  const source = await project.read("convex/messages.ts");
  await project.write("convex/messages.ts", source.replace("BODY_LENGTH_MAX = 2000", "BODY_LENGTH_MAX = 5"));
  await project.mustRun("deploy");
  assert.deepEqual(await readMessages(tidemark, channel), ["before the deploy"]);
  await assert.rejects(writeMessages(tidemark, ["too long now"]), /ConvexError|at most 5|1 to 5/);
});

test("a function taken out of the code is gone after the push", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await pushApp(context, tidemark, chat);
  await project.remove("convex/messages.ts");
  await project.mustRun("deploy");
  const { body } = await callFunction(tidemark, "query", "messages:list");
  assert.equal(body.status, "error");
  assert.match(body.errorMessage, /Could not find function/);
});

test("convex codegen writes what the example has committed, and TypeScript accepts it", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await createProject(context, tidemark, { app: chat });
  await project.remove("convex/_generated");
  await project.mustRun("codegen");
  for (const file of await readdir(join(chat, "convex/_generated"))) {
    const committed = await readFile(join(chat, "convex/_generated", file), "utf8");
    assert.equal(await project.read(`convex/_generated/${file}`), committed, file);
  }
  const compiler = await project.typecheck();
  assert.equal(compiler.code, 0, compiler.output);
  assert.deepEqual(await deployedHashes(tidemark), [], "codegen deployed the app");
});

test("convex run calls a mutation and a query and prints what they return", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await pushApp(context, tidemark, chat);
  const opened = await project.mustRun("run", "channels:open", JSON.stringify({ name: "harbour", topic: "tides" }));
  const id = JSON.parse(opened.stdout);
  const listed = await project.mustRun("run", "channels:list");
  const [channel] = JSON.parse(listed.stdout);
  assert.deepEqual([channel._id, channel.name, channel.topic], [id, "harbour", "tides"]);
});

test("convex run of a function that isn't there lists those that are", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await pushApp(context, tidemark, chat);
  const run = await project.convex("run", "channels:sink");
  assert.equal(run.code, 1, run.output);
  assert.match(run.output, /Could not find function/);
  assert.match(run.output, /channels:open/);
});

test("convex run shows a function's own error", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await pushApp(context, tidemark, chat);
  const run = await project.convex("run", "channels:open", JSON.stringify({ name: "No Spaces" }));
  assert.equal(run.code, 1, run.output);
  assert.match(run.output, /A channel's name has 1 to 24/);
});

test("convex function-spec describes the functions that are served", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await pushApp(context, tidemark, chat);
  const { url, functions } = JSON.parse((await project.mustRun("function-spec")).stdout);
  assert.equal(url, tidemark.url);
  const identifiers = functions.map(({ identifier }) => identifier).sort();
  const expected = ["channels.js:list", "channels.js:open", "messages.js:authors", "messages.js:list", "messages.js:send"];
  assert.deepEqual(identifiers, expected);
  const send = functions.find(({ identifier }) => identifier === "messages.js:send");
  assert.deepEqual([send.functionType, send.visibility], ["Mutation", { kind: "public" }]);
  assert.deepEqual(Object.keys(send.args.value).sort(), ["author", "body", "channel"]);
  assert.deepEqual(send.returns, { type: "id", tableName: "messages" });
});

test("convex run --inline-query runs a query that is not deployed, which only reads", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await createProject(context, tidemark, { app: chat });
  const inline = (query, ...words) => project.convex("run", "--inline-query", query, ...words);
  assert.match((await inline("1 + 1")).stdout, /^2\s*$/, "before anything is deployed");
  await project.mustRun("deploy", "--typecheck", "disable");
  await writeMessages(tidemark, ["low water", "high water"]);
  await project.mustRun("env", "set", "HARBOUR", "Leith");

  const bodies = await inline('(await ctx.db.query("messages").order("desc").take(5)).map(({ body }) => body)');
  assert.deepEqual(JSON.parse(bodies.stdout), ["high water", "low water"]);
  const filtered = await inline('(await ctx.db.query("messages").filter((q) => q.eq(q.field("body"), "low water")).collect()).length');
  assert.equal(filtered.stdout.trim(), "1");
  const page = await inline('(await ctx.db.query("messages").paginate({ numItems: 1, cursor: null })).isDone');
  assert.equal(page.stdout.trim(), "false");
  const several = await inline('const harbour = process.env.HARBOUR;\nconsole.log("in", harbour);\nreturn { harbour, big: 7n };');
  assert.match(several.stdout, /"harbour": "Leith"/);
  assert.match(several.output, /\[LOG\] 'in' 'Leith'/);
  const nested = await inline('(await ctx.runQuery("channels:list", {})).length');
  assert.equal(nested.code, 0, nested.output);
  const whole = await inline('export default internalQuery({ args: {}, handler: async (ctx) => (await ctx.db.query("messages").first()).body });');
  assert.equal(whole.stdout.trim(), '"low water"', whole.output);

  for (const [query, message] of [
    ['await ctx.db.insert("messages", {})', /insert is not a function/],
    ['throw new Error("a storm")', /a storm/],
    ["await fetch('http://127.0.0.1:1/')", /fetch.* in queries/],
    ["this is no query", /can't be loaded|SyntaxError/],
    ["for (;;) {}", /longer than|timed out|too long/i],
    ['import { a } from "./messages.js";\nexport default query({ handler: async () => a });', /could not resolve/],
    ["export default query; const query2 = query({ handler: async () => 1 });", /no query as its default export/],
  ]) {
    const failed = await inline(query);
    assert.equal(failed.code, 1, failed.output);
    assert.match(failed.output, message);
  }
  const body = JSON.stringify({ args: {}, bundle: { path: "testQuery.js", source: "" }, format: "convex_encoded_json" });
  assert.equal((await post(tidemark, "/api/run_test_function", body)).status, 403, "it needs the admin key");
  const listed = await callFunction(tidemark, "query", "messages:authors", {}, asAdmin(tidemark));
  assert.equal(listed.status, 200, "what is deployed is what it was");
});

test("convex data lists the tables and shows a table's documents", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await pushApp(context, tidemark, chat);
  const { ids } = await writeMessages(tidemark, ["low water", "high water"]);
  const tables = await project.mustRun("data");
  assert.deepEqual(tables.stdout.trim().split(/\s+/).sort(), ["channels", "messages"]);
  const rows = await project.mustRun("data", "messages");
  for (const text of [...ids, "low water", "high water"]) {
    assert.ok(rows.stdout.includes(text), `${text} is not in\n${rows.output}`);
  }
  const limited = await project.mustRun("data", "messages", "--limit", "1", "--order", "desc");
  assert.ok(limited.stdout.includes("high water") && !limited.stdout.includes("low water"), limited.output);
});

test("convex logs follows what functions print and what they fail with", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await createProject(context, tidemark, {
    files: {
      "convex/speaker.ts": `
        import { query } from "./_generated/server";
        export const say = query({ args: {}, handler: () => { console.log("the tide", { height: 4 }); return null; } });
        export const fail = query({ args: {}, handler: () => { throw new Error("ran aground"); } });
      `,
    },
  });
  await project.mustRun("deploy");
  // With its history, the first line is printed whether the tool or the function was first; then the tool follows.
  const logs = project.start("logs", "--history", "10");
  await callFunction(tidemark, "query", "speaker:say");
  await logs.prints(/speaker:say.*\[LOG\].*'the tide'/);
  await callFunction(tidemark, "query", "speaker:fail");
  await logs.prints(/ran aground/);
  await logs.stop();

  const history = project.start("logs", "--history", "10");
  await history.prints(/'the tide'/);
});

test("convex logs leaves out what the tools themselves ask", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await pushApp(context, tidemark, chat);
  await project.mustRun("data");
  await callFunction(tidemark, "query", "channels:list");
  const logs = await fetch(`${tidemark.url}/api/stream_function_logs?cursor=0`, asAdmin(tidemark));
  const { entries } = await logs.json();
  assert.deepEqual(entries.map(({ identifier }) => identifier), ["channels:list"]);
});

// What is not there is told by the first line that the tool prints: under it are the tool's own frames.
const SENTENCES = {
  "convex data of a component": { words: ["data", "--component", "nope"], says: /There is no component `nope`\./ },
  "convex run in a component": { words: ["run", "channels:list", "--component", "nope"], says: /There is no component `nope`\./ },
};

for (const [command, { words, says }] of Object.entries(SENTENCES)) {
  test(`${command} says first what is missing`, LIMIT, async (context) => {
    const tidemark = await startTidemark(context);
    const project = await createProject(context, tidemark, { app: chat });
    const run = await project.convex(...words);
    assert.equal(run.code, 1, run.output);
    // Node.js itself shows the line of code that threw, before the error.
    const lines = run.output.split("\n").filter((line) => /error|There is|supported/i.test(line) && !/^\s*(throw|at) /.test(line));
    assert.match(lines[0] ?? run.output, says, run.output);
  });
}

test("what is read and not served is refused at once, without the tool asking again", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await createProject(context, tidemark, { app: chat });
  const usage = await project.convex("deployment", "usage");
  assert.equal(usage.code, 1, usage.output);
  assert.match(usage.output, /does not serve GET/);
  const [read, written] = await Promise.all(
    ["GET", "POST"].map((method) => fetch(`${tidemark.url}/api/v1/get_current_usage`, { method, ...asAdmin(tidemark) })),
  );
  assert.deepEqual([read.status, written.status], [400, 501]);
});

test("a schema that the data doesn't fit is refused with the document's id, and the data stays", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await pushApp(context, tidemark, chat);
  const { channel, ids } = await writeMessages(tidemark, ["no stars here"]);
  const hashes = await deployedHashes(tidemark);
  const schema = await project.read("convex/schema.ts");
  await project.write("convex/schema.ts", schema.replace("body: v.string(),", "body: v.string(),\n    stars: v.number(),"));
  for (const command of [["dev", "--once"], ["deploy"]]) {
    const push = await project.convex(...command, "--typecheck", "disable");
    assert.equal(push.code, 1, push.output);
    assert.match(push.output, /Schema validation failed/);
    assert.ok(push.output.includes(ids[0]), `the document's id is not in\n${push.output}`);
    assert.match(push.output, /stars/);
  }
  assert.deepEqual(await readMessages(tidemark, channel), ["no stars here"]);
  assert.deepEqual(await deployedHashes(tidemark), hashes);
  await writeMessages(tidemark, ["the old schema still holds"]);
});

test("convex dev pushes again by itself when the data is mended", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const schema = (fields) => `
    import { defineSchema, defineTable } from "convex/server";
    import { v } from "convex/values";
    export default defineSchema({ notes: defineTable({ ${fields} }) });
  `;
  const project = await createProject(context, tidemark, {
    files: {
      "convex/schema.ts": schema("text: v.optional(v.string())"),
      "convex/notes.ts": `
        import { v } from "convex/values";
        import { mutation } from "./_generated/server";
        export const add = mutation({ args: {}, handler: (ctx) => ctx.db.insert("notes", {}) });
        export const write = mutation({
          args: { text: v.string() },
          handler: async (ctx, { text }) => {
            for (const { _id } of await ctx.db.query("notes").collect()) {
              await ctx.db.patch(_id, { text });
            }
          },
        });`,
    },
  });
  const watch = project.start("dev", "--typecheck", "disable");
  await watch.prints(READY);
  await callFunction(tidemark, "mutation", "notes:add");
  await project.write("convex/schema.ts", schema("text: v.string()"));
  await watch.prints(/Schema validation failed/);
  // The tool begins to watch the table a moment after it printed that: a change before that moment is none to it.
  let changes = 0;
  const mending = setInterval(() => callFunction(tidemark, "mutation", "notes:write", { text: `${++changes}` }), 1_000);
  whenOver(context, () => clearInterval(mending));
  await watch.prints(READY, { count: 2 });
});

test("an index added to a table with data finds all of it", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await pushApp(context, tidemark, chat);
  const bodies = Array.from({ length: 40 }, (_, index) => `message ${index}`);
  await writeMessages(tidemark, bodies);
  const schema = await project.read("convex/schema.ts");
  await project.write("convex/schema.ts", schema.replace('.index("by_channel"', '.index("by_body", ["body"]).index("by_channel"'));
  await project.write(
    "convex/finder.ts",
    `import { v } from "convex/values";
     import { query } from "./_generated/server";
     export const find = query({
       args: { body: v.string() },
       handler: async (ctx, { body }) =>
         (await ctx.db.query("messages").withIndex("by_body", (range) => range.eq("body", body)).collect()).length,
     });`,
  );
  const push = await project.mustRun("dev", "--once");
  assert.match(push.output, /messages\.by_body/);
  for (const body of bodies) {
    assert.equal((await callFunction(tidemark, "query", "finder:find", { body })).body.value, 1, body);
  }
});

test("a push that fails changes nothing and says what to mend", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await pushApp(context, tidemark, chat);
  const { channel } = await writeMessages(tidemark, ["still here"]);
  const hashes = await deployedHashes(tidemark);
  await project.write("convex/broken.ts", 'export {};\nthrow new Error("this module fails when it is imported");\n');
  const push = await project.convex("dev", "--once", "--typecheck", "disable");
  assert.equal(push.code, 1, push.output);
  assert.match(push.output, /this module fails when it is imported/);
  assert.match(push.output, /broken/);
  assert.deepEqual(await deployedHashes(tidemark), hashes);
  assert.deepEqual(await readMessages(tidemark, channel), ["still here"]);
});

const withExport = (declaration) => `
  import { v } from "convex/values";
  import { query } from "./_generated/server";
  ${declaration}
`;

const nested = (levels) => `${"v.object({ a: ".repeat(levels)}v.null()${" })".repeat(levels)}`;

function cronJob(declaration) {
  return {
    "convex/notes.ts": `
      import { internalMutation, query } from "./_generated/server";
      export const tidy = internalMutation({ args: {}, handler: () => null });
      export const list = query({ args: {}, handler: () => null });`,
    "convex/crons.ts": `
      import { cronJobs } from "convex/server";
      import { internal } from "./_generated/api";
      const crons = cronJobs();
      ${declaration};
      export default crons;`,
  };
}

// What nobody could call or read later is refused when it is pushed.
const UNREADABLE = {
  "a cron job at a time that never comes": {
    names: [/crons\.js/, /tidy up/, /0 0 31 2 \*/, /never runs/],
    files: cronJob('crons.cron("tidy up", "0 0 31 2 *", internal.notes.tidy)'),
  },
  "a cron job of a query": {
    names: [/crons\.js/, /tidy up/, /notes:list/, /query/],
    files: cronJob('crons.interval("tidy up", { minutes: 1 }, (internal as any).notes.list)'),
  },
  "a file with a dash in its name": {
    names: [/my-lib\.js/, /letters, digits/],
    files: { "convex/my-lib.ts": withExport("export const list = query({ args: {}, handler: () => null });") },
  },
  "a function with another letter than ASCII's in its name": {
    names: [/notes\.js/, /größe/],
    files: { "convex/notes.ts": withExport("export const größe = query({ args: {}, handler: () => null });") },
  },
  "a validator that nests too deeply": {
    names: [/notes\.js/, /export `list`/, /arguments/],
    files: { "convex/notes.ts": withExport(`export const list = query({ args: { a: ${nested(63)} }, handler: () => null });`) },
  },
  "a validator that is not known": {
    names: [/notes\.js/, /export `list`/, /result/, /someday/],
    files: {
      "convex/notes.ts": withExport(`
        const someday: any = { isConvexValidator: true, isOptional: "required", kind: "someday", json: { type: "someday" } };
        export const list = query({ args: {}, returns: someday, handler: () => null });`),
    },
  },
};

for (const [what, { files, names }] of Object.entries(UNREADABLE)) {
  test(`${what} is refused by name when it is pushed`, LIMIT, async (context) => {
    const tidemark = await startTidemark(context);
    const project = await createProject(context, tidemark, { files });
    const push = await project.convex("dev", "--once", "--typecheck", "disable");
    assert.equal(push.code, 1, push.output);
    assert.match(push.output, /400/);
    for (const name of names) {
      assert.match(push.output, name);
    }
    assert.deepEqual(await deployedHashes(tidemark), []);
  });
}

test("the deepest validators that a push takes can be shown, and called", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await createProject(context, tidemark, {
    files: { "convex/notes.ts": withExport(`export const list = query({ args: { a: ${nested(18)} }, handler: () => 4 });`) },
  });
  await project.mustRun("dev", "--once", "--typecheck", "disable");
  const { functions } = JSON.parse((await project.mustRun("function-spec")).stdout);
  assert.equal(functions.length, 1);
  const body = JSON.stringify({ path: "_system/cli/modules:apiSpec", args: {} });
  const spec = await (await post(tidemark, "/api/query", body, asAdmin(tidemark))).json();
  assert.equal(spec.status, "success");
  const deep = (levels) => (levels === 0 ? null : { a: deep(levels - 1) });
  assert.equal((await callFunction(tidemark, "query", "notes:list", deep(19))).body.value, 4);
});

test("what is special in crons.ts and http.ts is nothing special elsewhere", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await createProject(context, tidemark, {
    files: {
      "convex/jobs.ts": `
        import { cronJobs } from "convex/server";
        import { internal } from "./_generated/api";
        import { query } from "./_generated/server";
        const jobs = cronJobs();
        jobs.interval("tidy up", { minutes: 1 }, (internal as any).jobs.count, {});
        export const count = query({ args: {}, handler: () => 4 });
        export default jobs;`,
      "convex/routes.ts": `
        import { httpRouter } from "convex/server";
        export default httpRouter();`,
    },
  });
  await project.mustRun("dev", "--once", "--typecheck", "disable");
  assert.equal((await callFunction(tidemark, "query", "jobs:count")).body.value, 4);
});

test("HTTP routes are served at the address that tools ask for", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await createProject(context, tidemark, {
    files: {
      "convex/http.ts": `
        import { httpRouter } from "convex/server";
        import { httpAction } from "./_generated/server";
        const http = httpRouter();
        http.route({ path: "/tides", method: "GET", handler: httpAction(async () => new Response("4")) });
        export default http;`,
    },
  });
  await project.mustRun("dev", "--once");
  const { convexSiteUrl } = await (
    await fetch(`${tidemark.url}/api/v1/get_canonical_urls`, asAdmin(tidemark))
  ).json();
  const answer = await fetch(`${convexSiteUrl}/tides`);
  assert.equal(answer.status, 200);
  assert.equal(await answer.text(), "4");
});
