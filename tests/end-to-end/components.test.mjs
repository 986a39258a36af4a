// Components: an app's own, which it mounts under two names, and those of npm as published, all in one app (components-app/) that the
// official command line pushes.
import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";
import { exportJWK, exportPKCS8, generateKeyPair } from "jose";
import { asAdmin, callFunction, post, setVariables } from "./harness/functions.mjs";
import { connect, follow } from "./harness/live.mjs";
import { createProject } from "./harness/project.mjs";
import { siteUrlOf, startTidemark } from "./harness/tidemark.mjs";

const { agents, auth, betterAuth, library, mail, packages, streaming, walls, work } = anyApi;
const LIMIT = { timeout: 300_000 };
const APP = new URL("components-app", import.meta.url).pathname;
const WEBHOOK_KEY = randomBytes(24).toString("base64");
/** For what happens by itself. */
const WAIT_MS_MAX = 120_000;

const file = { after };
const tidemark = await startTidemark(file, { limits: { cron: { splay_seconds: 1 } } });
const project = await createProject(file, tidemark, { app: APP, isInstalled: true, alone: true });
const client = new ConvexHttpClient(tidemark.url, { logger: false });
const { privateKey, publicKey } = await generateKeyPair("RS256", { extractable: true });
await setVariables(tidemark, {
  GREETING: "hello",
  ONLY_OF_APP: "yes",
  BETTER_AUTH_SECRET: randomBytes(32).toString("base64"),
  RESEND_API_KEY: "re_none",
  RESEND_WEBHOOK_SECRET: `whsec_${WEBHOOK_KEY}`,
  JWT_PRIVATE_KEY: (await exportPKCS8(privateKey)).trimEnd().replaceAll("\n", " "),
  JWKS: JSON.stringify({ keys: [{ use: "sig", ...(await exportJWK(publicKey)) }] }),
  SITE_URL: "http://page.example",
});
const pushed = await project.mustRun("deploy", "--typecheck", "disable");

/** Asks until `check` holds for the answer, which comes back. */
async function eventually(ask, check) {
  const deadline = Date.now() + WAIT_MS_MAX;
  for (;;) {
    const answer = await ask();
    if (check(answer)) {
      return answer;
    }
    assert.ok(Date.now() < deadline, `it stays ${JSON.stringify(answer, (_, value) => (typeof value === "bigint" ? `${value}` : value))}`);
    await sleep(50);
  }
}

async function askSystem(name, args) {
  const { body } = await callFunction(tidemark, "query", `_system/frontend/${name}`, args, asAdmin(tidemark));
  assert.equal(body.status, "success", JSON.stringify(body));
  return body.value;
}

/** What the server says of the component at a path; `undefined` if there is none. */
const componentAt = async (path) => (await askSystem("components:list", {})).find((component) => component.path === path);

test("a push installs every instance once, and finishing it again changes nothing", LIMIT, async () => {
  for (const name of ["first", "second", "serial", "workflow/workpool", "resend/emailWorkpool/batchWorker"]) {
    assert.match(pushed.output, new RegExp(`Installed component ${name}\\b`));
  }
  const again = await project.mustRun("deploy", "--typecheck", "disable");
  assert.doesNotMatch(again.output, /nstalled component/);
});

test("each instance has tables of its own, whose ids mean nothing elsewhere", LIMIT, async () => {
  const { id } = await client.mutation(walls.add, { to: "first", text: "of the first" });
  await client.mutation(walls.add, { to: "second", text: "of the second" });
  await client.mutation(walls.addOwn, { text: "of the app" });
  const { own, first, second } = await client.query(walls.list);
  assert.ok(own.includes("of the app") && !own.some((text) => text.startsWith("of the f") || text === "of the second"));
  assert.ok(first.includes("of the first") && !first.includes("of the second") && !first.includes("of the app"));
  assert.ok(second.includes("of the second") && !second.includes("of the first"));
  assert.equal((await client.query(walls.get, { from: "first", id })).text, "of the first");
  assert.equal(await client.query(walls.get, { from: "second", id }), null);
});

test("a live query sees what happens in a component, and what does not concern it leaves it alone", LIMIT, async (context) => {
  const { results, until } = follow(connect(context, tidemark), walls.since, { from: "second", committed: 0n });
  const before = (await until(() => true)).length;
  await client.mutation(walls.add, { to: "first", text: "elsewhere" });
  await client.mutation(walls.add, { to: "second", text: "here" });
  await until((notes) => notes.length === before + 1);
  assert.equal(results.length, 2);
});

test("a component's mutation that fails is undone alone, and its error comes to the caller whole", LIMIT, async () => {
  const data = await client.mutation(walls.survive, { text: "survivor" });
  assert.deepEqual(data, { reason: "refused", text: "survivor" });
  const { own, first } = await client.query(walls.list);
  assert.ok(own.includes("survivor") && !first.includes("survivor"));
});

test("nobody gets past what a component shows: no internal function, no client, no wrong argument", LIMIT, async () => {
  const attempts = await client.action(walls.trespass);
  assert.match(attempts.internal, /Could not find function/);
  assert.match(attempts.missing, /Could not find function/);
  assert.match(attempts.component, /ComponentNotFound/);
  assert.match(attempts.arguments, /ArgumentValidationError/);
  assert.match(attempts.handle, /InvalidFunctionHandle/);
  const call = { path: "lib:list", componentPath: "first", args: {}, format: "convex_encoded_json" };
  const post = (headers) => fetch(`${tidemark.url}/api/function`, { method: "POST", body: JSON.stringify(call), headers: { "Content-Type": "application/json", ...headers } });
  assert.equal((await post({})).status, 403);
  assert.equal((await (await post(asAdmin(tidemark).headers)).json()).status, "success");
});

test("a component sees the variables that it was given, and follows their changes", LIMIT, async () => {
  const site = await siteUrlOf(tidemark);
  const { first, second } = await client.query(walls.environment);
  assert.deepEqual(first, { greeting: "hello", level: "loud", ofApp: null, site: `${site}/notes` });
  assert.deepEqual(second, { greeting: null, level: null, ofApp: null, site });
  await setVariables(tidemark, { GREETING: "good day" });
  assert.equal((await client.query(walls.environment)).first.greeting, "good day");
  await setVariables(tidemark, { GREETING: "hello" });
});

test("handles are the same strings across pushes, and lead up and down within one transaction", LIMIT, async () => {
  const handles = await client.query(walls.handles);
  assert.equal(new Set(Object.values(handles)).size, 3);
  const called = await client.mutation(walls.byHandle, { text: "by handle" });
  assert.equal(called.result, "recorded by handle");
  const { own, first, second } = await client.query(walls.list);
  assert.ok(own.includes("by handle") && first.includes("before by handle") && second.includes("by handle, and down again"));
  const failed = await client.mutation(walls.byHandle, { text: "bad one" });
  assert.deepEqual(failed.caught, { why: "bad one" });
  const after = await client.query(walls.list);
  assert.ok(!after.own.includes("bad one") && after.first.includes("before bad one"));
  await project.write("convex/more.ts", `export { list } from "./walls.js";\n`);
  await project.mustRun("deploy", "--typecheck", "disable");
  assert.deepEqual(await client.query(walls.handles), handles);
  await project.remove("convex/more.ts");
  await project.mustRun("deploy", "--typecheck", "disable");
});

test("a query on a stale snapshot sees nothing of its transaction, and nothing makes the two conflict", LIMIT, async () => {
  const { stale, own } = await client.mutation(walls.stale);
  assert.ok(own.includes("not there yet") && !stale.includes("not there yet"));
});

test("the timestamp of a commit is in its documents, in index ranges and in what it returns", LIMIT, async () => {
  const { committed: one } = await client.mutation(walls.add, { to: "second", text: "one" });
  const { committed: two } = await client.mutation(walls.add, { to: "second", text: "two" });
  assert.ok(typeof one === "bigint" && one < two, `${one} ${two}`);
  assert.deepEqual(await client.query(walls.since, { from: "second", committed: one }), [
    { text: "one", committed: one },
    { text: "two", committed: two },
  ]);
  assert.deepEqual(await client.query(walls.since, { from: "second", committed: two + 1n }), []);
  // Many at the same time: each has its own, in the order of the commits.
  const added = await Promise.all(Array.from({ length: 20 }, (_, at) => client.mutation(walls.add, { to: "second", text: `many ${at}` })));
  const since = await client.query(walls.since, { from: "second", committed: two + 1n });
  assert.deepEqual(since.map((note) => note.committed), added.map((note) => note.committed).sort((a, b) => (a < b ? -1 : 1)));
});

test("a component paginates", LIMIT, async () => {
  const all = (await client.query(walls.list)).first;
  const seen = [];
  for (let cursor = null, isDone = false; !isDone; ) {
    const page = await client.query(walls.page, { cursor, numItems: 2 });
    assert.ok(page.page.length <= 2);
    seen.push(...page.page);
    ({ isDone, continueCursor: cursor } = page);
  }
  assert.deepEqual(seen, all);
});

test("functions know where they are; users are known to the app alone", LIMIT, async () => {
  const { own, first } = await client.query(walls.whereIsIt);
  assert.deepEqual(own.metadata, { name: "walls:whereIsIt", componentPath: "", type: "query", visibility: "public" });
  assert.equal(first.metadata.name, "lib:whereAmI");
  assert.equal(first.metadata.componentPath, "first");
  const asUser = new ConvexHttpClient(tidemark.url, { logger: false });
  asUser.setAdminAuth(tidemark.adminKey, { subject: "somebody", issuer: "https://issuer.example", tokenIdentifier: "x" });
  const seen = await asUser.query(walls.whereIsIt);
  assert.equal(seen.own.user, "somebody");
  assert.equal(seen.first.user, null);
});

test("limits are those of the whole transaction, and those of a call within it lower", LIMIT, async () => {
  const { before, within, after, few } = await client.query(walls.metrics);
  assert.ok(within.used > before.used && after.used === within.used, JSON.stringify({ before, within, after }));
  assert.equal(within.used + within.remaining, before.used + before.remaining);
  assert.match(few, /TooManyDocumentsRead/);
});

test("jobs are those of the component that has scheduled them, wherever they run", LIMIT, async () => {
  const id = await client.mutation(walls.later, { text: "later" });
  await client.mutation(walls.scheduleUp, { text: "scheduled upwards" });
  await client.mutation(walls.scheduleDown, { text: "scheduled downwards" });
  const { own, first } = await eventually(
    () => client.query(walls.list),
    ({ own, first, second }) => first.includes("later") && own.includes("scheduled upwards") && second.includes("scheduled downwards"),
  );
  assert.ok(first.includes("job of later") && own.length > 0);
  const jobs = await eventually(() => client.query(walls.jobs), ({ own, first }) => [...own, ...first].every((job) => job.state === "success"));
  assert.deepEqual(jobs.first.map((job) => job.name).sort(), ["lib.js:addScheduled", "walls.js:record"]);
  assert.deepEqual(jobs.own, [{ name: "lib.js:add", state: "success", args: [{ text: "scheduled downwards" }] }]);
  assert.deepEqual(jobs.second, []);
  const job = await client.query(walls.job, { from: "first", id });
  assert.deepEqual(Object.keys(job).sort(), ["_creationTime", "_id", "args", "completedTime", "name", "scheduledTime", "state"]);
  assert.equal(await client.query(walls.job, { from: "second", id }), null);
});

test("jobs are listed and cancelled with the others of the component that has scheduled them", LIMIT, async () => {
  const up = await client.mutation(walls.scheduleUp, { text: "never", ms: 3_600_000 });
  const down = await client.mutation(walls.scheduleDown, { text: "never", ms: 3_600_000 });
  const componentId = (await componentAt("first")).id;
  const upcoming = async (componentId) => (await askSystem("scheduler:upcomingJobs", { limit: 100, componentId })).jobs.map((job) => job._id);
  const [ofApp, ofFirst] = [await upcoming(null), await upcoming(componentId)];
  assert.ok(ofApp.includes(down) && !ofApp.includes(up), JSON.stringify({ ofApp, up, down }));
  assert.deepEqual(ofFirst, [up]);
  const cancelAll = async (body) => {
    const answer = await post(tidemark, "/api/cancel_all_jobs", JSON.stringify(body), asAdmin(tidemark));
    return (await answer.json()).canceled;
  };
  assert.equal(await cancelAll({ componentId }), 1);
  assert.ok((await cancelAll({})) >= 1);
  assert.deepEqual([await upcoming(null), await upcoming(componentId)], [[], []]);
  const { own, first } = await client.query(walls.jobs);
  const never = [...own, ...first].filter(({ args }) => args[0].text === "never");
  assert.deepEqual(never.map(({ name, state }) => `${name} ${state}`), ["lib.js:add canceled", "walls.js:record canceled"]);
});

test("a mutation whose commit the log never takes has failed, whether somebody has called it or its time has come", LIMIT, async () => {
  const text = "x".repeat(600 * 1024);
  await assert.rejects(client.mutation(walls.add, { to: "second", text }), /CommitTimestampInLargeCommit/);
  await client.mutation(walls.scheduleDown, { text });
  const isTooLarge = (job) => job.args[0].text === text;
  await eventually(
    async () => (await client.query(walls.jobs)).own.filter(isTooLarge).map((job) => job.state),
    ([state]) => state === "failed",
  );
  assert.ok(!(await client.query(walls.list)).second.includes(text));
  const answer = await fetch(`${tidemark.url}/api/stream_function_logs?cursor=0`, asAdmin(tidemark));
  const { entries } = await answer.json();
  const failed = entries.filter(({ error }) => error?.startsWith("CommitTimestampInLargeCommit: "));
  assert.deepEqual(failed.map(({ identifier }) => identifier), ["walls:add", "lib:add"]);
});

test("files are those of the component that stores them", LIMIT, async () => {
  const { id, url } = await client.action(walls.store, { text: "kept within" });
  assert.match(url, /\?component=/);
  assert.equal(await (await fetch(url)).text(), "kept within");
  assert.equal((await fetch(url.replace(/\?.*/, ""))).status, 404);
  const upload = await (await fetch(await client.mutation(walls.uploadUrl, { of: "first" }), { method: "POST", body: "uploaded" })).json();
  const urls = await client.query(walls.urlOf, { id: upload.storageId });
  assert.ok(urls.first !== null && urls.own === null && urls.second === null);
  assert.equal((await client.query(walls.urlOf, { id })).first, url);
  const { own, first, second } = await client.query(walls.files);
  assert.deepEqual([own, first.length, second.length], [0, 2, 0]);
  assert.deepEqual(first[0].fields, ["_creationTime", "_id", "contentType", "sha256"]);
});

test("cron jobs run in every instance", LIMIT, async () => {
  await eventually(() => client.query(walls.ticks), ([first, second]) => first > 1 && second > 1);
});

test("an action in a component calls its own internal functions", LIMIT, async () => {
  const answer = await client.action(walls.addByAction, { text: "by an action" });
  assert.deepEqual(answer, { internal: "nobody outside may call this", user: null });
  assert.ok((await client.query(walls.list)).second.includes("by an action"));
});

test("requests go to the longest prefix: the app's, a component's, and the rest to what is mounted at the root", LIMIT, async () => {
  const site = await siteUrlOf(tidemark);
  const hello = await (await fetch(`${site}/notes/hello?a=b`)).json();
  assert.deepEqual(hello, { url: `${site}/notes/hello?a=b`, hidden: "nobody outside may call this" });
  assert.equal((await fetch(`${site}/notes/nothing`)).status, 404);
  assert.deepEqual(await (await fetch(`${site}/api/own`)).json(), { own: `${site}/api/own` });
  assert.match(await (await fetch(`${site}/`)).text(), /html/);
});

test("the command line reads and calls components", LIMIT, async () => {
  const tables = await project.mustRun("data", "--component", "first");
  assert.match(tables.stdout, /notes/);
  const data = await project.mustRun("data", "notes", "--component", "first");
  assert.match(data.stdout, /of the first/);
  const run = await project.mustRun("run", "lib:list", "--component", "second");
  assert.ok(JSON.parse(run.stdout).includes("of the second"));
  await project.mustRun("run", "lib:add", JSON.stringify({ text: "by the command line" }), "--component", "first");
  const inline = await project.mustRun("run", "--component", "first", "--inline-query", "await ctx.db.query('notes').take(1)");
  assert.equal(JSON.parse(inline.stdout).length, 1);
  const spec = JSON.parse((await project.mustRun("run", "_system/cli/modules:apiSpec", "--component", "first")).stdout);
  assert.ok(spec.some(({ identifier }) => identifier === "lib.js:hidden"));
  const nowhere = await project.convex("run", "lib:list", "--component", "nowhere");
  assert.notEqual(nowhere.code, 0);
  assert.match(nowhere.output, /There is no component `nowhere`/);
});

test("sharded-counter", LIMIT, async () => {
  await Promise.all(Array.from({ length: 20 }, (_, at) => client.mutation(packages.count, { by: at })));
  assert.equal(await client.query(packages.counted), 190);
});

test("rate-limiter", LIMIT, async () => {
  const limit = (name, more = {}) => client.mutation(packages.limit, { name, key: "somebody", ...more });
  for (let at = 0; at < 3; at++) {
    assert.equal((await limit("messages")).ok, true);
  }
  const { ok, retryAfter } = await limit("messages");
  assert.ok(!ok && retryAfter > 0, `${retryAfter}`);
  assert.equal((await client.query(packages.checkLimit, { name: "messages", key: "somebody" })).ok, false);
  await assert.rejects(limit("messages", { throws: true }), (error) => error.data.kind === "RateLimited");
  assert.equal((await client.mutation(packages.limit, { name: "messages", key: "another" })).ok, true);
  await client.mutation(packages.resetLimit, { name: "messages", key: "somebody" });
  assert.equal((await limit("messages")).ok, true);
  assert.deepEqual([(await limit("window")).ok, (await limit("window")).ok, (await limit("window")).ok], [true, true, false]);
  await Promise.all(Array.from({ length: 20 }, () => limit("sharded")));
  // What is counted later is counted.
  for (let at = 0; at < 6; at++) {
    await limit("eventual");
  }
  await eventually(() => client.query(packages.checkLimit, { name: "eventual", key: "somebody" }), (status) => !status.ok);
});

test("aggregate", LIMIT, async (context) => {
  const { until } = follow(connect(context, tidemark), packages.scores);
  const scores = Array.from({ length: 100 }, (_, at) => ({ name: `player ${at}`, score: (at * 37) % 100 }));
  for (let at = 0; at < 100; at += 25) {
    await client.mutation(packages.addScores, { scores: scores.slice(at, at + 25) });
  }
  const expected = { count: 100, sum: 4_950, max: 99, median: 50, above: 50 };
  await until((seen) => seen.count === 100);
  assert.deepEqual(await client.query(packages.scores), expected);
  await client.mutation(packages.removeScore, { name: "player 27" });
  assert.deepEqual(await client.query(packages.scores), { ...expected, count: 99, sum: 4_851, max: 98, above: 49, median: 49 });
});

test("action-retrier", LIMIT, async () => {
  const runId = await client.mutation(packages.retry, { what: "patience", failures: 2 });
  const status = await eventually(() => client.query(packages.retryStatus, { runId }), ({ type }) => type === "completed");
  assert.deepEqual(status.result, { type: "success", returnValue: "done after 2 failures" });
  const results = await eventually(() => client.query(packages.result, { what: `run ${runId}` }), (results) => results.length > 0);
  assert.deepEqual(results, [{ type: "success", returnValue: "done after 2 failures" }]);
});

test("crons", LIMIT, async () => {
  await client.mutation(packages.startCron, { name: "beat" });
  await client.mutation(packages.startDaily, { name: "dawn" });
  await eventually(() => client.query(packages.result, { what: "cron beat" }), (results) => results.length >= 2);
  const all = await client.query(packages.listCrons);
  assert.deepEqual(all.map((cron) => cron.name).sort(), ["beat", "dawn"]);
  await client.mutation(packages.stopCron, { name: "beat" });
  await client.mutation(packages.stopCron, { name: "dawn" });
  const before = (await client.query(packages.result, { what: "cron beat" })).length;
  await sleep(2_500);
  assert.equal((await client.query(packages.result, { what: "cron beat" })).length, before);
});

test("migrations", LIMIT, async () => {
  await client.mutation(packages.addPeople, { count: 35 });
  await project.mustRun("run", "packages:runMigration");
  await eventually(() => client.query(packages.people), ({ all, named }) => all === 35 && named === 35);
  const [status] = await eventually(() => client.query(packages.migrationStatus), ([status]) => status.isDone);
  assert.equal(status.state, "success");
  assert.equal(status.processed, 35);
});

test("action-cache", LIMIT, async () => {
  assert.equal(await client.action(packages.cached, { of: 12 }), 144);
  assert.equal(await client.action(packages.cached, { of: 12 }), 144);
  assert.equal((await client.query(packages.result, { what: "slow 12" })).length, 1);
  await client.mutation(packages.uncache, { of: 12 });
  assert.equal(await client.action(packages.cached, { of: 12 }), 144);
  assert.equal((await client.query(packages.result, { what: "slow 12" })).length, 2);
});

test("persistent-text-streaming", LIMIT, async (context) => {
  const site = await siteUrlOf(tidemark);
  const streamId = await client.mutation(streaming.create);
  const { until } = follow(connect(context, tidemark), streaming.body, { streamId });
  const ask = () => fetch(`${site}/api/stream`, { method: "POST", body: JSON.stringify({ streamId, words: ["Once.", "upon", "a", "time."] }) });
  assert.equal(await (await ask()).text(), "Once. upon a time. The end.");
  assert.equal((await until((body) => body.status === "done")).text, "Once. upon a time. The end.");
  assert.equal((await ask()).status, 205);
});

test("presence", LIMIT, async (context) => {
  const beat = (userId) => client.mutation(packages.heartbeat, { roomId: "room", userId, sessionId: `session of ${userId}`, interval: 10_000 });
  const { roomToken, sessionToken } = await beat("one");
  await beat("two");
  const { until } = follow(connect(context, tidemark), packages.present, { roomToken });
  const online = (users) => users.filter((user) => user.online).map((user) => user.userId).sort();
  await until((users) => online(users).length === 2);
  // As a page that is closed says it.
  const { status } = await fetch(`${tidemark.url}/api/mutation`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ path: "packages:disconnect", args: { sessionToken } }),
  });
  assert.equal(status, 200);
  await until((users) => online(users).join() === "two");
});

test("workpool", LIMIT, async () => {
  await client.mutation(work.enqueueIncrements, { count: 20 });
  await eventually(() => client.query(packages.result, { what: "increments" }), ([value]) => value === 20);
  await client.mutation(work.enqueueShout, { text: "hello", what: "shouted" });
  assert.deepEqual(await eventually(() => client.query(packages.result, { what: "shouted" }), (results) => results.length > 0), ["HELLO"]);
  await client.mutation(work.enqueueShout, { text: "fail", what: "not shouted" });
  const [failed] = await eventually(() => client.query(packages.result, { what: "not shouted" }), (results) => results.length > 0);
  assert.equal(failed.kind, "failed");
  assert.match(failed.error, /it fails whenever it is tried/);
  const id = await client.mutation(work.enqueueLate);
  await client.mutation(work.cancel, { id });
  await eventually(() => client.query(work.status, { id }), ({ state }) => state === "finished");
});

test("workflow", LIMIT, async () => {
  const id = await client.mutation(work.greet, { name: "somebody", what: "greeting" });
  const [result] = await eventually(() => client.query(packages.result, { what: "greeting" }), (results) => results.length > 0);
  assert.deepEqual(result, { kind: "success", returnValue: "Hello, somebody! How are you? (number)" });
  assert.deepEqual(await client.query(work.workflowStatus, { id }), { type: "completed", result: "Hello, somebody! How are you? (number)" });
});

test("resend: letters, and what the service says of them", LIMIT, async () => {
  // With this one the component learns whom to tell of events.
  const waiting = await client.mutation(mail.enqueue);
  await client.mutation(mail.cancel, { id: waiting });
  assert.equal((await client.query(mail.status, { id: waiting })).status, "cancelled");
  const id = await client.action(mail.sendByHand, { resendId: "letter-1" });
  assert.equal((await client.query(mail.status, { id })).status, "sent");
  const event = JSON.stringify({
    type: "email.delivered",
    created_at: new Date().toISOString(),
    data: { email_id: "letter-1", from: "one@example.com", to: ["two@example.com"], subject: "Hello", created_at: new Date().toISOString() },
  });
  const post = async (key) => {
    const stamp = `${Math.floor(Date.now() / 1000)}`;
    const signature = createHmac("sha256", Buffer.from(key, "base64")).update(`msg.${stamp}.${event}`).digest("base64");
    const headers = { "svix-id": "msg", "svix-timestamp": stamp, "svix-signature": `v1,${signature}` };
    return fetch(`${await siteUrlOf(tidemark)}/api/mail`, { method: "POST", body: event, headers });
  };
  assert.equal((await post(randomBytes(24).toString("base64"))).status, 500);
  assert.equal((await post(WEBHOOK_KEY)).status, 201);
  assert.equal((await eventually(() => client.query(mail.status, { id }), ({ status }) => status === "delivered")).status, "delivered");
  await eventually(() => client.query(packages.result, { what: `mail ${id}` }), ([type]) => type === "email.delivered");
});

test("better-auth: people sign up and in, and functions know them", LIMIT, async () => {
  const site = await siteUrlOf(tidemark);
  const ask = (path, body, cookie) =>
    fetch(`${site}/api/auth${path}`, {
      method: body ? "POST" : "GET",
      body: body && JSON.stringify(body),
      headers: { "Content-Type": "application/json", Origin: "http://page.example", ...(cookie ? { Cookie: cookie } : {}) },
    });
  const somebody = { email: "somebody@example.com", password: "correct horse battery staple" };
  const signedUp = await ask("/sign-up/email", { ...somebody, name: "Somebody" });
  assert.equal(signedUp.status, 200, await signedUp.clone().text());
  assert.equal((await ask("/sign-in/email", { ...somebody, password: "incorrect horse battery staple" })).status, 401);
  const signedIn = await ask("/sign-in/email", somebody);
  assert.equal(signedIn.status, 200);
  const cookie = signedIn.headers.getSetCookie().map((cookie) => cookie.split(";")[0]).join("; ");
  const { token } = await (await ask("/convex/token", undefined, cookie)).json();
  const asUser = new ConvexHttpClient(tidemark.url, { logger: false });
  asUser.setAuth(token);
  assert.deepEqual(await asUser.query(betterAuth.me), { name: "Somebody", email: "somebody@example.com" });
  assert.equal(await client.query(betterAuth.me), null);
});

test("auth: people sign in with a password or as nobody in particular, beside better-auth", LIMIT, async () => {
  const signIn = async (args) => (await client.action(auth.signIn, args)).tokens;
  const known = async ({ token }) => {
    const asUser = new ConvexHttpClient(tidemark.url, { logger: false });
    asUser.setAuth(token);
    return asUser.query(auth.whoAmI);
  };
  const somebody = { email: "somebody@example.com", password: "correct horse battery staple" };
  const withPassword = (flow, more = {}) => signIn({ provider: "password", params: { flow, ...somebody, ...more } });
  assert.deepEqual(await known(await withPassword("signUp")), { email: somebody.email, isAnonymous: false });
  await assert.rejects(withPassword("signIn", { password: "incorrect horse battery staple" }), /InvalidSecret/);
  const tokens = await withPassword("signIn");
  const refreshed = await signIn({ refreshToken: tokens.refreshToken });
  assert.deepEqual(await known(refreshed), { email: somebody.email, isAnonymous: false });
  assert.deepEqual(await known(await signIn({ provider: "anonymous", params: {} })), { email: null, isAnonymous: true });
  assert.equal(await client.query(auth.whoAmI), null);
  // The package's own routes are below the app's prefix, as all are.
  const keys = await fetch(`${await siteUrlOf(tidemark)}/api/.well-known/jwks.json`);
  assert.equal((await keys.json()).keys.length, 1);
});

test("agent: a model answers with a tool, and with what it is shown of other threads", LIMIT, async () => {
  const userId = "talker";
  const begin = (title) => client.mutation(agents.begin, { userId, title });
  const ask = (threadId, prompt, more = {}) => client.action(agents.ask, { threadId, userId, prompt, ...more });
  const page = async (threadId) => (await client.query(agents.messages, { threadId, paginationOpts: { cursor: null, numItems: 50 } })).page;
  const sea = await begin("About the sea");
  assert.deepEqual(await ask(sea, "the tide is rising tonight"), { text: "I have heard: the tide is rising tonight", steps: 1, order: 0 });
  await ask(sea, "whales sing in deep water");
  assert.deepEqual((await page(sea)).map(({ role, text }) => [role, text]), [
    ["user", "the tide is rising tonight"],
    ["assistant", "I have heard: the tide is rising tonight"],
    ["user", "whales sing in deep water"],
    ["assistant", "I have heard: the tide is rising tonight | whales sing in deep water"],
  ]);

  await project.mustRun("run", "packages:note", JSON.stringify({ what: "degrees in Oslo", value: 7 }));
  const weather = await begin("About the weather");
  assert.deepEqual(await ask(weather, "how warm is it in Oslo?"), { text: "In Oslo it is 7 degrees.", steps: 2, order: 0 });
  const [, answer] = await page(weather);
  const tool = answer.parts.find((part) => part.type === "tool-temperature");
  assert.deepEqual([tool.state, tool.input, tool.output], ["output-available", { place: "Oslo" }, "7 degrees"]);
  const tokens = await client.query(packages.result, { what: "tokens of helper" });
  // Those of embeddings are counted as well.
  assert.equal(tokens.filter((count) => count === 8).length, 4, JSON.stringify(tokens));

  const elsewhere = await begin("About what was before");
  const { text } = await ask(elsewhere, "do whales sing", { remembering: true });
  assert.match(text, /whales sing in deep water.* \| do whales sing/);
  assert.equal((await ask(elsewhere, "and now?")).text, "I have heard: do whales sing | and now?");
});

test("agent: messages are found by their words and by what they mean, until they are deleted", LIMIT, async () => {
  const userId = "seeker";
  const begin = (title) => client.mutation(agents.begin, { userId, title });
  const [fruit, stars] = [await begin("A basket of fruit"), await begin("The night sky")];
  const ask = (threadId, prompt) => client.action(agents.ask, { threadId, userId, prompt });
  await ask(fruit, "apples and pears are ripe");
  await ask(stars, "Orion rises after midnight");
  await client.mutation(agents.begin, { userId: "somebody else", title: "Fruit of others" });
  const recall = (by, text, more = {}) => client.action(agents.recall, { userId, by, text, limit: 1, ...more });
  for (const by of ["text", "vector"]) {
    assert.match((await recall(by, "ripe apples")).join(), /apples and pears are ripe/, by);
    assert.match((await recall(by, "midnight Orion")).join(), /Orion rises after midnight/, by);
    assert.deepEqual(await recall(by, "apples", { userId: "nobody" }), [], by);
  }
  assert.deepEqual(await recall("text", "apples", { threadId: stars }), []);
  assert.match((await recall("vector", "apples", { threadId: stars })).join(), /Orion/);
  assert.deepEqual(await client.query(agents.titles, { userId, text: "fruit" }), ["A basket of fruit"]);

  await client.action(agents.forget, { threadId: fruit });
  assert.deepEqual(await recall("text", "ripe apples"), []);
  assert.doesNotMatch((await recall("vector", "ripe apples")).join(), /apples/);
  assert.deepEqual(await client.query(agents.titles, { userId, text: "fruit" }), []);
});

test("agent: an answer is seen while it is written, word by word", LIMIT, async (context) => {
  const threadId = await client.mutation(agents.begin, { userId: "reader", title: "A long answer" });
  const watching = connect(context, tidemark);
  const prompt = "one two three four five six seven eight nine ten";
  const first = { cursor: null, numItems: 50 };
  const streams = follow(watching, agents.messages, { threadId, paginationOpts: first, streamArgs: { kind: "list" } });
  await streams.until(() => true);
  await client.mutation(agents.askSlowly, { threadId, prompt });
  const { streams: list } = await streams.until(({ streams }) => streams.messages.length > 0);
  const [{ streamId }] = list.messages;
  const deltas = follow(watching, agents.messages, { threadId, paginationOpts: first, streamArgs: { kind: "deltas", cursors: [{ streamId, cursor: 0 }] } });
  const written = ({ streams }) => {
    const parts = streams.deltas.flatMap((delta) => delta.parts);
    return parts.filter((part) => part.type === "text-delta").map((part) => part.delta).join("");
  };
  const whole = `I have heard: ${prompt}`;
  await streams.until(({ page }) => page.some((message) => message.role === "assistant" && message.status === "success" && message.text === whole));
  const all = await deltas.until((result) => written(result) === whole);
  assert.ok(all.streams.deltas.length > 2, `it was written in ${all.streams.deltas.length} parts`);
  assert.ok(deltas.results.every((result) => whole.startsWith(written(result))), JSON.stringify(deltas.results.map(written)));
});

test("rag: texts are added, found with filters, replaced and deleted", LIMIT, async () => {
  const namespace = "books";
  const add = (key, title, kind, year, paragraphs, more = {}) => client.action(library.add, { namespace, key, title, kind, year, paragraphs, ...more });
  const search = (query, more = {}) => client.action(library.search, { namespace, query, ...more });
  const sea = await add("sea", "The sea", "nature", 1851, ["whales live in the ocean", "ships sail on waves", "harbours wait for ships"]);
  assert.deepEqual([sea.status, sea.replaced], ["ready", null]);
  await add("city", "The city", "travel", 1922, ["trams run through streets", "ships lie in the harbour of the city"]);
  assert.deepEqual(await client.query(library.list, { namespace }), [{ key: "sea", title: "The sea" }, { key: "city", title: "The city" }]);

  assert.deepEqual(await search("whales in the ocean", { limit: 1 }), { texts: [["whales live in the ocean"]], titles: ["The sea"] });
  assert.deepEqual(await search("whales in the ocean", { limit: 1, around: 1 }), { texts: [["whales live in the ocean", "ships sail on waves"]], titles: ["The sea"] });
  assert.deepEqual((await search("trams", { by: "text" })).texts, [["trams run through streets"]]);
  assert.deepEqual((await search("ships sail on waves", { by: "hybrid", limit: 1 })).texts, [["ships sail on waves"]]);
  for (const by of ["vector", "text", "hybrid"]) {
    assert.deepEqual((await search("ships", { kind: "travel", by })).texts, [["ships lie in the harbour of the city"]], by);
  }
  assert.deepEqual(await search("whales", { namespace: "another" }), { texts: [], titles: [] });
  assert.match(await client.action(library.answer, { namespace, prompt: "trams in streets" }), /trams run through streets/);

  const again = await add("sea", "The sea, revised", "nature", 1852, ["whales sleep upright"]);
  assert.equal(again.replaced, "The sea");
  assert.deepEqual((await search("whales", { by: "text" })).texts, [["whales sleep upright"]]);
  assert.deepEqual(await search("whales live in the ocean", { kind: "nature" }), { texts: [["whales sleep upright"]], titles: ["The sea, revised"] });
  assert.deepEqual(await client.query(packages.result, { what: "added sea" }), [
    { status: "ready", replaced: null, error: null },
    { status: "ready", replaced: "The sea", error: null },
  ]);
  assert.deepEqual(await client.query(library.chunks, { entryId: again.entryId }), [{ order: 0, state: "ready", text: "whales sleep upright" }]);

  await client.action(library.remove, { entryId: again.entryId });
  assert.deepEqual((await search("whales", { by: "text" })).texts, []);
  assert.deepEqual(await client.query(library.list, { namespace }), [{ key: "city", title: "The city" }]);
});

test("rag: a text is added and deleted in the background, by functions of the app that the component calls", LIMIT, async () => {
  const namespace = "papers";
  const entryId = await client.mutation(library.addLater, { namespace, key: "paper", title: "On tides", kind: "paper", year: 2026 });
  await eventually(() => client.query(packages.result, { what: "added paper" }), ([result]) => result?.status === "ready");
  assert.deepEqual((await client.query(library.chunks, { entryId })).map(({ text }) => text), [0, 1, 2].map((number) => `Piece ${number} of On tides`));
  const find = () => client.action(library.search, { namespace, query: "piece on tides", kind: "paper" });
  assert.deepEqual((await find()).titles, ["On tides"]);
  await client.mutation(library.removeLater, { entryId });
  await eventually(find, ({ titles }) => titles.length === 0);
});

test("static-hosting: its own program uploads a site, which is served where it is mounted", LIMIT, async () => {
  const site = await siteUrlOf(tidemark);
  assert.equal((await fetch(`${site}/`)).status, 503);
  await project.write("site/index.html", "<h1>The site</h1>");
  await project.write("site/assets/code.js", "console.log(1);");
  const upload = await project.startPackage("@convex-dev/static-hosting", "upload", "--dist", "site", "--component", "staticHosting");
  await upload.ended;
  assert.equal(upload.code, 0, upload.output);
  const page = await fetch(`${site}/`);
  assert.deepEqual([page.status, await page.text()], [200, "<h1>The site</h1>"]);
  const code = await fetch(`${site}/assets/code.js`);
  assert.match(code.headers.get("content-type"), /javascript/);
  const same = await fetch(`${site}/assets/code.js`, { headers: { "If-None-Match": code.headers.get("etag") } });
  assert.deepEqual([same.status, await same.text()], [304, ""]);
  assert.equal(await (await fetch(`${site}/some/page`)).text(), "<h1>The site</h1>");
});

test("batch-worker takes a hundred enqueues at the same time without a failed mutation", LIMIT, async (context) => {
  const storm = async (enqueue, sum) => {
    const began = Date.now();
    await Promise.all(Array.from({ length: 100 }, (_, at) => client.mutation(enqueue, { value: at })));
    const summed = await eventually(() => client.query(packages.summed), ({ left }) => left === 0);
    assert.deepEqual([summed.sum, summed.left], [sum, 0]);
    return Math.round(100_000 / (Date.now() - began));
  };
  // A first one starts the loop.
  await storm(packages.addEvent, 4_950);
  const batched = await storm(packages.addEvent, 9_900);
  const plain = await storm(packages.addScheduledEvent, 14_850);
  context.diagnostic(`batch-worker: ${batched} jobs a second; a scheduled mutation for each: ${plain}`);
});

test("a component that is not mounted any more keeps its data, and has it when it is mounted again", LIMIT, async () => {
  const config = await project.read("convex/convex.config.ts");
  const source = await project.read("convex/walls.ts");
  const before = (await client.query(walls.list)).second;
  const uploadUrl = await client.mutation(walls.uploadUrl, { of: "second" });
  const { other } = await client.query(walls.handles);
  await project.write("convex/convex.config.ts", config.replace(`app.use(notes, { name: "second" });\n`, ""));
  const unmounted = await project.mustRun("deploy", "--typecheck", "disable");
  assert.match(unmounted.output, /Unmounted component second/);
  await assert.rejects(client.query(walls.list), /no component `second`/);
  const answer = await callFunction(tidemark, "query", "walls:environment");
  assert.equal(answer.body.status, "error");
  const upload = await fetch(uploadUrl, { method: "POST", body: "too late" });
  assert.deepEqual([upload.status, (await upload.json()).code], [400, "UnmountedComponent"]);
  await project.write("convex/convex.config.ts", config);
  await project.write("convex/walls.ts", source);
  const remounted = await project.mustRun("deploy", "--typecheck", "disable");
  assert.match(remounted.output, /Remounted component second/);
  assert.deepEqual((await client.query(walls.list)).second, before);
  assert.equal((await client.query(walls.handles)).other, other);
});

test("what is left of a component that is not mounted any more can be deleted, and only that", LIMIT, async () => {
  const remove = async (componentId, headers = asAdmin(tidemark).headers) => {
    const body = JSON.stringify({ componentId });
    const answer = await fetch(`${tidemark.url}/api/delete_component`, { method: "POST", body, headers: { "Content-Type": "application/json", ...headers } });
    return [answer.status, answer.status === 200 ? null : (await answer.json()).code];
  };
  const { id } = await componentAt("second");
  assert.ok((await client.query(walls.list)).second.length > 0);
  assert.deepEqual(await remove(id), [400, "ComponentMustBeUnmounted"]);
  assert.deepEqual(await remove("nothing"), [400, "ComponentNotFound"]);
  assert.deepEqual(await remove(id, {}), [401, "MissingAdminKey"]);

  const config = await project.read("convex/convex.config.ts");
  await project.write("convex/convex.config.ts", config.replace(`app.use(notes, { name: "second" });\n`, ""));
  await project.mustRun("deploy", "--typecheck", "disable");
  assert.equal((await componentAt("second")).state, "unmounted");
  assert.deepEqual(await remove(id), [200, null]);
  assert.equal(await componentAt("second"), undefined);
  assert.deepEqual(await remove(id), [400, "ComponentNotFound"]);

  await project.write("convex/convex.config.ts", config);
  const mounted = await project.mustRun("deploy", "--typecheck", "disable");
  assert.match(mounted.output, /Installed component second/);
  assert.deepEqual((await client.query(walls.list)).second, []);
  const { own, first } = await client.query(walls.list);
  assert.ok(own.length > 0 && first.length > 0);
});

test("the types that are generated for components are right", LIMIT, async () => {
  const { code, output } = await project.typecheck();
  assert.equal(code, 0, output);
});
