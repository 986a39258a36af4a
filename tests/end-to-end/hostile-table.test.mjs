// Hundreds of things that a function may try, each to its end: an error by its limit or a harmless result, and an untouched server
// after it. The table is in hostile/cases.mjs.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { GROUPS } from "./hostile/cases.mjs";
import { callFunction } from "./harness/functions.mjs";
import { createProject } from "./harness/project.mjs";
import { startTidemark, temporaryFolder } from "./harness/tidemark.mjs";

const LIMIT = { timeout: 60_000 };
/** Short, so that the many that only it ends take little time. */
const LIMITS = "[limits.function]\nuser_time_ms_max = 400\n";

const cases = Object.entries(GROUPS).flatMap(([group, rows]) =>
  rows.map(([sentence, code, expected]) => ({ group, sentence, expected, ...(typeof code === "string" ? { kind: "query", body: code } : code) })),
);

const source = ({ kind, body }, index) => `export const case${index} = ${kind}(async (ctx) => { ${body} });`;

const file = { after };
const configuration = join(await temporaryFolder(file), "tidemark.toml");
await writeFile(configuration, LIMITS);
const tidemark = await startTidemark(file, { environment: { TIDEMARK_CONFIG: configuration } });
const project = await createProject(file, tidemark, {
  app: "hostile",
  files: { "convex/cases.js": `import { mutation, query } from "./_generated/server";\nexport const endless = query((ctx) => ctx.runQuery("cases:endless", {}));\n${cases.map(source).join("\n")}\n` },
});
await project.mustRun("deploy", "--typecheck", "disable");

async function assertUntouched() {
  const { body } = await callFunction(tidemark, "query", "hostile:hello", { name: "harbour" });
  assert.deepEqual([body.status, body.value], ["success", "hello harbour"]);
  const left = await callFunction(tidemark, "query", "hostile:lookForPoison");
  assert.deepEqual(left.body.value, [], "what the call left behind");
}

for (const group of Object.keys(GROUPS)) {
  describe(group, () => {
    cases.forEach(({ group: its, kind, sentence, expected }, index) => {
      if (its !== group) {
        return;
      }
      test(sentence, LIMIT, async () => {
        const { status, body } = await callFunction(tidemark, kind, `cases:case${index}`);
        assert.equal(status, 200, JSON.stringify(body).slice(0, 1_000));
        if (expected instanceof RegExp) {
          assert.match(body.errorMessage ?? "", expected, `it ended with ${JSON.stringify(body.value)?.slice(0, 200)}`);
        } else {
          assert.deepEqual(body.value, expected.value, body.errorMessage?.slice(0, 1_000));
        }
        await assertUntouched();
      });
    });
  });
}
