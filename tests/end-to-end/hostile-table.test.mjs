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

const LIMIT = { timeout: 300_000 };
/** Short where the time limit may be what ends a case, so that the many take little; elsewhere enough for any machine that is busy. */
const USER_TIME_MS = { short: 400, long: 10_000 };

const cases = Object.entries(GROUPS).flatMap(([group, rows]) =>
  rows.map(([sentence, code, expected]) => ({
    group,
    sentence,
    expected,
    time: expected instanceof RegExp && /timed out/.test(expected.source) ? "short" : "long",
    ...(typeof code === "string" ? { kind: "query", body: code } : code),
  })),
);

const source = ({ kind, body }, index) => `export const case${index} = ${kind}(async (ctx) => { ${body} });`;

const file = { after };

async function startWith(userTime) {
  const configuration = join(await temporaryFolder(file), "tidemark.toml");
  await writeFile(configuration, `[limits.function]\nuser_time_ms_max = ${userTime}\n`);
  const tidemark = await startTidemark(file, { environment: { TIDEMARK_CONFIG: configuration } });
  const project = await createProject(file, tidemark, {
    app: "hostile",
    files: { "convex/cases.js": `import { mutation, query } from "./_generated/server";\nexport const endless = query((ctx) => ctx.runQuery("cases:endless", {}));\n${cases.map(source).join("\n")}\n` },
  });
  await project.mustRun("deploy", "--typecheck", "disable");
  return tidemark;
}

const servers = { short: await startWith(USER_TIME_MS.short), long: await startWith(USER_TIME_MS.long) };

async function assertUntouched(tidemark) {
  const { body } = await callFunction(tidemark, "query", "hostile:hello", { name: "harbour" });
  assert.deepEqual([body.status, body.value], ["success", "hello harbour"]);
  const left = await callFunction(tidemark, "query", "hostile:lookForPoison");
  assert.deepEqual(left.body.value, [], "what the call left behind");
}

for (const group of Object.keys(GROUPS)) {
  describe(group, () => {
    cases.forEach(({ group: its, kind, sentence, expected, time }, index) => {
      if (its !== group) {
        return;
      }
      test(sentence, LIMIT, async () => {
        const tidemark = servers[time];
        const { status, body } = await callFunction(tidemark, kind, `cases:case${index}`);
        assert.equal(status, 200, JSON.stringify(body).slice(0, 1_000));
        if (expected instanceof RegExp) {
          assert.match(body.errorMessage ?? "", expected, `it ended with ${JSON.stringify(body.value)?.slice(0, 200)}`);
        } else {
          assert.deepEqual(body.value, expected.value, body.errorMessage?.slice(0, 1_000));
        }
        await assertUntouched(tidemark);
      });
    });
  });
}
