// The web console in Chromium: a real app, pushed by the official command line, shown and changed by whoever holds the admin key. One
// person's visit, part by part. UPDATE_SCREENSHOTS=1 writes docs/images.
import assert from "node:assert/strict";
import { AsyncResource } from "node:async_hooks";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";
import { launchBrowser, openPage } from "./harness/browser.mjs";
import { DESKTOP, PHONE, screenshot } from "./harness/example.mjs";
import { asAdmin, callFunction, post } from "./harness/functions.mjs";
import { seaView } from "./harness/paint.mjs";
import { createProject } from "./harness/project.mjs";
import { siteUrlOf, startTidemark, tidemarkBinary } from "./harness/tidemark.mjs";

const LIMIT = { timeout: 300_000 };
const BOATS = ["Aurora", "Borealis", "Calypso", "Daphne", "Eos", "Fulmar", "Galatea", "Halcyon"];

// What is registered while a hook runs would be over with the hook.
const file = { after: AsyncResource.bind(after) };
let tidemark, project, backend, browser, page;
/** Every address that the page has asked for. */
const asked = [];

before(async () => {
  tidemark = await startTidemark(file);
  project = await createProject(file, tidemark, { app: "console" });
  await project.mustRun("deploy", "--typecheck", "disable");
  await project.mustRun("env", "set", "STATION", "west mole");
  backend = new ConvexHttpClient(tidemark.url, { logger: false });
  for (const [at, name] of BOATS.entries()) {
    const boat = await backend.mutation(anyApi.boats.register, { name, kind: at % 2 ? "sail" : "motor", lengthMeters: 7 + at });
    if (at < 3) {
      await backend.mutation(anyApi.bookings.book, { boat, berth: at + 1, nights: 2 });
    }
  }
  browser = await launchBrowser(file);
  const visitor = { viewport: DESKTOP, locale: "en-GB", timezoneId: "Europe/Lisbon", permissions: ["clipboard-read", "clipboard-write"] };
  page = await openPage(file, browser, `${tidemark.url}/console`, visitor);
  page.on("request", (request) => asked.push(request.url()));
  page.on("websocket", (socket) => asked.push(socket.url()));
}, LIMIT);

/** Waits until it is so; cron jobs run beside the tests, so that counts only grow. */
const until = async (holds) => {
  for (const deadline = Date.now() + 90_000; !(await holds()); await sleep(50)) {
    assert.ok(Date.now() < deadline, `in vain: ${holds}`);
  }
};
const signIn = async (of, key = tidemark.adminKey) => {
  await of.getByLabel("Admin key").fill(key);
  await of.getByRole("button", { name: "Sign in" }).click();
};
/** A table's documents as the command line reads them, the newest first. */
const stored = async (table) => {
  const args = { table, order: "desc", paginationOpts: { cursor: null, numItems: 100 } };
  const { body } = await callFunction(tidemark, "query", "_system/cli/tableData:default", args, asAdmin(tidemark));
  return body.value.page;
};
const goTo = (name, of = page) => of.getByRole("navigation", { name: "Pages" }).getByRole("link", { name, exact: true }).click();
const heading = (name, of = page) => of.getByRole("heading", { level: 1, name, exact: true });
const dialog = (name) => page.getByRole("dialog", { name });
const toast = (text) => page.locator(".toast").getByText(text);
/** The cell of a document's field, the document named by what another cell of its row says. */
const cell = (row, field) => page.getByRole("grid").getByRole("row").filter({ hasText: row }).locator(`[data-field="${field}"]`);
const openTable = async (name, of = page) => {
  await of.getByRole("complementary", { name: "Tables" }).getByRole("link", { name: new RegExp(`^${name}`) }).click();
  await heading(name, of).waitFor();
};

test("the page is the program's own, and nothing else may run in it", LIMIT, async () => {
  const address = new URL(page.url());
  assert.equal(address.pathname, "/console/");
  for (const path of ["/console/", "/console/main.js", "/console/main.css", "/console/icon.svg"]) {
    const response = await fetch(tidemark.url + path);
    assert.equal(response.status, 200, path);
    const policy = response.headers.get("content-security-policy");
    assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self'/);
    assert.match(policy, /connect-src 'self'.*frame-ancestors 'none'/);
    assert.equal(response.headers.get("x-content-type-options"), "nosniff");
    const again = await fetch(tidemark.url + path, { headers: { "If-None-Match": response.headers.get("etag") } });
    assert.equal(again.status, 304, path);
  }
  for (const path of ["/console/nothing.js", "/console/..%2fmain.js"]) {
    const response = await fetch(tidemark.url + path);
    assert.equal(response.status, 404, path);
    assert.equal((await response.json()).code, "NotFound");
  }
});

test("nobody gets in without the key", LIMIT, async () => {
  await signIn(page, `dev|${"0".repeat(64)}`);
  await page.getByRole("alert").getByText("This key does not open the deployment.").waitFor();
  await signIn(page, "dev|0…1");
  await page.getByRole("alert").getByText("This is no admin key").waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  await signIn(page);
  await heading("Health").waitFor();
  await page.getByText("Live", { exact: true }).waitFor();
  assert.equal(await page.evaluate(() => localStorage.length), 0, "the key goes with the tab");
});

test("a link that encodes nothing leads somewhere all the same", LIMIT, async () => {
  const follow = (hash) => page.evaluate((hash) => (location.hash = hash), hash);
  await follow("#/data/%");
  await page.getByText("There is no table %").waitFor();
  await page.reload();
  await page.getByText("There is no table %").waitFor();
  await follow("#/data?component=%");
  await page.getByRole("alert").getByText("is not the id of a component").waitFor();
  assert.equal(await page.getByText("No tables").count(), 0, "nothing is known of its tables");
  await follow("#/schedules/%");
  await page.getByText("Nothing is scheduled").or(page.getByRole("table", { name: "Upcoming functions" })).waitFor();
  await goTo("Health");
  await heading("Health").waitFor();
});

test("what runs is counted and drawn", LIMIT, async () => {
  const tile = page.locator(".tile").filter({ hasText: "Executions" }).locator("strong");
  const executions = async () => Number(await tile.textContent());
  await until(async () => (await executions()) >= 11);
  const before = await executions();
  await backend.query(anyApi.boats.list, {});
  await assert.rejects(backend.query(anyApi.weather.broken, {}));
  await until(async () => (await executions()) >= before + 2);
  await page.locator(".tile").filter({ hasText: "Failed" }).getByText("1 of them").waitFor();
  const plot = page.getByRole("img", { name: /^Executions: / });
  await plot.focus();
  await plot.press("ArrowLeft");
  await page.getByRole("figure", { name: "Executions" }).locator(".tip").getByText("Mutations").waitFor();
  const row = page.getByRole("table", { name: "By function" }).getByRole("row").filter({ hasText: "boats:register" });
  await row.getByText("8", { exact: true }).waitFor();
});

test("a table shows its documents, and others' changes at once", LIMIT, async () => {
  await goTo("Data");
  const tables = page.getByRole("complementary", { name: "Tables" });
  await tables.getByRole("link", { name: /^boats\s*8$/ }).waitFor();
  await tables.getByRole("link", { name: /^bookings\s*3$/ }).waitFor();
  await openTable("boats");
  await cell("Aurora", "lengthMeters").getByText("7", { exact: true }).waitFor();
  await backend.mutation(anyApi.boats.register, { name: "Zephyr", kind: "sail", lengthMeters: 12.5, flag: "PT" });
  await cell("Zephyr", "flag").getByText("PT").waitFor();
  await tables.getByRole("link", { name: /^boats\s*9$/ }).waitFor();
});

test("documents are chosen by their fields, through an index too", LIMIT, async () => {
  const filter = async (field, comparison, value) => {
    await page.getByRole("button", { name: /^(Filter|And)$/ }).click();
    await page.getByLabel("Field").last().fill(field);
    await page.getByLabel("Comparison").last().selectOption({ label: comparison });
    if (value !== undefined) {
      await page.getByLabel("Value").last().fill(value);
      await page.getByLabel("Value").last().press("Enter");
    }
  };
  await filter("kind", "is", "sail");
  await page.getByText("5 documents shown").waitFor();
  await filter("lengthMeters", ">", "9");
  await page.getByText("4 documents shown").waitFor();
  await filter("flag", "is there");
  await page.getByText("1 document shown").waitFor();
  await cell("Zephyr", "name").waitFor();
  await filter("flag", "is", '"NL"');
  await page.getByText("No document fits the filters").waitFor();
  await page.getByRole("button", { name: "Clear the filters" }).click();
  await page.getByText("9 documents shown").waitFor();

  await page.getByLabel("Index").selectOption({ label: "by_name (name)" });
  await page.getByRole("button", { name: "descending" }).click();
  const first = () => page.getByRole("grid").getByRole("row").nth(1).locator('[data-field="name"]');
  await first().getByText("Aurora").waitFor();
  await page.getByRole("button", { name: "ascending" }).click();
  await first().getByText("Zephyr").waitFor();
  await filter("name", "≥", "G");
  await page.getByText("3 documents shown").waitFor();
  await page.getByRole("button", { name: "Remove the filter" }).click();
  await page.getByText("9 documents shown").waitFor();
});

test("a field is edited where it stands, by the keyboard alone; the schema holds", LIMIT, async () => {
  await cell("Zephyr", "_id").focus();
  for (const key of ["ArrowRight", "ArrowRight", "ArrowRight"]) {
    await page.keyboard.press(key);
  }
  await page.keyboard.press("Enter");
  const field = page.getByLabel("Value of lengthMeters");
  await field.fill('"long"');
  await field.press("Enter");
  await page.locator(".cell-editor").getByText(/lengthMeters/).waitFor();
  await field.fill("13.25");
  await field.press("Enter");
  await field.waitFor({ state: "detached" });
  await cell("Zephyr", "lengthMeters").getByText("13.25").waitFor();
  // An empty field takes the optional one away, and Escape changes nothing.
  for (const key of ["ArrowLeft", "ArrowLeft", "Enter"]) {
    await page.keyboard.press(key);
  }
  await page.getByLabel("Value of flag").fill("");
  await page.keyboard.press("Enter");
  await page.getByLabel("Value of flag").waitFor({ state: "detached" });
  await cell("Zephyr", "flag").getByText("–").waitFor();
  await page.keyboard.press("Enter");
  await page.getByLabel("Value of flag").fill('"ES"');
  await page.keyboard.press("Escape");
  await page.getByLabel("Value of flag").waitFor({ state: "detached" });
  const zephyr = (await stored("boats")).find(({ name }) => name === "Zephyr");
  assert.equal(zephyr.lengthMeters, 13.25);
  assert.ok(!("flag" in zephyr));
});

test("documents are added, written anew and deleted", LIMIT, async () => {
  await openTable("readings");
  await page.getByRole("button", { name: "Add the first document" }).click();
  const document = page.getByLabel("Document", { exact: true });
  await document.fill('{ mast: "west", knots: 17n, gusts: [22.5, NaN], raw: bytes("AQID"), calm: false, at: null }');
  await document.press("Control+Enter");
  await cell("west", "knots").getByText("17n").waitFor();
  await cell("west", "raw").getByText('bytes("AQID")').waitFor();
  await page.getByRole("button", { name: "Add document" }).click();
  await document.fill("{ mast: ");
  await dialog("New document in readings").getByText(/A value is missing/).waitFor();
  await document.fill('[{ mast: "east" }, { mast: "south" }]');
  await dialog("New document in readings").getByRole("button", { name: /^Add/ }).click();
  await page.getByText("3 documents shown").waitFor();

  await cell("west", "_id").click();
  await dialog("Edit document").getByText("knots: 17n").waitFor();
  await document.fill('{ mast: "west", knots: 18n }');
  await dialog("Edit document").getByRole("button", { name: /^Save/ }).click();
  await cell("west", "knots").getByText("18n").waitFor();
  const west = (await stored("readings")).find(({ mast }) => mast === "west");
  assert.ok(west && !("raw" in west));

  for (const name of ["east", "south"]) {
    await cell(name, "_id").focus();
    await page.keyboard.press(" ");
  }
  await page.keyboard.press("Delete");
  await dialog("Delete 2 documents?").getByRole("button", { name: "Delete", exact: true }).click();
  await toast("Deleted 2 documents").waitFor();
  await page.getByText("1 document shown").waitFor();
  await page.getByRole("button", { name: "Delete all" }).click();
  await dialog("Delete all documents of readings?").getByRole("button", { name: "Delete all" }).click();
  await page.getByText("The table is empty").waitFor();
});

test("an open document says when somebody else has changed it", LIMIT, async () => {
  await openTable("bookings");
  const [booking] = await stored("bookings");
  await page.getByRole("grid").getByText(booking._id).click();
  const document = page.getByLabel("Document", { exact: true });
  await document.press("End");
  await document.pressSequentially(" ");
  await project.mustRun("run", "bookings:remind", JSON.stringify({ booking: booking._id }));
  await page.getByText("The document has changed since you began.").waitFor();
  await page.getByRole("button", { name: "Show what it is now" }).click();
  assert.match(await document.inputValue(), /note: "reminded"/);
  await page.keyboard.press("Escape");
  await dialog("Edit document").waitFor({ state: "detached" });
});

test("functions run from here, as administrator or in a user's name, and live", LIMIT, async () => {
  await goTo("Functions");
  const open = async (name) => {
    await page.keyboard.press("Control+k");
    await page.getByRole("combobox", { name: "Go to" }).fill(name);
    await page.getByRole("option", { name }).waitFor();
    await page.keyboard.press("Enter");
    await heading(name).waitFor();
  };
  const result = page.getByRole("region", { name: "Result" });
  const run = () => page.getByRole("button", { name: /^Run/ }).click();
  await open("boats:register");
  await page.getByLabel("Arguments").fill('{ name: "Ketos", kind: "sail", lengthMeters: 9 }');
  await page.getByLabel("Arguments").press("Control+Enter");
  await result.getByText(/^"[a-z0-9]{32}"$/).waitFor();
  await result.getByText("[INFO] 'registering' 'Ketos'").waitFor();
  await page.getByLabel("Arguments").fill('{ name: "Ketos", kind: "rowing", lengthMeters: 9 }');
  await run();
  await result.getByRole("alert").getByText(/ArgumentValidationError/).waitFor();

  await open("bookings:book");
  const [{ boat }] = await stored("bookings");
  await page.getByLabel("Arguments").fill(`{ boat: "${boat}", berth: 1, nights: 1 }`);
  await run();
  await result.getByText('code: "BERTH_TAKEN"').waitFor();

  await open("weather:station");
  await page.getByLabel("Arguments").fill('{ "$set": [] }');
  await page.getByText("Field name $set starts with a '$'").waitFor();
  await page.getByLabel("Arguments").fill("{}");
  await page.getByLabel("Act as a user").check();
  await page.getByLabel("Identity").fill("{ subject: 5n }");
  await run();
  await result.getByRole("alert").getByText("BigInt").waitFor();
  await page.getByLabel("Identity").fill('{ subject: "ada", issuer: "https://example.com", name: "Ada" }');
  await run();
  await result.getByText('askedBy: "Ada"').waitFor();

  await open("boats:list");
  await page.getByRole("button", { name: "Watch live" }).click();
  await result.getByText('name: "Ketos"').waitFor();
  await backend.mutation(anyApi.boats.register, { name: "Lagoon", kind: "motor", lengthMeters: 6 });
  await result.getByText('name: "Lagoon"').waitFor();
  await page.getByRole("button", { name: "Stop watching" }).click();

  await open("weather:report");
  await run();
  await result.getByText("knots: 17").waitFor();

  await page.getByRole("link", { name: "Write a query" }).click();
  await page.getByLabel("Code").fill('export default query({ handler: async (ctx) => (await ctx.db.query("boats").collect()).length });');
  await run();
  await result.getByText("11", { exact: true }).waitFor();
});

test("the log is followed and searched", LIMIT, async () => {
  await goTo("Logs");
  const entries = page.getByRole("list", { name: "Executions" }).locator("> li");
  await entries.filter({ hasText: "weather:report" }).getByText("the wind comes from the west").first().waitFor();
  const lists = () => entries.filter({ hasText: "boats:list" }).count();
  const before = await lists();
  await backend.query(anyApi.boats.list, { kind: "sail" });
  await until(async () => (await lists()) === before + 1);

  await page.keyboard.press("/");
  await page.keyboard.type("berth was asked taken");
  await page.getByText(/^1 of \d+ executions/).waitFor();
  await entries.filter({ hasText: "bookings:book" }).getByText("failed").waitFor();
  await page.keyboard.press("Escape");
  await page.getByLabel("Outcome").selectOption({ label: "Failures" });
  await page.getByLabel("Kind", { exact: true }).selectOption({ label: "Queries" });
  await entries.filter({ hasText: "the mast does not answer" }).first().getByRole("button").click();
  const details = dialog("weather:broken");
  await details.getByText(/the mast does not answer[\s\S]*weather\.ts:\d+/).waitFor();
  await page.keyboard.press("Escape");
  await details.waitFor({ state: "detached" });
  await page.getByLabel("Outcome").selectOption({ label: "Everything" });
  await page.getByLabel("Kind", { exact: true }).selectOption({ label: "All kinds" });
  await page.getByRole("button", { name: "Pause" }).click();
  await backend.query(anyApi.boats.list, {});
  await page.getByRole("button", { name: /Go on · \d+ new/ }).waitFor();
  assert.equal(await lists(), before + 1);
  await page.getByRole("button", { name: /Go on/ }).click();
  await until(async () => (await lists()) === before + 2);
});

test("what is scheduled can be cancelled, and cron jobs show when they run", LIMIT, async () => {
  await goTo("Schedules");
  const upcoming = page.getByRole("table", { name: "Upcoming functions" }).getByRole("row").filter({ hasText: "bookings:remind" });
  await page.getByText("3 waiting").waitFor();
  await upcoming.first().getByText(/in 2 ?d/).waitFor();
  await upcoming.first().getByRole("button", { name: /^Cancel/ }).click();
  await page.getByText("2 waiting").waitFor();
  await page.getByRole("button", { name: "Cancel all" }).click();
  await dialog("Cancel all scheduled functions?").getByRole("button", { name: "Cancel all" }).click();
  await page.getByText("Nothing is scheduled").waitFor();
  await page.getByRole("tab", { name: "Past" }).click();
  const past = page.getByRole("table", { name: "Past functions" }).getByRole("row").filter({ hasText: "bookings:remind" });
  await past.nth(2).getByText("canceled").waitFor();
  await page.getByRole("tab", { name: "Past" }).press("ArrowRight");
  const crons = page.getByRole("table", { name: "Cron jobs" });
  await crons.getByText("daily at 06:30 UTC").waitFor();
  const minute = crons.getByRole("row").filter({ hasText: "count the boats" });
  await minute.getByText("every minute").waitFor();
  await minute.getByText("success").waitFor();
  await minute.getByRole("button", { name: "Runs of count the boats" }).click();
  await dialog("Runs of count the boats").getByText(/\[LOG\] 'counted' \d+/).first().waitFor();
  await page.keyboard.press("Escape");
});

test("files are uploaded, shown and deleted", LIMIT, async () => {
  await goTo("Files");
  await page.getByText("There are no files yet").waitFor();
  const hang = (name, mimeType, buffer) => page.getByLabel("Files to upload").setInputFiles({ name, mimeType, buffer });
  await hang("sea.png", "image/png", seaView("dawn", 96, 64));
  await toast("Uploaded sea.png").waitFor();
  await hang("notes.txt", "text/plain", Buffer.from("high water at six"));
  const files = page.getByRole("table", { name: "Files" }).getByRole("row");
  const notes = files.filter({ hasText: "text/plain" });
  await notes.getByText("17 B").waitFor();
  const picture = files.filter({ hasText: "image/png" }).locator("img");
  assert.equal(await picture.evaluate(async (image) => (await image.decode(), image.naturalWidth)), 96);
  const url = await notes.getByRole("link", { name: /^Open/ }).getAttribute("href");
  assert.equal(await (await fetch(url)).text(), "high water at six");
  await notes.getByRole("button", { name: /^Delete/ }).click();
  await dialog("Delete the file?").getByRole("button", { name: "Delete" }).click();
  await notes.waitFor({ state: "detached" });
  assert.equal((await fetch(url)).status, 404);
});

test("variables are set, and functions read them", LIMIT, async () => {
  await goTo("Environment");
  const row = (name) => page.getByRole("table", { name: "Variables" }).getByRole("row").filter({ hasText: name });
  await row("STATION").waitFor();
  assert.equal(await page.getByText("west mole").count(), 0, "values are hidden at first");
  await row("STATION").getByRole("button", { name: "Show STATION" }).click();
  await row("STATION").getByText("west mole").waitFor();
  await row("STATION").getByRole("button", { name: "Edit STATION" }).click();
  await dialog("Edit STATION").getByLabel("Value").fill("east mole");
  await dialog("Edit STATION").getByRole("button", { name: "Save" }).click();
  await row("STATION").getByText("east mole").waitFor();
  assert.equal((await backend.query(anyApi.weather.station, {})).station, "east mole");
  await page.getByRole("button", { name: "Paste several" }).click();
  await dialog("Paste several variables").getByLabel("Variables").fill('# two\nREGION=north\nexport KEY="a b"\n');
  await dialog("Paste several variables").getByRole("button", { name: "Save" }).click();
  await row("REGION").waitFor();
  assert.equal((await project.mustRun("env", "get", "KEY")).stdout.trim(), "a b");
  await row("REGION").getByRole("button", { name: "Delete REGION" }).click();
  await dialog("Delete REGION?").getByRole("button", { name: "Delete" }).click();
  await row("REGION").waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Add variable" }).click();
  await dialog("Add a variable").getByLabel("Name").fill("no-name");
  await dialog("Add a variable").getByRole("button", { name: "Save" }).click();
  await dialog("Add a variable").getByRole("alert").waitFor();
  await page.keyboard.press("Escape");
});

test("it says so when the server is away, and goes on by itself", LIMIT, async () => {
  await page.keyboard.press("g");
  await page.keyboard.press("d");
  await openTable("boats");
  await tidemark.kill();
  await page.getByText("The server can't be reached.").waitFor();
  await tidemark.start();
  await page.getByText("The server can't be reached.").waitFor({ state: "detached" });
  await backend.mutation(anyApi.boats.register, { name: "Meltemi", kind: "sail", lengthMeters: 11 });
  await cell("Meltemi", "kind").getByText("sail").waitFor();
});

/** Another deployment, in a page of its own. */
let shop;

test("another deployment has a console of its own, below its path, whatever it is called", LIMIT, async (context) => {
  const words = ["deployment", "--data-dir", tidemark.dataFolder, "create", "console-shop"];
  const { stdout } = await promisify(execFile)(tidemarkBinary(), words);
  const [, url] = /API +(\S+)/.exec(stdout);
  const [, adminKey] = /Admin key +(\S+)/.exec(stdout);
  const elsewhere = await openPage(context, browser, `${tidemark.url}/console`, { viewport: DESKTOP });
  await signIn(elsewhere, adminKey);
  await elsewhere.getByRole("alert").getByText("This key opens the deployment console-shop.").waitFor();
  shop = { url, adminKey, page: await openPage(file, browser, `${url}/console`, { viewport: DESKTOP }) };
  assert.equal(new URL(shop.page.url()).pathname, "/d/console-shop/console/");
  await signIn(shop.page, tidemark.adminKey);
  await shop.page.getByRole("alert").getByText("This key does not open the deployment.").waitFor();
  await signIn(shop.page, adminKey);
  await shop.page.getByText("Live", { exact: true }).waitFor();
  await goTo("Data", shop.page);
  await shop.page.getByText("There are no tables yet").waitFor();
  await shop.page.getByRole("button", { name: "Create a table" }).click();
  await shop.page.getByRole("dialog").getByLabel("Name").fill("goods");
  await shop.page.getByRole("dialog").getByRole("button", { name: "Create", exact: true }).click();
  await heading("goods", shop.page).waitFor();
  await goTo("Functions", shop.page);
  await shop.page.getByText("No code was pushed yet").waitFor();
});

test("components show what they have and where they answer, also those that have nothing", LIMIT, async () => {
  const { page } = shop;
  const parts = await createProject(file, shop, { app: "console-parts", convex: "convex-1-49" });
  const push = () => parts.mustRun("deploy", "--typecheck", "disable");
  const choices = page.getByLabel("Component");
  const choose = (label) => choices.selectOption({ label });
  await push();
  const site = await siteUrlOf(shop);
  await page.getByRole("link", { name: "GET /tide" }).click();
  await page.getByText(`GET ${site}/api/tide`, { exact: true }).waitFor();
  await choose("pier");
  await page.getByText(`GET ${site}/pier/lamp`, { exact: true }).waitFor();
  assert.equal(await (await fetch(`${site}/pier/lamp`)).text(), "it burns\n");
  await choose("hidden");
  await page.getByText(/^Nowhere: /).waitFor();

  await choose("app");
  await goTo("Data", page);
  await openTable("moorings", page);
  await page.getByLabel("Index").locator("option", { hasText: "by_note" }).waitFor({ state: "attached" });
  assert.deepEqual(await page.getByLabel("Index").locator("option").allTextContents(), ["creation time", "by_note (note)"]);
  await page.getByRole("button", { name: "Add document" }).click();
  const begun = page.getByLabel("Document", { exact: true });
  assert.equal(await begun.inputValue(), '{\n  at: 0n,\n  call: "",\n  kind: 5n,\n  note: "",\n}');
  await page.getByText("What the schema asks for").click();
  await page.getByText('call: FunctionHandle<"mutation", any, null>;').waitFor();
  await page.keyboard.press("Escape");

  const config = await parts.read("convex/convex.config.ts");
  await parts.write("convex/convex.config.ts", config.replace(/^.*plain.*\n/gm, ""));
  await push();
  await choose("plain (unmounted)");
  await page.getByText("There are no tables yet").waitFor();
  const { body } = await callFunction(shop, "query", "_system/frontend/components:list", {}, asAdmin(shop));
  const { id } = body.value.find(({ path }) => path === "plain");
  const { status } = await post(shop, "/api/delete_component", JSON.stringify({ componentId: id }), asAdmin(shop));
  assert.equal(status, 200);
  await page.getByRole("alert").getByText("there is no component").first().waitFor();
  await parts.write("convex/convex.config.ts", config);
  await push();
  await page.getByText("There are no tables yet").waitFor();
});

test("it looks well in both colours, and on a phone", LIMIT, async (context) => {
  const overflow = (of) => of.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  await screenshot(page, "console-data");
  await page.getByRole("button", { name: "Dark colours" }).click();
  await goTo("Health");
  await page.getByRole("table", { name: "By function" }).waitFor();
  assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme), "dark");
  await screenshot(page, "console-health-dark");
  const phone = await openPage(context, browser, `${tidemark.url}/console/`, { viewport: PHONE, locale: "en-GB", colorScheme: "dark" });
  await signIn(phone);
  await heading("Health", phone).waitFor();
  for (const name of ["Data", "Functions", "Logs", "Schedules", "Files", "Environment", "Health"]) {
    await goTo(name, phone);
    await phone.getByRole("heading", { level: 1 }).waitFor();
    assert.ok((await overflow(phone)) <= 0, `${name} is wider than the screen`);
  }
  await screenshot(phone, "console-phone");
});

test("the key stays in the tab, and the page asks nobody else", LIMIT, async () => {
  await page.reload();
  await heading("Health").waitFor();
  const origins = new Set(asked.filter((url) => !url.startsWith("blob:") && !url.startsWith("data:")).map((url) => new URL(url).host));
  assert.deepEqual([...origins], [new URL(tidemark.url).host]);
  const parts = tidemark.adminKey.split("|");
  assert.ok(asked.every((url) => !url.includes(parts.at(-1))), "the key stands in no address");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { name: "Tidemark console" }).waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  await page.reload();
  await page.getByLabel("Admin key").waitFor();
});
