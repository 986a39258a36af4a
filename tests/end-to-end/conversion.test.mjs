// Plain values pass the function library's conversion natively, and documents that are all wanted are read many at once. With
// and without that, functions see the same results, errors and usage, for the library's versions from 1.28 to 1.49.
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { callFunction } from "./harness/functions.mjs";
import { createProject } from "./harness/project.mjs";
import { startTidemark, temporaryFolder } from "./harness/tidemark.mjs";

const VERSIONS = ["convex-1-28", "convex-1-31", "convex-1-34", "convex-1-41", "convex", "convex-1-49"];
const SEED = Number(process.env.CONVERSION_SEED ?? Math.floor(Math.random() * 1e6));
const CALLS = Number(process.env.CONVERSION_CALLS ?? 10);
/** Functions of the library that are recognised in a bundle. */
const RECOGNISED = 9;
/** Some values take the library seconds to describe in an error; what is compared is what comes of them. */
const LIMITS = "[limits.function]\nuser_time_ms_max = 60_000\n[limits.log]\nwindow_age_ms_min = 120_000\n";

for (const convex of VERSIONS) {
  const manifest = JSON.parse(await readFile(new URL(`node_modules/${convex}/package.json`, import.meta.url), "utf8"));
  test(`${manifest.version}: native or not, the conversion is the same`, { timeout: 600_000 }, async (context) => {
    console.log(`CONVERSION_SEED=${SEED} node --test conversion.test.mjs`);
    const configuration = join(await temporaryFolder(context), "tidemark.toml");
    await writeFile(configuration, LIMITS);
    const [native, library] = await Promise.all(
      [true, false].map(async (isNative) => {
        const environment = { TIDEMARK_NATIVE_VALUES: `${isNative}`, TIDEMARK_LOG: "warn,isolate::library=debug", TIDEMARK_CONFIG: configuration };
        const tidemark = await startTidemark(context, { environment });
        const project = await createProject(context, tidemark, { convex, app: "conversion" });
        await project.mustRun("deploy", "--typecheck", "disable");
        return tidemark;
      }),
    );
    const both = async (kind, path, args) => {
      const [fast, slow] = await Promise.all([native, library].map((tidemark) => outcome(tidemark, kind, path, args)));
      assert.deepEqual(fast, slow, `${path} ${JSON.stringify(args)}`);
      return fast;
    };
    const errors = new Set();
    let results = 0;
    for (let call = 0; call < CALLS; call++) {
      const seed = SEED + call;
      for (const told of (await both("query", "values:compare", { seed, count: 50 })).value) {
        /^\w*Error: /.test(told) ? errors.add(told.slice(0, 25)) : results++;
      }
      await both("mutation", "values:store", { seed, count: 10 });
    }
    // Else it would compare too little.
    assert.ok(results > 25 * CALLS && errors.size > 6, `${results} results, errors: ${[...errors].join(", ")}`);
    for (const name of (await both("query", "values:listChanges", {})).value) {
      await both("query", "values:changed", { name });
    }
    await both("mutation", "queries:fill", { count: 60 });
    for (const way of (await both("query", "queries:listWays", {})).value) {
      await both("query", "queries:read", { way });
    }
    for (const name of (await both("query", "queries:listPatches", {})).value) {
      await both("query", "queries:patched", { name });
    }
    for (const count of [0, 3, 20]) {
      await both("mutation", "queries:beside", { count });
    }
    const recognised = (tidemark) => tidemark.log.match(/was recognised/g)?.length ?? 0;
    assert.ok(recognised(native) >= RECOGNISED, `only ${recognised(native)} functions were recognised`);
    assert.equal(recognised(library), 0);
  });
}

/** What a call comes to: its value, or the text of its error without what differs between servers. */
async function outcome(tidemark, kind, path, args) {
  const { status, body } = await callFunction(tidemark, kind, path, args);
  const { value, errorMessage } = body;
  const text = JSON.stringify({ value, error: errorMessage?.replace(/\[Request ID: \w+\]/, "") });
  const alike = text.replace(/\b[a-z0-9]{31,32}\b/g, "<id>").replace(/(timeOrigin\\*":)[\d.]+/g, "$1<time>");
  return { status, ...JSON.parse(alike) };
}
