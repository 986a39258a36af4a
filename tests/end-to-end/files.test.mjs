// Files: uploaded to an address that a function gives, read by another, deleted, swept; in a folder and in a bucket.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdir, writeFile } from "node:fs/promises";
import { Agent, createServer, request } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ConvexClient, ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";
import { WebSocket } from "ws";
import { whenOver } from "./harness/cleanup.mjs";
import { callFunction } from "./harness/functions.mjs";
import { randomFrom } from "./harness/load.mjs";
import { watchMemory } from "./harness/memory.mjs";
import { pushApp } from "./harness/project.mjs";
import { startTidemark, temporaryFolder } from "./harness/tidemark.mjs";

const { pictures } = anyApi;
const LIMIT = { timeout: 600_000 };
const MIB = 1 << 20;
const PNG = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==", "base64");
const EMPTY_FOR_MS_MAX = 90_000;
/** The files of which memory is watched: in the data folder, and in a bucket (whose server, here, keeps it in its own memory). */
const LARGE_MEBIBYTES = Number(process.env.LARGE_MEBIBYTES ?? 256);
const BUCKET_MEBIBYTES = Number(process.env.BUCKET_MEBIBYTES ?? 64);
/** More than that must not become resident, however large the file is. */
const GROWTH_MEBIBYTES_MAX = 64;
const limitFor = (mebibytes) => ({ timeout: LIMIT.timeout + mebibytes * 1_000 });

/** Tidemark with the app of pictures; `limits` and `environment` are its configuration. */
async function serveApp(context, { limits = "", ...options } = {}) {
  const file = join(await temporaryFolder(context), "tidemark.toml");
  await writeFile(file, limits);
  const environment = { TIDEMARK_CONFIG: file, ...options.environment };
  const tidemark = await startTidemark(context, { ...options, environment });
  const project = await pushApp(context, tidemark, "files");
  return { tidemark, environment, project, client: new ConvexHttpClient(tidemark.url) };
}

/** As an app's page does it: a mutation gives the address, the bytes are posted there. */
async function upload(client, body, { type = "image/png", ...options } = {}) {
  const url = await client.mutation(pictures.uploadUrl, {});
  const headers = { ...(type && { "Content-Type": type }), ...options.headers };
  return fetch(url, { method: "POST", body, ...options, headers });
}

async function mustUpload(client, body, options) {
  const response = await upload(client, body, options);
  assert.equal(response.status, 200, await response.clone().text());
  const { storageId } = await response.json();
  return storageId;
}

async function refusal(response) {
  const { code } = await response.json();
  return `${response.status} ${code}`;
}

const copyOf = (buffer) => buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.length);

const digestOf = (bytes, encoding = "base64") => createHash("sha256").update(bytes).digest(encoding);

/** The files in which Tidemark keeps what was uploaded, half of it too. */
async function kept(tidemark) {
  const found = await Promise.all(["incoming", "objects"].map((folder) => filesBelow(join(tidemark.dataFolder, "blobs", folder))));
  return found.flat();
}

async function filesBelow(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isFile()).map((entry) => entry.name);
}

async function until(check, what) {
  const deadline = Date.now() + EMPTY_FOR_MS_MAX;
  let seen;
  do {
    seen = await check();
    if (seen === true) {
      return;
    }
    await sleep(50);
  } while (Date.now() < deadline);
  assert.fail(`${what}: ${JSON.stringify(seen)}`);
}

test("an app uploads a picture, shows it, and deletes it", LIMIT, async (context) => {
  const { tidemark, client } = await serveApp(context);
  const live = new ConvexClient(tidemark.url, { webSocketConstructor: WebSocket });
  whenOver(context, () => live.close());
  const shown = [];
  live.onUpdate(pictures.list, {}, (list) => shown.push(list));

  const file = await mustUpload(client, PNG, { headers: { Digest: `sha-256=${digestOf(PNG)}` } });
  assert.match(file, /^kg2[0-9a-z]{29}$/);
  await client.mutation(pictures.add, { title: "dot", file });
  await until(() => shown.at(-1)?.length === 1 || shown, "the picture is not shown");
  const [{ title, url, metadata, document }] = shown.at(-1);
  assert.equal(title, "dot");
  assert.match(url, new RegExp(`^${tidemark.url}/api/storage/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`));
  const { _creationTime, ...fields } = document;
  assert.ok(Math.abs(Date.now() - _creationTime) < 60_000);
  assert.deepEqual(fields, { _id: file, contentType: "image/png", sha256: digestOf(PNG), size: PNG.length });
  assert.deepEqual(metadata, { storageId: file, contentType: "image/png", sha256: digestOf(PNG, "hex"), size: PNG.length });
  assert.equal(await client.query(pictures.url, { file: url.split("/").at(-1) }), url, "older apps keep the UUID");
  assert.equal(await client.query(pictures.normalize, { id: file }), file);

  const response = await fetch(url, { headers: { Origin: "https://app.example" } });
  assert.equal(response.status, 200);
  const headers = Object.fromEntries(response.headers);
  delete headers.date;
  assert.deepEqual(headers, {
    "accept-ranges": "bytes",
    "access-control-allow-credentials": "true",
    "access-control-allow-origin": "https://app.example",
    "access-control-expose-headers": "Accept-Ranges, Content-Range, Digest, ETag",
    "cache-control": "private, max-age=2592000",
    "content-length": `${PNG.length}`,
    "content-type": "image/png",
    digest: `sha-256=${digestOf(PNG)}`,
    etag: `"${digestOf(PNG, "hex")}"`,
    vary: "origin, access-control-request-headers",
    "x-content-type-options": "nosniff",
  });
  assert.deepEqual(Buffer.from(await response.arrayBuffer()), PNG);

  // What is deleted in a mutation that fails is not deleted.
  await assert.rejects(client.mutation(pictures.remove, { file, fail: true }), /changed my mind/);
  assert.equal((await fetch(url)).status, 200);
  await client.mutation(pictures.remove, { file });
  await until(() => shown.at(-1)[0].url === null || shown.at(-1), "the deletion is not shown");
  assert.deepEqual(shown.at(-1), [{ title: "dot", url: null, metadata: null, document: null }]);
  assert.equal(await refusal(await fetch(url)), "404 FileNotFound");
  await assert.rejects(client.mutation(pictures.remove, { file }), /StorageIdNotFound/);
});

test("actions keep what they fetch, read it again, and give addresses", LIMIT, async (context) => {
  const { tidemark, client } = await serveApp(context);
  const bytes = randomBytes(5 * MIB + 3);
  const server = createServer((_, response) => response.setHeader("Content-Type", "image/webp").end(bytes));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  whenOver(context, () => server.close());
  const from = `http://127.0.0.1:${server.address().port}/picture`;
  const file = await client.action(pictures.keep, { title: "fetched", from, sha256: digestOf(bytes) });
  const [{ title, url, document }] = await client.query(pictures.list, {});
  assert.deepEqual([title, document.contentType, document.size], ["fetched", "image/webp", bytes.length]);
  const served = Buffer.from(await (await fetch(url)).arrayBuffer());
  assert.ok(served.equals(bytes));
  await assert.rejects(client.action(pictures.keep, { title: "no", from, sha256: digestOf("else") }), /Sha256 mismatch\. Expected: /);
  assert.equal((await client.query(pictures.files, {})).length, 1);

  const copied = await client.action(pictures.reversed, { file });
  assert.deepEqual(copied.metadata, {
    storageId: copied.copy,
    contentType: "image/webp",
    sha256: digestOf(Buffer.from(bytes).reverse(), "hex"),
    size: bytes.length,
  });
  assert.ok(Buffer.from(await (await fetch(copied.url)).arrayBuffer()).equals(Buffer.from(bytes).reverse()));
  const address = await client.action(pictures.uploadUrlInAction, {});
  assert.equal((await fetch(address, { method: "POST", body: "by an address" })).status, 200);
  await client.action(pictures.removeInAction, { file });
  assert.equal(await client.action(pictures.reversed, { file }), null);
  await assert.rejects(client.action(pictures.removeInAction, { file }), /StorageIdNotFound/);
  await until(async () => (await kept(tidemark)).length === 3 || kept(tidemark), "something is left of the file that was refused");
});

test("files of every size come back, whole and in parts", LIMIT, async (context) => {
  const { client, project } = await serveApp(context);
  for (const size of [0, 1, 65_536, 1_000_003, 9 * MIB]) {
    const bytes = randomBytes(size);
    const url = await client.query(pictures.url, { file: await mustUpload(client, bytes) });
    const whole = await fetch(url);
    assert.equal(digestOf(Buffer.from(await whole.arrayBuffer())), digestOf(bytes), `${size} bytes`);
    const head = await fetch(url, { method: "HEAD" });
    assert.equal(head.headers.get("content-length"), `${size}`);
    assert.equal(head.headers.get("etag"), whole.headers.get("etag"));

    const part = async (range, headers = {}) => {
      const response = await fetch(url, { headers: { Range: range, ...headers } });
      return { status: response.status, range: response.headers.get("content-range"), bytes: Buffer.from(await response.arrayBuffer()) };
    };
    if (size > 0) {
      const [from, to] = [Math.floor(size / 3), Math.floor(size / 2)];
      const middle = await part(`bytes=${from}-${to}`);
      assert.deepEqual([middle.status, middle.range], [206, `bytes ${from}-${to}/${size}`]);
      assert.ok(middle.bytes.equals(bytes.subarray(from, to + 1)));
      assert.ok((await part("bytes=-1")).bytes.equals(bytes.subarray(-1)));
      assert.equal((await part("bytes=0-", { "If-Range": '"another"' })).status, 200, "it is another file by now");
      assert.equal((await part("bytes=0-", { "If-Range": whole.headers.get("etag") })).status, 206);
    }
    const beyond = await part(`bytes=${size}-`);
    assert.deepEqual([beyond.status, beyond.range], [416, `bytes */${size}`]);
    assert.equal((await part("bytes=0-0,2-2")).status, 416);
    const unchanged = await fetch(url, { headers: { "If-None-Match": whole.headers.get("etag") } });
    assert.deepEqual([unchanged.status, await unchanged.text()], [304, ""]);
  }
  const sizes = (await client.query(pictures.files, { largerThan: 1 })).map(({ size }) => size);
  assert.deepEqual(sizes, [9 * MIB, 1_000_003, 65_536], "files are queried as documents are");
  const { output } = await project.mustRun("data", "_storage");
  assert.match(output, /contentType/);
  assert.match(output, /image\/png/);
});

test("what is not as it must be is refused by its code and leaves nothing", LIMIT, async (context) => {
  const limits = "[limits.files]\nfile_bytes_max = 1000\n[limits.gateway]\nupload_stall_ms_max = 3000\n";
  const { tidemark, client } = await serveApp(context, { limits });
  const url = await client.mutation(pictures.uploadUrl, {});
  const post = (address, options) => fetch(address, { method: "POST", body: "bytes", ...options });
  const file = await client.query(pictures.url, { file: await mustUpload(client, "kept", { type: null }) });

  assert.equal(await refusal(await post(`${tidemark.url}/api/storage/upload`)), "401 InvalidStorageToken");
  assert.equal(await refusal(await post(`${url}0`)), "401 StorageTokenInvalid");
  assert.equal(await refusal(await post(url.replace(/..$/, "00"))), "401 StorageTokenInvalid");
  assert.equal(await refusal(await post(url, { headers: { Digest: `sha-256=${digestOf("other")}` } })), "400 Sha256Mismatch");
  assert.equal(await refusal(await post(url, { headers: { Digest: "sha-256=x" } })), "400 InvalidDigest");
  assert.equal(await refusal(await post(url, { headers: { "Content-Type": "a".repeat(2000) } })), "400 InvalidContentType");
  assert.equal(await refusal(await post(url, { body: "x".repeat(1001) })), "413 FileTooLarge");
  const chunked = new Blob(["x".repeat(600), "x".repeat(600)]).stream();
  assert.equal(await refusal(await post(url, { body: chunked, duplex: "half" })), "413 FileTooLarge");
  assert.equal(await refusal(await fetch(url)), "405 MethodNotAllowed");
  assert.equal(await refusal(await post(file)), "405 MethodNotAllowed");
  for (const path of ["nothing", "..%2f..%2fsecret", "%00", file.split("/").at(-1).replaceAll("-", "")]) {
    assert.equal(await refusal(await fetch(`${tidemark.url}/api/storage/${path}`)), "400 InvalidStoragePath", path);
  }
  assert.equal(await refusal(await fetch(`${tidemark.url}/api/storage/a/b`)), "404 NotFound");
  assert.equal(await refusal(await fetch(file.replace(/.$/, (last) => (last === "0" ? "1" : "0")))), "404 FileNotFound");
  assert.equal(await refusal(await fetch(`${file}?component=${"0".repeat(32)}`)), "404 FileNotFound");
  await assert.rejects(client.query(pictures.url, { file: "nothing" }), /InvalidArgument/);

  // An upload that stops coming.
  const stalled = request(url, { method: "POST", headers: { "Content-Length": 100 } });
  stalled.write("half");
  const [answer] = await once(stalled, "response");
  assert.equal(answer.statusCode, 408);
  stalled.destroy();
  // One whose client goes away.
  const cut = request(url, { method: "POST", headers: { "Content-Length": 100 } });
  cut.on("error", () => {});
  cut.write("half");
  await until(async () => (await kept(tidemark)).length > 1, "the upload does not begin");
  cut.destroy();
  await until(async () => (await kept(tidemark)).length === 1 || kept(tidemark), "something is left");
  assert.equal((await client.query(pictures.files, {})).length, 1);

  assert.equal((await post(url)).status, 200, "an address can be used again");
});

test("an address for uploads has an end", LIMIT, async (context) => {
  const { client } = await serveApp(context, { limits: "[limits.files]\nurl_age_ms_max = 1\n" });
  const url = await client.mutation(pictures.uploadUrl, {});
  await sleep(1_000);
  assert.equal(await refusal(await fetch(url, { method: "POST", body: "bytes" })), "401 StorageTokenExpired");
  assert.deepEqual(await client.query(pictures.files, {}), []);
});

test("a page of another origin may upload and read; what a browser would run has no rights", LIMIT, async (context) => {
  const { client } = await serveApp(context);
  const url = await client.mutation(pictures.uploadUrl, {});
  const preflight = await fetch(url, {
    method: "OPTIONS",
    headers: { Origin: "https://app.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,digest" },
  });
  assert.equal(preflight.status, 200);
  assert.equal(preflight.headers.get("access-control-allow-origin"), "https://app.example");
  assert.match(preflight.headers.get("access-control-allow-methods"), /POST/);
  assert.equal(preflight.headers.get("access-control-allow-headers"), "content-type,digest");

  const served = async (type) => {
    const address = await client.query(pictures.url, { file: await mustUpload(client, "<script>steal()</script>", { type }) });
    const { headers } = await fetch(address);
    return [headers.get("content-type"), headers.get("content-security-policy"), headers.get("x-content-type-options")];
  };
  const powerless = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox";
  assert.deepEqual(await served("text/html; charset=utf-8"), ["text/html; charset=utf-8", powerless, "nosniff"]);
  assert.deepEqual(await served("image/svg+xml"), ["image/svg+xml", powerless, "nosniff"]);
  assert.deepEqual(await served("text/plain"), ["text/plain", null, "nosniff"]);
});

test("clients that pause, give up and ask again on the same connection each get their own bytes", LIMIT, async (context) => {
  const { tidemark, client } = await serveApp(context);
  const seed = Number(process.env.SEED ?? Date.now() % 100_000);
  const random = randomFrom(seed);
  const files = [];
  for (const size of [1_000, 65_536, 300_001, 8 * MIB]) {
    const bytes = randomBytes(size);
    files.push({ bytes, url: await client.query(pictures.url, { file: await mustUpload(client, bytes) }) });
  }
  const agent = new Agent({ keepAlive: true, maxSockets: 12 });
  whenOver(context, () => agent.destroy());
  const memory = watchMemory(context, tidemark);
  const counts = { answers: 0, givenUp: 0 };
  const reader = async () => {
    for (let number = 0; number < 20; number++) {
      const { bytes, url } = files[random.below(files.length)];
      const start = random.below(bytes.length);
      const end = start + 1 + random.below(bytes.length - start);
      const givesUpAt = random.chance(0.1) ? start + random.below(end - start) : Infinity;
      const asking = request(url, { agent, headers: { Range: `bytes=${start}-${end - 1}` } }).end();
      const [response] = await once(asking, "response");
      assert.equal(response.statusCode, 206);
      let at = start;
      for await (const piece of response) {
        assert.ok(piece.equals(bytes.subarray(at, at + piece.length)), `SEED=${seed}: other bytes than ${at} and the following came`);
        at += piece.length;
        if (at > givesUpAt) {
          break; // which closes the connection
        }
        if (random.chance(0.05)) {
          await sleep(random.below(30));
        }
      }
      const isWhole = at === end;
      assert.ok(isWhole || at > givesUpAt, `SEED=${seed}: the answer ended at ${at} and not at ${end}`);
      counts[isWhole ? "answers" : "givenUp"]++;
    }
  };
  await Promise.all(Array.from({ length: 24 }, reader));
  assert.ok(counts.answers > 300 && counts.givenUp > 0, JSON.stringify(counts));
  const most = memory.growth();
  assert.ok(most < 64, `SEED=${seed}: ${most} MiB more were resident`);
});

test("a large file takes no memory of its size, in either direction", limitFor(LARGE_MEBIBYTES), async (context) => {
  await passesInFlatMemory(context, await serveApp(context), LARGE_MEBIBYTES);
});

/** Stores a file of that size and reads it again, in pieces on this side, too, while the server's memory is watched. */
async function passesInFlatMemory(context, { tidemark, client }, mebibytes) {
  await mustUpload(client, randomBytes(8 * MIB));
  const watched = watchMemory(context, tidemark);
  const piece = randomBytes(MIB);
  const sent = createHash("sha256");
  async function* body() {
    for (let number = 0; number < mebibytes; number++) {
      piece.writeUInt32LE(number);
      sent.update(piece);
      yield Buffer.from(piece);
    }
  }
  const file = await mustUpload(client, ReadableStream.from(body()), { duplex: "half" });
  const stored = watched.growth();
  const read = createHash("sha256");
  for await (const bytes of (await fetch(await client.query(pictures.url, { file }))).body) {
    read.update(bytes);
  }
  const most = watched.growth();
  context.diagnostic(`${mebibytes} MiB: ${stored.toFixed(0)} MiB more were resident until they were stored, ${most.toFixed(0)} until they were read`);
  assert.equal(read.digest("hex"), sent.digest("hex"));
  assert.ok(most < GROWTH_MEBIBYTES_MAX, `${most} MiB more were resident for a file of ${mebibytes} MiB`);
}

test("killed in the middle of uploads and deletions, no acknowledged file is lost and nothing else is kept", LIMIT, async (context) => {
  await survivesKills(context, { environment: {}, remains: kept });
});

/**
 * Uploads and deletes files while Tidemark is killed, three times. Then each file whose upload was answered and whose deletion was
 * not asked for is there, and after the grace time nothing is that no file has.
 */
async function survivesKills(context, { environment: variables, remains }) {
  const seed = Number(process.env.SEED ?? Date.now() % 100_000);
  const random = randomFrom(seed);
  const limits = "[limits.log]\nheld_ms_max = 7000\n[limits.files]\ngrace_ms = 8000\nsweep_ms = 200\n[limits.gateway]\nupload_ms_max = 6000\nupload_stall_ms_max = 6000\n";
  const { tidemark, environment, client } = await serveApp(context, { limits, environment: variables });
  /** What was answered, and what was asked for without an answer, by the file's id. */
  const files = new Map();
  let acknowledged = 0;
  for (let round = 0; round < 3; round++) {
    let killed = false;
    const worker = async () => {
      while (!killed) {
        try {
          const bytes = randomBytes(random.chance(0.1) ? 9 * MIB : 1 + random.below(300_000));
          const isByAction = random.chance(0.3);
          const id = isByAction ? await client.action(pictures.store, { bytes: copyOf(bytes) }) : await mustUpload(client, bytes);
          files.set(id, { digest: digestOf(bytes, "hex"), deleted: "no" });
          acknowledged += 1;
          if (random.chance(0.4)) {
            files.get(id).deleted = "perhaps";
            await client.mutation(pictures.remove, { file: id });
            files.get(id).deleted = "yes";
          }
        } catch (error) {
          // A busy machine may not manage an upload in the time that there is.
          if (!killed && /RequestTimeout|UploadTooSlow/.test(error.message)) {
            continue;
          }
          assert.ok(killed || error instanceof TypeError, `SEED=${seed}: ${error.stack}`);
          return;
        }
      }
    };
    const workers = Array.from({ length: 6 }, worker);
    const begun = acknowledged;
    await until(() => acknowledged > begun + 10, "uploads don't get on");
    await sleep(random.below(300));
    killed = true;
    await tidemark.kill();
    await Promise.all(workers);
    await tidemark.start(environment);
  }

  const documents = await client.query(pictures.files, {});
  const there = new Map(documents.map(({ _id, sha256 }) => [_id, Buffer.from(sha256, "base64").toString("hex")]));
  for (const [id, { digest, deleted }] of files) {
    if (deleted === "no") {
      assert.equal(there.get(id), digest, `SEED=${seed}: an acknowledged file is lost`);
    } else if (deleted === "yes") {
      assert.ok(!there.has(id), `SEED=${seed}: a deleted file is back`);
    }
  }
  for (const [id, digest] of there) {
    const response = await fetch(await client.query(pictures.url, { file: id }));
    assert.equal(digestOf(Buffer.from(await response.arrayBuffer()), "hex"), digest, `SEED=${seed}: a file has other bytes`);
  }
  await until(async () => {
    const found = await remains(tidemark);
    return found.length === there.size || { files: there.size, kept: found };
  }, `SEED=${seed}: something is kept that no file has`);
}

test("all of it holds in a bucket of an S3-compatible store", LIMIT, async (context) => {
  const { bucket, environment } = await startBucket(context);
  // Code lies in the bucket too; of the rest, every object must be a file's, and no part of one may be left. An upload that was begun in
  // the moment of a kill, before its id was noted, stays without parts.
  const listed = async (query, pattern) => [...(await (await fetch(`${bucket}${query}`)).text()).matchAll(pattern)].map(([, found]) => found);
  const remains = async () => {
    const objects = await listed("?list-type=2&prefix=of/tidemark/objects/", /<Key>(.*?)<\/Key>/g);
    const notes = await listed("?list-type=2&prefix=of/tidemark/incoming/", /<Key>(.*?)<\/Key>/g);
    const uploads = await listed("?uploads", /<Upload>(.*?)<\/Upload>/gs);
    const parts = uploads.map((upload) => {
      const [key, id] = [/<Key>(.*?)<\/Key>/, /<UploadId>(.*?)<\/UploadId>/].map((pattern) => pattern.exec(upload)[1]);
      return listed(`/${key}?uploadId=${encodeURIComponent(id)}`, /<PartNumber>(.*?)<\/PartNumber>/g);
    });
    return [...objects, ...notes, ...(await Promise.all(parts)).flat()];
  };
  await survivesKills(context, { environment, remains });
});

test("a large file takes no memory of its size on its way to a bucket and back", limitFor(BUCKET_MEBIBYTES), async (context) => {
  const { environment } = await startBucket(context);
  await passesInFlatMemory(context, await serveApp(context, { environment }), BUCKET_MEBIBYTES);
});

/** A store with an empty bucket, and the variables that let Tidemark use it. It ends with the test. */
async function startBucket(context) {
  const folder = new URL("s3/", import.meta.url).pathname;
  const server = spawn(join(folder, ".venv/bin/python"), [join(folder, "serve.py")], { stdio: ["pipe", "pipe", "ignore"] });
  whenOver(context, () => server.kill());
  const [line] = await once(server.stdout.setEncoding("utf8"), "data");
  const bucket = `http://127.0.0.1:${line.trim()}/files`;
  assert.equal((await fetch(bucket, { method: "PUT" })).status, 200);
  const environment = {
    TIDEMARK_BLOBS_URL: "s3://files/of/tidemark",
    AWS_ENDPOINT_URL: new URL(bucket).origin,
    AWS_ACCESS_KEY_ID: "someone",
    AWS_SECRET_ACCESS_KEY: "secret",
  };
  return { bucket, environment };
}
