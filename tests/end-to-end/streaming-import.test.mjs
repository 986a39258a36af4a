// Records that another system streams in: the requests of Airbyte's connector for destinations, in its order.
import assert from "node:assert/strict";
import { request } from "node:http";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { askAsAdmin, valueOf } from "./harness/anywhere.mjs";
import { pushApp } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const LIMIT = { timeout: 300_000 };
const UNTIL_MS_MAX = 60_000;

/** The connector sends bodies with GET, which fetch does not. */
async function ask(tidemark, method, endpoint, body) {
  const json = JSON.stringify(body);
  // Without its length Node sends no body by GET.
  const headers = {
    Authorization: `Convex ${tidemark.adminKey}`,
    "Content-Type": "application/json",
    "Content-Length": Buffer.byteLength(json),
    "Convex-Client": "streaming-import-0.1.0",
  };
  return new Promise((resolve, reject) => {
    const sent = request(`${tidemark.url}/api/streaming_import/${endpoint}`, { method, headers }, async (response) => {
      const chunks = [];
      for await (const chunk of response) chunks.push(chunk);
      resolve({ status: response.statusCode, body: JSON.parse(Buffer.concat(chunks)) });
    });
    sent.on("error", reject).end(json);
  });
}

async function mustAsk(tidemark, method, endpoint, body) {
  const answer = await ask(tidemark, method, endpoint, body);
  assert.equal(answer.status, 200, `${endpoint}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}

async function untilReady(tidemark, tables) {
  const deadline = Date.now() + UNTIL_MS_MAX;
  while (!(await mustAsk(tidemark, "GET", "primary_key_indexes_ready", { tables })).indexesReady) {
    assert.ok(Date.now() < deadline, `the indexes of ${tables} are never ready`);
    await sleep(100);
  }
}

const importInto = (tidemark, tables, records) =>
  mustAsk(tidemark, "POST", "import_airbyte_records", {
    tables: Object.fromEntries(Object.entries(tables).map(([name, primaryKey]) => [name, { primaryKey, jsonSchema: { type: "object" } }])),
    messages: records.map(([tableName, data]) => ({ tableName, data })),
  });

async function documents(tidemark, table) {
  const lines = await valueOf(tidemark, "query", "_system/cli/tableData:default", { table, order: "asc", paginationOpts: { numItems: 10_000, cursor: null } });
  return lines.page;
}

test("records are appended, or take the place of those with their primary key", LIMIT, async (context) => {
  const tidemark = await startTidemark(context, { limits: { archive: { batch_documents_max: 7 } } });
  const project = await pushApp(context, tidemark, "copied");
  // A table that has documents, and one that is not there.
  const notes = Array.from({ length: 50 }, (_, number) => ["notes", { text: `note ${number}`, writer: null }]);
  await importInto(tidemark, { notes: null }, notes);
  assert.equal((await documents(tidemark, "notes")).length, 50);
  await mustAsk(tidemark, "PUT", "add_primary_key_indexes", { indexes: { notes: [["text"]], orders: [["id"], ["of", "shop"]] } });
  await untilReady(tidemark, ["notes", "orders"]);
  const before = await documents(tidemark, "notes");
  const keys = { notes: [["text"]], orders: [["id"], ["of", "shop"]] };
  const order = (id, shop, total) => ["orders", { id, of: { shop }, total }];
  await importInto(tidemark, keys, [...notes, order(1, "a", 1), order(1, "b", 2), order(1, "a", 3), order(2, "a", 4)]);
  assert.deepEqual((await documents(tidemark, "notes")).map(({ _id }) => _id), before.map(({ _id }) => _id), "they take the places of those that are there");
  const totals = (await documents(tidemark, "orders")).map(({ id, of, total }) => `${id}${of.shop}=${total}`);
  assert.deepEqual(totals, ["1a=3", "1b=2", "2a=4"]);

  // The index stays when code is pushed, and no function can use it.
  await project.write("convex/byKey.ts", `
    import { query } from "./_generated/server";
    export default query({ args: {}, handler: (ctx) => ctx.db.query("notes").withIndex("_by_primary_key" as any).collect() });`);
  await project.mustRun("deploy", "--typecheck", "disable");
  await importInto(tidemark, keys, [order(2, "a", 5)]);
  const used = JSON.parse(await askAsAdmin(tidemark, "/api/query", { method: "POST", body: JSON.stringify({ path: "byKey:default", args: {} }), headers: { "Content-Type": "application/json" } }));
  assert.equal(used.status, "error", JSON.stringify(used));

  await mustAsk(tidemark, "PUT", "clear_tables", { tableNames: ["orders", "nothing"] });
  assert.deepEqual(await documents(tidemark, "orders"), []);
  await importInto(tidemark, keys, [order(7, "c", 1)]);
  assert.equal((await documents(tidemark, "orders")).length, 1, "the index is there still");
});

test("what can't be imported is refused with a code", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  await pushApp(context, tidemark, "copied");
  const refused = async (method, endpoint, body) => {
    const answer = await ask(tidemark, method, endpoint, body);
    return `${answer.status} ${answer.body.code}`;
  };
  const records = (tables, messages) => ["POST", "import_airbyte_records", { tables, messages }];
  const note = { tableName: "notes", data: { text: "x", writer: null } };
  assert.equal(await refused(...records({}, [note])), "400 InvalidStreamingImport");
  assert.equal(await refused(...records({ notes: { primaryKey: [["text"]] } }, [note])), "400 IndexNotFoundError");
  assert.equal(await refused(...records({ notes: { primaryKey: [["other"]] } }, [note])), "400 InvalidStreamingImport");
  assert.equal(await refused("PUT", "add_primary_key_indexes", { indexes: { notes: [["_id"]] } }), "400 InvalidStreamingImport");
  assert.equal(await refused(...records({ notes: {} }, [{ tableName: "notes", data: [1] }])), "400 InvalidStreamingImport");
  assert.equal(await refused(...records({ notes: {} }, [{ tableName: "notes", data: { text: 7, writer: null } }])), "400 SchemaEnforcementError");
  assert.equal(await refused(...records({ _storage: {} }, [])), "400 InvalidStreamingImport");
  assert.equal(await refused("GET", "primary_key_indexes_ready", { tables: ["notes"] }), "400 IndexNotFoundError");
  assert.equal(await refused("POST", "replace_tables", { tableNames: { a: "b" } }), "400 OverwriteNotSupported");
  assert.equal((await ask({ ...tidemark, url: tidemark.url, adminKey: "dev|00" }, "PUT", "clear_tables", { tableNames: [] })).status, 403);
  assert.deepEqual(await documents(tidemark, "notes"), []);
});
