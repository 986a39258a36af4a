// Every version of the official CLI that a project may have pinned, each on a Node.js that it runs on.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { callFunction, post } from "./harness/functions.mjs";
import { createProject } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const LIMIT = { timeout: 300_000 };
const VERSIONS = ["convex-1-28", "convex-1-31", "convex-1-34", "convex-1-41", "convex", "convex-1-49"];

const notes = (greeting) => `
  import { v } from "convex/values";
  import { mutation, query } from "./_generated/server";
  export const add = mutation({ args: { text: v.string() }, handler: (ctx, args) => ctx.db.insert("notes", args) });
  export const list = query({
    args: {},
    handler: async (ctx) =>
      (await ctx.db.query("notes").withIndex("by_text").collect()).map(({ text }) => "${greeting} " + text),
  });
`;

for (const convex of VERSIONS) {
  const manifest = JSON.parse(await readFile(new URL(`node_modules/${convex}/package.json`, import.meta.url), "utf8"));
  test(`${manifest.version} pushes, pushes a change, runs, and shows data`, LIMIT, async (context) => {
    const tidemark = await startTidemark(context);
    const project = await createProject(context, tidemark, {
      convex,
      files: {
        "convex/schema.ts": `
          import { defineSchema, defineTable } from "convex/server";
          import { v } from "convex/values";
          export default defineSchema({ notes: defineTable({ text: v.string() }).index("by_text", ["text"]) });`,
        "convex/helper.ts": `export const unused = 1;`,
        "convex/notes.ts": notes("hello"),
      },
    });
    await project.mustRun("dev", "--once");
    assert.match(await project.read(".env.local"), new RegExp(`CONVEX_URL=${tidemark.url}`));
    await project.mustRun("run", "notes:add", JSON.stringify({ text: "harbour" }));
    await project.write("convex/notes.ts", notes("ahoy"));
    await project.mustRun("deploy", "--typecheck", "disable");
    const listed = await project.mustRun("run", "notes:list");
    assert.deepEqual(JSON.parse(listed.stdout), ["ahoy harbour"]);
    const data = await project.mustRun("data", "notes");
    assert.match(data.stdout, /harbour/);
  });
}

test("a push of an older version says which one to install", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const headers = { authorization: `Convex ${tidemark.adminKey}`, "convex-client": "npm-cli-1.27.5" };
  const response = await post(tidemark, "/api/deploy2/start_push", "{}", { headers });
  assert.equal(response.status, 400);
  const { code, message } = await response.json();
  assert.equal(code, "ClientTooOld");
  assert.match(message, /npm install convex@/);
});

test("an argument and a field can be function handles, which are called", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await createProject(context, tidemark, {
    convex: "convex-1-49",
    files: {
      "convex/schema.ts": `
        import { defineSchema, defineTable } from "convex/server";
        import { v } from "convex/values";
        export default defineSchema({
          callbacks: defineTable({ handle: v.function({ fnType: "query", args: v.object({}), returns: v.number() }) }),
        });`,
      "convex/callbacks.ts": `
        import { createFunctionHandle } from "convex/server";
        import { v } from "convex/values";
        import { api } from "./_generated/api";
        import { mutation, query } from "./_generated/server";
        export const four = query({ args: {}, returns: v.number(), handler: async () => 4 });
        export const handleOfFour = query({
          args: {},
          returns: v.string(),
          handler: async (): Promise<string> => createFunctionHandle(api.callbacks.four),
        });
        export const keep = mutation({
          args: { handle: v.function({ fnType: "query", args: v.object({}), returns: v.number() }) },
          handler: async (ctx, { handle }) => {
            const id = await ctx.db.insert("callbacks", { handle });
            return await ctx.runQuery((await ctx.db.get(id))!.handle as any, {});
          },
        });`,
    },
  });
  await project.mustRun("dev", "--once", "--typecheck", "disable");
  const handle = (await callFunction(tidemark, "query", "callbacks:handleOfFour")).body.value;
  assert.equal((await callFunction(tidemark, "mutation", "callbacks:keep", { handle })).body.value, 4);
  const refused = await callFunction(tidemark, "mutation", "callbacks:keep", { handle: "callbacks:four" });
  assert.match(refused.body.errorMessage, /Value is not a function handle/);
  const { functions } = JSON.parse((await project.mustRun("function-spec")).stdout);
  const keep = functions.find(({ identifier }) => identifier === "callbacks.js:keep");
  const signature = { type: "function", fnType: "query", args: { type: "object", value: {} }, returns: { type: "number" } };
  assert.deepEqual(keep.args.value.handle.fieldType, signature);
});
