// Copies of a deployment's documents: streaming export, Airbyte's connector unmodified, and data sync through restarts.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { killLeaders } from "./conformance/cluster.mjs";
import { anywhere, askAsAdmin, valueOf } from "./harness/anywhere.mjs";
import { OF_A_LOST_NODE, startCluster } from "./harness/cluster.mjs";
import { asAdmin, callFunction, post } from "./harness/functions.mjs";
import { randomFrom } from "./harness/load.mjs";
import { pushApp } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const LIMIT = { timeout: 600_000 };
const EVENTUALLY_MS_MAX = 120_000;
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
const connector = new URL("./airbyte/", import.meta.url).pathname;
/** Small pages, so that there are many. */
const SMALL_PAGES = { data_sync: { page_documents_max: 40 } };

async function serveApp(context, options = {}) {
  const tidemark = await startTidemark(context, options);
  await pushApp(context, tidemark, "copied");
  return tidemark;
}

async function apply(tidemark, changes) {
  const { body } = await callFunction(tidemark, "mutation", "copied:apply", { changes });
  assert.equal(body.status, "success", JSON.stringify(body));
}

async function until(check, what) {
  const deadline = Date.now() + EVENTUALLY_MS_MAX;
  while (!(await check())) {
    assert.ok(Date.now() < deadline, `${what} did not come in ${EVENTUALLY_MS_MAX} ms`);
    await sleep(100);
  }
}

const people = (names) => names.map((name, score) => ({ kind: "insert", name, score }));

async function get(tidemark, path) {
  const response = await fetch(tidemark.url + path, asAdmin(tidemark));
  const text = await response.text();
  return { status: response.status, text, body: JSON.parse(text) };
}

async function mustGet(tidemark, path) {
  const { status, text, body } = await get(tidemark, path);
  assert.equal(status, 200, text);
  return { text, body };
}

/** JSON integers beyond what a double holds, as they stand in a text. */
function integer(text, name) {
  const found = text.match(new RegExp(`"${name}":(\\d+)[,}]`));
  assert.ok(found, `no integer ${name} in ${text.slice(0, 300)}`);
  return BigInt(found[1]);
}

/** Reads a whole snapshot; the documents by id, and its moment. */
async function readSnapshot(tidemark, table, between = async () => {}) {
  const documents = new Map();
  let query = `tableName=${table}&format=json`;
  let snapshot;
  for (;;) {
    const { text, body } = await mustGet(tidemark, `/api/list_snapshot?${query}`);
    body.values.forEach((value) => documents.set(value._id, value));
    const moment = integer(text, "snapshot");
    assert.ok(snapshot === undefined || snapshot === moment, "the pages are of one moment");
    snapshot = moment;
    if (!body.hasMore) return { documents, snapshot };
    query = `tableName=${table}&format=json&snapshot=${snapshot}&cursor=${encodeURIComponent(body.cursor)}`;
    await between();
  }
}

/** Takes in what has changed since a moment; returns the one that it has come to. */
async function followDeltas(tidemark, table, documents, cursor) {
  for (;;) {
    const { text, body } = await mustGet(tidemark, `/api/document_deltas?tableName=${table}&format=json&cursor=${cursor}`);
    for (const value of body.values) {
      assert.equal(value._table, table);
      if (value._deleted) documents.delete(value._id);
      else documents.set(value._id, value);
    }
    const next = integer(text, "cursor");
    assert.ok(next >= cursor, "cursors never go back");
    cursor = next;
    if (!body.hasMore) return cursor;
  }
}

const withoutAdded = ({ _ts, _table, _component, _deleted, ...rest }) => rest;
const byId = (one, other) => (one._id < other._id ? -1 : 1);

async function everything(tidemark, table) {
  const response = await post(tidemark, "/api/query", JSON.stringify({ path: "copied:all", format: "json", args: {} }));
  const { value } = await response.json();
  return value[table].sort(byId);
}

test("a snapshot and the deltas from it on are what there is, through a kill -9 between two pages", LIMIT, async (context) => {
  const tidemark = await serveApp(context, { limits: SMALL_PAGES });
  await apply(tidemark, people(Array.from({ length: 150 }, (_, number) => `person ${number}`)));
  let pages = 0;
  const { documents, snapshot } = await readSnapshot(tidemark, "people", async () => {
    pages += 1;
    await apply(tidemark, [
      { kind: "patch", name: `person ${pages}`, score: 1000 + pages },
      { kind: "remove", name: `person ${100 + pages}` },
      { kind: "insert", name: `late ${pages}`, score: pages },
    ]);
    if (pages === 2) {
      await tidemark.kill();
      await tidemark.start();
    }
  });
  assert.ok(pages >= 3, "there were several pages");
  assert.equal(documents.size, 150, "the snapshot is of its moment, whatever came meanwhile");
  const cursor = await followDeltas(tidemark, "people", documents, snapshot);
  assert.deepEqual([...documents.values()].map(withoutAdded).sort(byId), await everything(tidemark, "people"));

  // Nothing has changed, and then one document has.
  const { body } = await mustGet(tidemark, `/api/document_deltas?tableName=people&format=json&cursor=${cursor}`);
  assert.deepEqual([body.values, body.hasMore], [[], false]);
  await apply(tidemark, [{ kind: "remove", name: "person 0" }]);
  const after = await mustGet(tidemark, `/api/document_deltas?tableName=people&format=json&cursor=${cursor}`);
  const [deleted] = after.body.values;
  assert.deepEqual(Object.keys(deleted).sort(), ["_component", "_deleted", "_id", "_table", "_ts"]);
  assert.ok(integer(after.text, "_ts") > cursor);
});

test("values are clean JSON, schemas describe them, and without a table all come", LIMIT, async (context) => {
  const tidemark = await serveApp(context);
  await apply(tidemark, [...people(["Ada"]), { kind: "note", text: "hello" }]);
  const { text, body } = await mustGet(tidemark, "/api/list_snapshot?format=json");
  const ada = body.values.find((value) => value._table === "people");
  assert.equal(ada.big, "9007199254740993");
  assert.equal(ada.bytes, "AQID");
  assert.equal(body.values.find((value) => value._table === "notes").writer, ada._id);
  assert.ok(integer(text, "_ts") > 2n ** 53n);
  const encoded = await mustGet(tidemark, "/api/list_snapshot?format=convex_encoded_json&tableName=people");
  assert.deepEqual(encoded.body.values[0].big, { $integer: "AQAAAAAAIAA=" });

  const schemas = (await mustGet(tidemark, "/api/json_schemas?deltaSchema=true&format=json")).body;
  assert.deepEqual(Object.keys(schemas).sort(), ["notes", "people"]);
  assert.deepEqual(schemas.people.properties.name, { type: "string" });
  assert.deepEqual(schemas.people.properties._ts, { type: "integer" });
  assert.equal((await get(tidemark, "/api/test_streaming_export_connection")).status, 200);
});

test("what can't be read is refused with a code", LIMIT, async (context) => {
  const tidemark = await serveApp(context);
  const refused = async (path) => {
    const { status, body } = await get(tidemark, path);
    return `${status} ${body.code}`;
  };
  assert.equal(await refused("/api/document_deltas?format=json"), "400 DocumentDeltasCursorRequired");
  assert.equal(await refused("/api/document_deltas?format=json&cursor=1"), "400 InvalidWindowToReadDocuments");
  const { text } = await mustGet(tidemark, "/api/list_snapshot?format=json");
  const snapshot = integer(text, "snapshot");
  assert.equal(await refused("/api/document_deltas?format=json&cursor=1"), "400 InvalidWindowToReadDocuments");
  assert.equal(await refused(`/api/document_deltas?format=json&cursor=${snapshot + 10n ** 18n}`), "400 InvalidWindowToReadDocuments");
  assert.equal(await refused("/api/list_snapshot?format=json&snapshot=1"), "400 SnapshotTooOld");
  assert.equal(await refused("/api/list_snapshot?format=json&cursor=nonsense"), "400 InvalidCursor");
  assert.equal(await refused("/api/list_snapshot?format=xml"), "400 BadFormat");
  const unread = await get(tidemark, "/api/list_snapshot?snapshot=abc");
  assert.deepEqual([unread.body.code, /snapshot: /.test(unread.body.message)], ["InvalidParameters", true], unread.text);
  assert.match((await get(tidemark, "/api/document_deltas?cursor=-1")).body.message, /cursor: /);
  const anonymous = await fetch(`${tidemark.url}/api/list_snapshot?format=json`);
  assert.equal(anonymous.status, 401);
  const wrong = await fetch(`${tidemark.url}/api/json_schemas`, { headers: { Authorization: "Convex dev|0123" } });
  assert.equal(`${wrong.status} ${(await wrong.json()).code}`, "403 BadDeployKey");
});

test("deltas from before a table was replaced as a whole are refused, and those of other tables go on", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  const project = await pushApp(context, tidemark, "copied");
  await apply(tidemark, [...people(["Ada", "Grace"]), { kind: "note", text: "one" }]);
  const deltas = async (cursor, table) => {
    const { status, body } = await get(tidemark, `/api/document_deltas?format=json&cursor=${cursor}${table ? `&tableName=${table}` : ""}`);
    return status === 200 ? body.values.length : `${status} ${body.code}`;
  };
  const refused = "400 InvalidWindowToReadDocuments";

  const { snapshot } = await readSnapshot(tidemark, "people");
  const cleared = await fetch(`${tidemark.url}/api/streaming_import/clear_tables`, {
    ...asAdmin(tidemark),
    method: "PUT",
    headers: { ...asAdmin(tidemark).headers, "Content-Type": "application/json" },
    body: JSON.stringify({ tableNames: ["people"] }),
  });
  assert.equal(cleared.status, 200, await cleared.text());
  assert.deepEqual([await deltas(snapshot, "people"), await deltas(snapshot), await deltas(snapshot, "notes")], [refused, refused, 0]);
  // Nor does it concern whoever has left the table out, or asks for one of that name elsewhere.
  const withoutPeople = await fetch(`${tidemark.url}/api/document_deltas`, {
    ...asAdmin(tidemark),
    method: "POST",
    headers: { ...asAdmin(tidemark).headers, "Content-Type": "application/json" },
    body: `{"format":"json","cursor":${snapshot},"selection":{"_other":"incl","":{"_other":"incl","people":"excl"}}}`,
  });
  assert.deepEqual((await withoutPeople.json()).values, []);
  assert.equal(await deltas(snapshot, "people&component=elsewhere"), 0);

  const afterwards = await readSnapshot(tidemark, "people");
  assert.equal(afterwards.documents.size, 0);
  await apply(tidemark, people(["Edsger"]));
  assert.deepEqual([await deltas(afterwards.snapshot, "people"), await deltas(afterwards.snapshot)], [1, 1]);

  await project.write("notes.jsonl", '{"text":"two","writer":null}\n');
  await project.mustRun("import", "--table", "notes", "--replace", "--yes", "notes.jsonl");
  assert.deepEqual([await deltas(afterwards.snapshot, "people"), await deltas(afterwards.snapshot, "notes")], [1, refused]);
  const notes = await readSnapshot(tidemark, "notes");
  assert.deepEqual([...notes.documents.values()].map(({ text }) => text), ["two"]);
  assert.equal(await deltas(notes.snapshot), 0);
});

test("Airbyte's connector reads all, and then what has changed", LIMIT, async (context) => {
  const tidemark = await serveApp(context, { limits: SMALL_PAGES });
  await apply(tidemark, [...people(Array.from({ length: 90 }, (_, number) => `person ${number}`)), { kind: "note", text: "one" }]);
  const read = async (...words) => {
    const python = `${connector}.venv/bin/python`;
    const { stdout } = await promisify(execFile)(python, [`${connector}read.py`, tidemark.url, tidemark.adminKey, ...words], { maxBuffer: 1 << 26 });
    const lines = stdout.trim().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(lines[0], { connected: true, error: null });
    const records = (stream) => lines.filter((line) => line.record && line.stream === stream).map((line) => line.record);
    const states = Object.fromEntries(lines.filter((line) => line.state).map((line) => [line.stream, line]));
    return { records, states, stdout };
  };
  const full = await read("full");
  assert.equal(full.records("people").length, 90);
  assert.equal(full.records("notes").length, 1);
  const first = await read("incremental");
  const documents = new Map(first.records("people").map((record) => [record._id, record]));
  assert.equal(documents.size, 90);
  await apply(tidemark, [{ kind: "patch", name: "person 1", score: 77 }, { kind: "remove", name: "person 2" }, ...people(["late"])]);
  // The state as the connector printed it: its integers are larger than a double's.
  const states = first.stdout.trim().split("\n").filter((line) => line.includes('"state"')).map((line) => {
    const { stream } = JSON.parse(line);
    return `${JSON.stringify(stream)}: ${line.match(/"state": (\{.*?\})/)[1]}`;
  });
  const second = await read("incremental", `{${states.join(", ")}}`);
  assert.equal(second.records("people").length, 3, "only what has changed");
  for (const record of second.records("people")) {
    if (record._deleted) documents.delete(record._id);
    else documents.set(record._id, record);
  }
  const found = [...documents.values()].map(({ _ab_cdc_lsn, _ab_cdc_updated_at, _ab_cdc_deleted_at, ...rest }) => withoutAdded(rest));
  assert.deepEqual(found.sort(byId), await everything(tidemark, "people"));
});

/** A copy that is kept by data sync, as a consumer with a database would: a page and its cursor are taken in at once. */
class Copy {
  cursor = null;
  tables = new Map();
  pages = 0;

  constructor(selection) {
    this.selection = selection;
  }

  /** Asks for the next page. Returns the moment, as text, at which the copy is exact; `null` while it is not. */
  async page(tidemark) {
    const response = await post(tidemark, "/api/v1/data/sync", JSON.stringify({ cursor: this.cursor, selection: this.selection }), asAdmin(tidemark));
    const text = await response.text();
    if (response.status !== 200) throw Object.assign(new Error(text), { body: JSON.parse(text), status: response.status });
    const page = JSON.parse(text);
    this.sync ??= page.syncId;
    assert.equal(page.syncId, this.sync);
    page.truncates.forEach(({ component, table }) => this.#table(component, table).clear());
    for (const { component, table, deleted, value } of page.values) {
      if (deleted) this.#table(component, table).delete(value._id);
      else this.#table(component, table).set(value._id, value);
    }
    this.cursor = page.pagination.nextCursor;
    this.pages += 1;
    assert.equal(page.pagination.hasMore, page.status.type === "inProgress");
    return page.status.type === "synced" ? integer(text, "syncedTs") : null;
  }

  async untilSynced(tidemark) {
    for (;;) {
      const synced = await this.page(tidemark);
      if (synced !== null) return synced;
    }
  }

  #table(component, table) {
    const name = component ? `${component}/${table}` : table;
    if (!this.tables.has(name)) this.tables.set(name, new Map());
    return this.tables.get(name);
  }

  documents(table) {
    return [...(this.tables.get(table)?.values() ?? [])].sort(byId);
  }
}

/** What there was at a moment, as exports write it. */
async function everythingAt(tidemark, timestamp) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(timestamp);
  const body = JSON.stringify({ path: "copied:all", format: "export_json", args: {}, ts: bytes.toString("base64") });
  const headers = { "Content-Type": "application/json" };
  const answer = JSON.parse(await askAsAdmin(tidemark, "/api/query_at_ts", { method: "POST", body, headers }));
  assert.equal(answer.status, "success", JSON.stringify(answer));
  return answer.value;
}

async function assertExact(tidemark, copy, timestamp) {
  const expected = await everythingAt(tidemark, timestamp);
  for (const table of ["people", "notes"]) {
    assert.deepEqual(copy.documents(table), expected[table].sort(byId), `${table} at ${timestamp}`);
  }
}

test(`a copy is exact at every checkpoint, through random writes and kill -9 (SEED=${SEED})`, LIMIT, async (context) => {
  const random = randomFrom(SEED);
  const tidemark = await serveApp(context, { limits: { data_sync: { page_documents_max: 25 } } });
  const name = () => `person ${random.below(60)}`;
  const someChanges = () =>
    Array.from({ length: 1 + random.below(12) }, () => {
      switch (random.below(6)) {
        case 0:
        case 1:
          return { kind: "insert", name: name(), score: random.below(1000) };
        case 2:
          return { kind: "patch", name: name(), score: random.below(1000) };
        case 3:
          return { kind: "remove", name: name() };
        case 4:
          return { kind: "note", text: `note ${random.below(1000)}` };
        default:
          return { kind: "forget" };
      }
    });
  await apply(tidemark, people(Array.from({ length: 60 }, (_, number) => `person ${number}`)));
  const copy = new Copy();
  let checkpoints = 0;
  for (let round = 0; round < 120; round++) {
    await apply(tidemark, someChanges());
    if (random.chance(0.5)) {
      // A consumer that dies before it has taken in a page asks for it again.
      if (random.chance(0.2)) await Object.assign(new Copy(), { cursor: copy.cursor, sync: copy.sync }).page(tidemark);
      const synced = await copy.page(tidemark);
      if (synced !== null) {
        await assertExact(tidemark, copy, synced);
        checkpoints += 1;
      }
    }
    if (random.chance(0.05)) {
      await tidemark.kill();
      await tidemark.start();
    }
  }
  await assertExact(tidemark, copy, await copy.untilSynced(tidemark));
  assert.ok(checkpoints >= 5, `only ${checkpoints} checkpoints were compared`);
  const { body } = await mustGet(tidemark, "/api/v1/data/list_active_syncs");
  assert.equal(body.syncs.find((sync) => sync.syncId === copy.sync).status.type, "synced");
  assert.equal(body.pagination.hasMore, false);
});

test("a selection names what is synced, and a change of it takes new tables from scratch", LIMIT, async (context) => {
  const tidemark = await serveApp(context);
  await apply(tidemark, [...people(["Ada", "Grace"]), { kind: "note", text: "one" }]);
  const copy = new Copy({ _other: "excl", "": { _other: "excl", people: { _other: "incl", score: "excl" } } });
  await copy.untilSynced(tidemark);
  assert.deepEqual(copy.documents("people").map((person) => [person.name, "score" in person]).sort(), [["Ada", false], ["Grace", false]]);
  assert.deepEqual(copy.documents("notes"), []);
  // Integers without a fraction are Int64, as in exports.
  assert.equal(copy.documents("people")[0]._creationTime > 0, true);
  copy.selection = null;
  await apply(tidemark, [{ kind: "remove", name: "Ada" }]);
  await assertExact(tidemark, copy, await copy.untilSynced(tidemark));

  for (const [selection, code] of [[{ "": "incl" }, "InvalidSelection"], [[], "InvalidSelection"]]) {
    const refused = new Copy(selection);
    await assert.rejects(refused.page(tidemark), (error) => error.body.code === code && error.status === 400);
  }
});

test("a sync that nobody asks for ends, and so do notes of changes", LIMIT, async (context) => {
  const limits = { data_sync: { sync_idle_ms_max: 5_000, sweep_ms: 200 } };
  const tidemark = await serveApp(context, { limits });
  await apply(tidemark, people(["Ada"]));
  const copy = new Copy();
  await copy.untilSynced(tidemark);
  const { text } = await mustGet(tidemark, "/api/list_snapshot?format=json");
  const snapshot = integer(text, "snapshot");
  await until(async () => (await mustGet(tidemark, "/api/v1/data/list_active_syncs")).body.syncs.length === 0, "the end of the sync");
  await assert.rejects(copy.page(tidemark), (error) => error.status === 400 && error.body.code === "DataSyncCursorExpired");
  assert.equal((await get(tidemark, `/api/document_deltas?format=json&cursor=${snapshot}`)).status, 200);

  // Started anew, with room for hardly any notes.
  const again = new Copy();
  await again.untilSynced(tidemark);
  await tidemark.stop();
  const file = `${tidemark.dataFolder}.toml`;
  await writeFile(file, "[limits.data_sync]\nhistory_bytes_max = 1\nsweep_ms = 200\n");
  await tidemark.start({ TIDEMARK_CONFIG: file });
  await apply(tidemark, [{ kind: "patch", name: "Ada", score: 2 }]);
  const deltas = () => get(tidemark, `/api/document_deltas?format=json&cursor=${snapshot}`);
  await until(async () => (await deltas()).status !== 200, "the end of the notes");
  const refused = await deltas();
  assert.equal(`${refused.status} ${refused.body.code}`, "400 InvalidWindowToReadDocuments");
  await assert.rejects(again.page(tidemark), (error) => error.body.code === "DataSyncCursorExpired");
  const old = await get(tidemark, `/api/list_snapshot?format=json&snapshot=${snapshot}`);
  assert.equal(`${old.status} ${old.body.code}`, "400 SnapshotTooOld");
  const anew = new Copy();
  await anew.untilSynced(tidemark);
  assert.deepEqual(anew.documents("people").map((person) => person.score), [2]);
});

test(`a copy is exact at every checkpoint, whichever node is asked, while whoever leads is killed every 20 seconds (SEED=${SEED})`, LIMIT, async (context) => {
  const random = randomFrom(SEED);
  const cluster = await startCluster(context, { allowedInLog: OF_A_LOST_NODE, limits: { data_sync: { page_documents_max: 200 } } });
  await pushApp(context, cluster.nodes[0], "copied");
  const somewhere = (ask) => anywhere(cluster, random, ask);
  // What may have taken effect without an answer is made again: every name is inserted once.
  const change = (changes) => somewhere((node) => valueOf(node, "mutation", "copied:apply", { changes }));
  const names = 300;
  await change(people(Array.from({ length: names }, (_, number) => `person ${number}`)));
  const kills = killLeaders(context, { cluster, prefer: () => {} }, { everyMs: 20_000, awayMs: 3_000 });
  const someChange = () => {
    const name = `person ${random.below(names)}`;
    switch (random.below(4)) {
      case 0:
        return { kind: "remove", name };
      case 1:
        return { kind: "insert", name, score: random.below(1000) };
      case 2:
        return { kind: "note", text: `note ${random.below(1000)}` };
      default:
        return { kind: "patch", name, score: random.below(1000) };
    }
  };
  let copy = new Copy();
  let [checkpoints, begun] = [0, 1];
  for (let round = 1; kills.length < 4; round++) {
    await change(Array.from({ length: 1 + random.below(5) }, someChange));
    // Now and then another consumer begins, so that tables are taken from scratch under every leader.
    if (round % 40 === 0) {
      copy = new Copy();
      begun += 1;
    }
    const synced = await somewhere((node) => copy.page(node));
    if (synced === null) continue;
    await somewhere((node) => assertExact(node, copy, synced));
    checkpoints += 1;
  }
  let synced = null;
  while (synced === null) synced = await somewhere((node) => copy.page(node));
  await somewhere((node) => assertExact(node, copy, synced));
  context.diagnostic(`${checkpoints} checkpoints of ${begun} copies through ${kills.length} kills`);
  assert.ok(checkpoints >= 20, `only ${checkpoints} checkpoints were compared`);
});
