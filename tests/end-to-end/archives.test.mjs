// Data out and in by the command line tool: `convex export`, `convex import` and `convex data`, unmodified.
import assert from "node:assert/strict";
import { createWriteStream } from "node:fs";
import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";
import { killLeaders } from "./conformance/cluster.mjs";
import { anywhere, askAsAdmin, valueOf } from "./harness/anywhere.mjs";
import { whenOver } from "./harness/cleanup.mjs";
import { OF_A_LOST_NODE, startCluster } from "./harness/cluster.mjs";
import { asAdmin, callFunction, post } from "./harness/functions.mjs";
import { randomFrom } from "./harness/load.mjs";
import { watchMemory } from "./harness/memory.mjs";
import { pushApp } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const { data } = anyApi;
const LIMIT = { timeout: 900_000 };
const UNTIL_MS_MAX = 120_000;
const LARGE_MEBIBYTES = Number(process.env.LARGE_MEBIBYTES ?? 64);
/** More than that must not become resident, however much is imported: caches of the log and of the store among it. */
const GROWTH_MEBIBYTES_MAX = 640;
const MIB = 1024 * 1024;
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));

/** Tidemark with the app, and a client of it. */
async function serveApp(context, options = {}) {
  const tidemark = await startTidemark(context, options);
  const project = await pushApp(context, tidemark, "archives");
  return { tidemark, project, client: new ConvexHttpClient(tidemark.url) };
}

/** Files with and without a type, an empty one, and a larger one. */
async function uploadFiles(client) {
  const files = [
    ["image/png", Buffer.from([1, 2, 3])],
    [null, Buffer.alloc(0)],
    ["text/plain; charset=\"utf-8\"", Buffer.alloc(700_000, "text ")],
  ];
  const ids = [];
  for (const [type, body] of files) {
    const url = await client.mutation(data.uploadUrl, {});
    const response = await fetch(url, { method: "POST", body, headers: type ? { "Content-Type": type } : {} });
    assert.equal(response.status, 200);
    ids.push((await response.json()).storageId);
  }
  return ids;
}

/** What `convex export` writes. */
async function exported(project, name, ...words) {
  await rm(join(project.folder, name), { force: true });
  const run = await project.mustRun("export", "--path", name, "--include-file-storage", ...words);
  assert.match(run.output, /Created snapshot export at timestamp \d+/);
  return readFile(join(project.folder, name));
}

async function until(check, what) {
  const deadline = Date.now() + UNTIL_MS_MAX;
  for (;;) {
    const result = await check();
    if (result) return result;
    assert.ok(Date.now() < deadline, `never ${what}`);
    await sleep(50);
  }
}

const contentsOf = (urls) =>
  Promise.all(urls.map(async (url) => {
    const response = await fetch(url);
    return [response.status, response.headers.get("content-type"), Buffer.from(await response.arrayBuffer()).toString("base64")];
  }));

test("what was exported, wiped and imported is exported as the same bytes, in the same place and in another", LIMIT, async (context) => {
  const { project, client } = await serveApp(context);
  await client.mutation(data.fill, { files: await uploadFiles(client) });
  const before = await exported(project, "before.zip");
  const zebras = await client.query(data.zebras, {});
  const urls = zebras[0].urls;
  assert.equal(urls.length, 3);
  const contents = await contentsOf(urls);
  const values = await client.query(data.values, {});

  await client.mutation(data.disturb, {});
  assert.notDeepEqual(await client.query(data.zebras, {}), zebras);
  const run = await project.mustRun("import", "--replace-all", "--yes", "before.zip");
  assert.match(run.output, /Added \d+ documents/);
  assert.deepEqual(await client.query(data.zebras, {}), zebras);
  assert.deepEqual(await client.query(data.values, {}), values);
  assert.deepEqual(await contentsOf(urls), contents, "files have the addresses that they had");
  assert.ok((await exported(project, "after.zip")).equals(before), "the bytes are the same");

  // A deployment in which the tables have other numbers, so far.
  const other = await startTidemark(context);
  const otherProject = await pushApp(context, other, "archives");
  await writeFile(join(otherProject.folder, "before.zip"), before);
  await otherProject.mustRun("import", "before.zip");
  assert.ok((await exported(otherProject, "after.zip")).equals(before), "the bytes are the same elsewhere");
  const moved = await new ConvexHttpClient(other.url).query(data.zebras, {});
  const paths = (list) => list.map(({ name, links, urls }) => ({ name, links, paths: urls.map((url) => new URL(url).pathname) }));
  assert.deepEqual(paths(moved), paths(zebras));
  // It is as good as new: functions write, and a push finds its schema.
  await new ConvexHttpClient(other.url).mutation(data.disturb, {});
  await otherProject.mustRun("deploy", "--typecheck", "disable");
});

test("rows come in every format and mode, and what can't be imported changes nothing", LIMIT, async (context) => {
  const { project, client } = await serveApp(context);
  const count = () => client.query(data.count, {});
  await project.write("a.jsonl", '{"name":"one"}\n{"name":"two"}\n');
  await project.write("b.json", '[{"name":"three"}]');
  await project.write("c.csv", "name\nfour\nfive\nsix\n");
  await project.mustRun("import", "--table", "zebras", "a.jsonl");
  assert.deepEqual(await count(), { total: 2, old: 0 });
  const again = await project.convex("import", "--table", "zebras", "b.json");
  assert.equal(again.code, 1, again.output);
  assert.match(again.output, /already has documents/);
  await project.mustRun("import", "--table", "zebras", "--append", "b.json");
  assert.deepEqual(await count(), { total: 3, old: 0 });
  const replaced = await project.mustRun("import", "--table", "zebras", "--replace", "--yes", "c.csv");
  assert.match(replaced.output, /delete 3/);
  assert.match(replaced.output, /Added 3 documents to table "zebras"/);
  assert.deepEqual(await count(), { total: 3, old: 0 });
  // A table that no schema declares: it is made, and goes with --replace-all.
  await project.write("d.jsonl", "\ufeff{\"n\":1}\n");
  await project.mustRun("import", "--table", "extra", "d.jsonl");
  assert.match((await project.mustRun("data")).stdout, /extra/);

  const before = await exported(project, "before.zip");
  await project.write("broken.zip", "PK, but no archive");
  await writeFile(join(project.folder, "half.zip"), before.subarray(0, before.length / 2));
  await project.write("broken.jsonl", '{"name":"x"}\n{"name":\n');
  await project.write("broken.json", '[{"name":"x"}');
  await project.write("broken.csv", "name,other\nx\n");
  await project.write("misfit.jsonl", '{"name":"x"}\n{"name":7}\n');
  const [{ _id: link }] = JSON.parse((await project.mustRun("data", "extra", "--format", "jsonArray")).stdout);
  await project.write("wrong-ids.jsonl", JSON.stringify({ _id: link, name: "x" }));
  await project.write("no-ids.jsonl", JSON.stringify({ _id: "x", name: "x" }));
  for (const [words, says] of [
    [["--replace-all", "broken.zip"], /damaged, or is none/],
    [["--replace-all", "half.zip"], /damaged, or is none/],
    [["--table", "zebras", "--append", "broken.jsonl"], /line 2/],
    [["--table", "zebras", "--append", "broken.json"], /not an array of JSON objects/],
    [["--table", "zebras", "--append", "broken.csv"], /not CSV/],
    [["--table", "zebras", "--append", "misfit.jsonl"], /line 2: SchemaEnforcementError/],
    [["--table", "zebras", "--append", "wrong-ids.jsonl"], /TableNumberConflict/],
    [["--table", "zebras", "--replace", "wrong-ids.jsonl"], /TableNumberConflict/],
    [["--table", "zebras", "--replace", "no-ids.jsonl"], /InvalidIdError/],
    [["--table", "_storage", "a.jsonl"], /InvalidImport/],
    [["--component", "nope", "--table", "zebras", "a.jsonl"], /no component/],
  ]) {
    const run = await project.convex("import", "--yes", ...words);
    assert.equal(run.code, 1, `${words}\n${run.output}`);
    assert.match(run.output, says, `${words}`);
  }
  assert.ok((await exported(project, "after.zip")).equals(before), "nothing has changed");
  await project.mustRun("import", "--replace-all", "--yes", "--table", "zebras", "a.jsonl");
  assert.deepEqual(await count(), { total: 2, old: 0 });
  assert.doesNotMatch((await project.mustRun("data")).stdout, /extra/);
});

async function imports(tidemark) {
  const { body } = await callFunction(tidemark, "query", "_system/cli/queryImport:list", {}, asAdmin(tidemark));
  assert.equal(body.status, "success", JSON.stringify(body));
  return body.value;
}

for (const mode of ["replace", "append"]) {
  test(`an import (--${mode}) that is killed goes on, and each document comes once`, LIMIT, async (context) => {
    const { tidemark, project } = await serveApp(context, { limits: { archive: { batch_documents_max: 5, lease_ms: 1_500, beat_ms: 300 } } });
    await project.write("old.jsonl", Array.from({ length: 10 }, (_, n) => `{"name":"old ${n}"}\n`).join(""));
    await project.mustRun("import", "--table", "zebras", "old.jsonl");
    const before = (await imports(tidemark)).map(({ _id }) => _id);
    const latestImport = async () => (await imports(tidemark)).find(({ _id }) => !before.includes(_id))?.state;
    const many = 3_000;
    await project.write("new.jsonl", Array.from({ length: many }, (_, n) => `{"name":"new ${n}"}\n`).join(""));
    const run = project.start("import", "--table", "zebras", `--${mode}`, "--yes", "new.jsonl");
    let kills = 0;
    whenOver(context, () => run.stop());
    const seen = new Set();
    await until(async () => {
      const state = await latestImport().catch(() => null);
      if (state?.state === "in_progress" && /[1-9]\d* of/.test(state.progress_message) && kills < 3) {
        await tidemark.kill();
        await tidemark.start();
        kills += 1;
      }
      const { total, old } = await counted(tidemark);
      seen.add(mode === "replace" ? `${total} ${old}` : old);
      return state?.state === "completed" || state?.state === "failed" ? state : null;
    }, "completed");
    assert.ok(kills > 0, "it was killed");
    assert.equal((await latestImport()).state, "completed");
    if (mode === "replace") {
      assert.deepEqual([...seen].filter((state) => !["10 10", `${many} 0`].includes(state)), [], "the old data or the new, never a mix");
    }
    const { total, old } = await counted(tidemark);
    assert.deepEqual({ total, old }, mode === "replace" ? { total: many, old: 0 } : { total: many + 10, old: 10 });
  });
}

/** At one moment. */
async function counted(tidemark) {
  const { body } = await callFunction(tidemark, "query", "data:count");
  assert.equal(body.status, "success", JSON.stringify(body));
  return body.value;
}

test("an export that is killed is made anew, of one moment", LIMIT, async (context) => {
  const { tidemark, project } = await serveApp(context, { limits: { archive: { lease_ms: 1_500, beat_ms: 300 } } });
  const name = (number) => `${number} ${"x".repeat(number % 500)}`;
  await project.write("many.jsonl", Array.from({ length: 20_000 }, (_, number) => `{"name":"${name(number)}"}\n`).join(""));
  await project.mustRun("import", "--table", "zebras", "many.jsonl");
  const before = await exported(project, "before.zip");
  const request = await post(tidemark, "/api/export/request/zip?includeStorage=true", "", asAdmin(tidemark));
  assert.equal(request.status, 200);
  const latest = async () => (await callFunction(tidemark, "query", "_system/cli/exports:getLatest", {}, asAdmin(tidemark))).body.value;
  const state = await latest();
  await tidemark.kill();
  await tidemark.start();
  assert.ok(["requested", "in_progress", "completed"].includes(state.state), JSON.stringify(state));
  const completed = await until(async () => {
    const state = await latest();
    assert.notEqual(state.state, "failed", JSON.stringify(state));
    return state.state === "completed" ? state : null;
  }, "completed");
  const start = Buffer.from(completed.start_ts.$integer, "base64").readBigInt64LE();
  const response = await fetch(`${tidemark.url}/api/export/zip/${start}`, asAdmin(tidemark));
  assert.equal(response.headers.get("content-disposition"), `attachment; filename=snapshot_${start}.zip`);
  assert.ok(Buffer.from(await response.arrayBuffer()).equals(before), "equal data makes equal bytes");
  assert.equal((await fetch(`${tidemark.url}/api/export/zip/${start}`)).status, 401);
  assert.equal((await fetch(`${tidemark.url}/api/export/zip/7`, asAdmin(tidemark))).status, 404);
});

test("an export that takes longer than moments are kept is whole, while others write", LIMIT, async (context) => {
  const kept = { retention_ms_min: 1_000, window_age_ms_min: 950, hold_ms: 1_000 };
  const limits = { log: kept, function: { user_time_ms_max: 300, system_time_ms_max: 600 } };
  const { project, client } = await serveApp(context, { limits });
  // Letters that no archive makes much smaller.
  const random = randomFrom(SEED);
  const text = Array.from({ length: 2_000 }, () => random.below(36 ** 8).toString(36)).join(" ");
  const documents = 48 * 1024;
  const line = (number) => `${JSON.stringify({ number, text: text.slice(number % 9_000, (number % 9_000) + 950) })}\n`;
  await project.write("many.jsonl", Array.from({ length: documents }, (_, number) => line(number)).join(""));
  await project.mustRun("import", "--table", "many", "many.jsonl");
  let isOver = false;
  const writing = (async () => {
    while (!isOver) {
      // A busy machine may take longer for one than moments are kept.
      await client.mutation(data.fill, { files: [] }).catch((error) => assert.match(error.message, /OutOfRetention/));
      await sleep(20);
    }
  })();
  const began = Date.now();
  const archive = await exported(project, "many.zip");
  context.diagnostic(`${archive.length} bytes in ${Date.now() - began} ms, and moments are kept for ${kept.retention_ms_min} ms (SEED=${SEED})`);
  isOver = true;
  await writing;
  const other = await startTidemark(context);
  const otherProject = await pushApp(context, other, "archives");
  await writeFile(join(otherProject.folder, "many.zip"), archive);
  const brought = await otherProject.mustRun("import", "--yes", "many.zip");
  const added = Number(/Added (\d+) documents/.exec(brought.output)?.[1]);
  const { total } = await counted(other);
  assert.ok(added >= documents + total, `${added} documents, of which ${total} were written in pairs meanwhile`);
  assert.equal(total % 2, 0, "each commit is whole");
});

test("imports and exports take no memory of their size", { timeout: LIMIT.timeout + LARGE_MEBIBYTES * 1_500 }, async (context) => {
  const { tidemark, project } = await serveApp(context);
  const random = randomFrom(SEED);
  const text = Array.from({ length: 2_000 }, () => random.below(36 ** 8).toString(36)).join(" ");
  const documents = LARGE_MEBIBYTES * 1024;
  function* lines() {
    for (let number = 0; number < documents; number++) {
      const from = random.below(text.length - 950);
      yield `${JSON.stringify({ number, text: text.slice(from, from + 950) })}\n`;
    }
  }
  const file = join(project.folder, "large.jsonl");
  await pipeline(Readable.from(lines(), { highWaterMark: 1_000 }), createWriteStream(file));
  const { size } = await stat(file);
  project.commandMsMax += LARGE_MEBIBYTES * 500;
  const watched = watchMemory(context, tidemark);
  const began = Date.now();
  const imported = await project.mustRun("import", "--table", "large", "large.jsonl");
  assert.match(imported.output, new RegExp(`Added ${documents} documents`));
  const [seconds, growth] = [(Date.now() - began) / 1_000, watched.growth()];
  context.diagnostic(`${(size / MIB).toFixed(0)} MiB imported in ${seconds.toFixed(0)} s: ${growth.toFixed(0)} MiB more were resident`);
  await rm(file);
  await project.mustRun("export", "--path", "large.zip");
  const most = watched.growth();
  context.diagnostic(`${most.toFixed(0)} MiB until it was exported`);
  assert.ok(most < GROWTH_MEBIBYTES_MAX, `${most} MiB more were resident for ${LARGE_MEBIBYTES} MiB`);
});

/** A node that takes over says of what it takes that it is begun again. */
const OF_A_JOB = /is begun again|is written down later/;

test(`imports and exports go on while whoever leads is killed every 20 seconds, and are never a mix (SEED=${SEED})`, LIMIT, async (context) => {
  const random = randomFrom(SEED);
  const limits = { archive: { batch_documents_max: 50, lease_ms: 3_000, beat_ms: 500 } };
  const cluster = await startCluster(context, { allowedInLog: [...OF_A_LOST_NODE, OF_A_JOB], limits });
  await pushApp(context, cluster.nodes[0], "archives");
  const ask = (path, request) => anywhere(cluster, random, (node) => askAsAdmin(node, path, request));
  const value = (path, args) => anywhere(cluster, random, (node) => valueOf(node, "query", path, args));
  const send = async (path, body, type = "application/json") =>
    JSON.parse((await ask(path, { method: "POST", body, headers: { "Content-Type": type } })).toString() || "null");

  const herd = 2_000;
  const importHerd = async (name) => {
    const lines = Array.from({ length: herd }, (_, number) => `{"name":"${name} ${number}"}\n`).join("");
    const { uploadToken } = await send("/api/import/start_upload", "");
    const part = await send(`/api/import/upload_part?uploadToken=${uploadToken}&partNumber=1`, lines, "application/octet-stream");
    const order = { tableName: "zebras", mode: "replace", format: "jsonLines" };
    const { importId } = await send("/api/import/finish_upload", JSON.stringify({ import: order, uploadToken, partTokens: [part] }));
    const state = async () => (await value("_system/cli/queryImport:default", { importId })).state;
    await until(async () => (await state()).state === "waiting_for_confirmation", "read");
    await send("/api/perform_import", JSON.stringify({ importId }));
    const over = await until(async () => (({ state }) => state !== "in_progress" && state)(await state()), "over");
    assert.equal(over, "completed", JSON.stringify(await state()));
  };
  const exported = async () => {
    await anywhere(cluster, random, (node) =>
      askAsAdmin(node, "/api/export/request/zip?includeStorage=true", { method: "POST" }).catch((error) => {
        // The answer to the same request was lost.
        if (!error.message.includes("ExportInProgress")) throw error;
      }),
    );
    const completed = await until(async () => {
      const state = await value("_system/cli/exports:getLatest");
      assert.notEqual(state.state, "failed", JSON.stringify(state));
      return state.state === "completed" && state;
    }, "exported");
    return ask(`/api/export/zip/${completed.start_ts}`);
  };

  await importHerd("herd-0");
  const kills = killLeaders(context, { cluster, prefer: () => {} }, { everyMs: 20_000, awayMs: 3_000 });
  let [imported, isOver] = [0, false];
  const seen = new Set();
  const watching = (async () => {
    while (!isOver) {
      const herds = await value("data:herds");
      assert.deepEqual(Object.values(herds), [herd], "the old data or the new, never a mix");
      seen.add(Object.keys(herds)[0]);
      await sleep(100);
    }
  })();
  watching.catch(() => {});
  whenOver(context, () => (isOver = true));
  while (kills.length < 4 || imported < 4) {
    imported += 1;
    await importHerd(`herd-${imported}`);
    assert.deepEqual(await value("data:herds"), { [`herd-${imported}`]: herd });
    const once = await exported();
    assert.ok(once.equals(await exported()), "equal data makes equal bytes");
  }
  isOver = true;
  await watching;
  assert.ok(seen.size > 2, `only ${[...seen]} were seen`);
  context.diagnostic(`${imported} imports and ${2 * imported} exports through ${kills.length} kills`);
});
