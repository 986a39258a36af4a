// The studio example in Chromium, pushed by the official command line: users, uploads, a Node.js action with a native package, captions
// that appear while they are written, signed webhooks, letters, dates. One person's visit, part by part. UPDATE_SCREENSHOTS=1
// writes docs/images.
import assert from "node:assert/strict";
import { AsyncResource } from "node:async_hooks";
import { createHmac } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launchBrowser, openPage } from "./harness/browser.mjs";
import { DESKTOP, PHONE, screenshot, serveExample } from "./harness/example.mjs";
import { seaView } from "./harness/paint.mjs";
import { createProject, studio } from "./harness/project.mjs";
import { startMirror } from "./harness/registry.mjs";
import { startServices } from "./harness/studio.mjs";
import { startTidemark, temporaryFolder } from "./harness/tidemark.mjs";

const LIMIT = { timeout: 300_000 };
const EMAIL = "ada@example.com";
const PASSWORD = "high water at six";

async function start(context) {
  const registry = await startMirror(context, studio, "sharp");
  const config = join(await temporaryFolder(context), "tidemark.toml");
  await writeFile(config, `[node]\nregistry = "${registry.url}"\n`);
  const tidemark = await startTidemark(context, { environment: { TIDEMARK_CONFIG: config } });
  const services = await startServices(context);
  const project = await createProject(context, tidemark, { app: studio, isInstalled: true });
  const early = await project.convex("deploy", "--typecheck", "disable");
  await project.mustRun("env", "set", "--from-file", services.file);
  await project.mustRun("deploy", "--typecheck", "disable");
  const siteUrl = (await project.mustRun("env", "get", "CONVEX_SITE_URL")).stdout.trim();
  const address = await serveExample(context, tidemark, studio);
  const browser = await launchBrowser(context);
  const visitor = { viewport: DESKTOP, locale: "en-GB", timezoneId: "Europe/Lisbon" };
  const page = await openPage(context, browser, address, visitor);
  return { services, project, early, siteUrl, address, browser, page };
}

// What is registered while a hook runs would be over with the hook.
const file = { after: AsyncResource.bind(after) };
let services, project, early, siteUrl, address, browser, page;
before(async () => {
  ({ services, project, early, siteUrl, address, browser, page } = await start(file));
}, LIMIT);

async function enter(page, button, password) {
  await page.getByLabel("E-mail address").fill(EMAIL);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: button }).click();
}

const hang = (name, buffer) => page.locator("input[type=file]").setInputFiles({ name, mimeType: "image/png", buffer });
const picture = (title, of = page) => of.getByRole("article", { name: title });
const letters = (of = page) => of.getByRole("list", { name: "Letters" }).getByRole("listitem");

/** The picture's caption each time that it changes. Call it before there is one. */
async function watchCaptions() {
  await page.evaluate(() => {
    window.captions = [];
    new MutationObserver(() => {
      const text = document.querySelector(".caption")?.textContent;
      if (text && text !== window.captions.at(-1)) {
        window.captions.push(text);
      }
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  return () => page.evaluate(() => window.captions);
}

async function thumbnailOf(title) {
  const image = picture(title).getByRole("img", { name: title });
  await image.waitFor();
  return image.evaluate(async (element) => {
    await element.decode();
    const type = (await fetch(element.src)).headers.get("content-type");
    return { width: element.naturalWidth, height: element.naturalHeight, type };
  });
}

test("the app is not taken before the deployment knows what it declares", () => {
  assert.notEqual(early.code, 0);
  assert.match(early.output, /STUDIO_WEBHOOK_SECRET/);
});

test("somebody signs up; the app's own sentence says what is wrong with a password", LIMIT, async () => {
  await enter(page, "Open it", "short");
  await page.getByRole("alert").getByText("A password has at least 8 characters.").waitFor();
  await enter(page, "Open it", PASSWORD);
  await page.getByText("The wall is bare.").waitFor();
  await page.getByText(EMAIL).waitFor();
});

test("an uploaded picture comes back small, and its caption appears while it is written", LIMIT, async () => {
  const captions = await watchCaptions();
  await hang("low-tide.png", seaView("dawn", 960, 640));
  assert.deepEqual(await thumbnailOf("Low tide"), { width: 480, height: 320, type: "image/webp" });
  await picture("Low tide").getByText("960 × 640 → 480 × 320").waitFor();
  await picture("Low tide").locator(".caption.done").waitFor();
  const seen = await captions();
  assert.ok(seen.length > 3, `it grew in ${seen.length} steps`);
  for (const [index, text] of seen.slice(1).entries()) {
    assert.ok(text.startsWith(seen[index]), `${text} goes on from ${seen[index]}`);
  }
  assert.match(seen.at(-1), /“Low tide”.* 0\.6 megapixels of it: .*\.$/);
});

test("a file that is no picture says so, and goes", LIMIT, async () => {
  await hang("notes.png", Buffer.from("these are no pixels"));
  await picture("Notes").getByText("This is no picture that can be read.").waitFor();
  await picture("Notes").getByRole("button", { name: "Take down" }).click();
  await picture("Notes").waitFor({ state: "detached" });
});

test("a letter comes when it is asked for", LIMIT, async () => {
  await page.getByRole("button", { name: "Write me a letter" }).click();
  await letters().filter({ hasText: "as you asked" }).getByText("delivered").waitFor();
  // The job of the minute may have been earlier.
  const told = letters().filter({ hasText: "New: Low tide" });
  assert.equal(await told.count(), 1, "a picture is told of in one letter");
  assert.match(await told.innerText(), /^1 new picture in your studio\n+.*\n+New: Low tide\n.*\nPixels: 614,400\n/);
  await hang("harbour-at-noon.png", seaView("noon", 640, 960));
  assert.deepEqual(await thumbnailOf("Harbour at noon"), { width: 320, height: 480, type: "image/webp" });
});

test("the print shop's webhooks arrive; one with a wrong signature is refused", LIMIT, async () => {
  await picture("Low tide").getByRole("button", { name: "Order a print" }).click();
  await picture("Low tide").getByText("Print ready").waitFor();
  assert.match(services.output, /webhook +print\.started: 204\n(.*\n)*.*webhook +print\.ready: 204/);

  const now = Math.floor(Date.now() / 1000);
  const send = async (event, { secret = services.secret, seconds = now, body = JSON.stringify(event), signed = body, headers } = {}) => {
    const signature = createHmac("sha256", secret).update(`${seconds}.${signed}`).digest("hex");
    const response = await fetch(`${siteUrl}/webhooks/prints`, {
      method: "POST",
      headers: headers ?? { "studio-signature": `t=${seconds},v1=${signature}` },
      body,
    });
    return response.status;
  };
  const event = (id, type = "print.ready") => ({ id, type, print: "nobody's" });
  assert.equal(await send(event("event-1")), 204);
  assert.equal(await send(event("event-1")), 204, "one that comes again is taken, and does nothing");
  assert.equal(await send(event("event-2"), { secret: "another" }), 401);
  assert.equal(await send(event("event-3"), { signed: JSON.stringify(event("event-1")) }), 401);
  assert.equal(await send(event("event-4"), { seconds: now - 3_600 }), 401);
  assert.equal(await send(event("event-5"), { headers: {} }), 401);
  assert.equal(await send(event("event-6"), { headers: { "studio-signature": `t=${now},v1=${"0".repeat(63)}` } }), 401);
  assert.equal(await send(event("event-7", "print.burnt")), 422);
  const taken = (await project.mustRun("data", "events")).stdout.match(/event-\d/g);
  assert.deepEqual(taken, ["event-1"]);
});

test("dates are written in the language that somebody reads, at the time of their place", LIMIT, async () => {
  const time = picture("Low tide").getByRole("time").first();
  const moment = new Date(await time.getAttribute("datetime"));
  for (const locale of ["de-DE", "ja-JP", "ar-EG", "pt-BR", "en-GB"]) {
    await page.getByLabel("Dates").selectOption(locale);
    const options = { dateStyle: "long", timeStyle: "short", timeZone: "Europe/Lisbon" };
    await time.getByText(new Intl.DateTimeFormat(locale, options).format(moment), { exact: true }).waitFor();
  }
});

test("a letter comes by itself when there is news", LIMIT, async () => {
  const news = letters().filter({ hasText: "New: Harbour at noon" });
  await news.getByText("news of the minute").waitFor();
  await news.getByText("delivered").waitFor();
  const shown = await letters().getByRole("heading").allInnerTexts();
  const posted = await (await fetch(`${services.url}/letters`)).json();
  assert.deepEqual(posted.map(({ subject }) => subject).sort(), shown.sort(), "each one was posted, and once");
  assert.ok(posted.every(({ to }) => to === EMAIL));
});

test("it looks the same in another browser, dark and as narrow as a phone", LIMIT, async (context) => {
  await hang("night-watch.png", seaView("night", 960, 640));
  await picture("Night watch").getByText("megapixels").waitFor();
  await screenshot(page, "studio");
  const visitor = { viewport: PHONE, locale: "en-GB", timezoneId: "Europe/Lisbon", colorScheme: "dark" };
  const phone = await openPage(context, browser, address, visitor);
  await phone.getByRole("button", { name: "Here before?" }).click();
  await enter(phone, "Sign in", "low water at noon");
  await phone.getByRole("alert").getByText("This address and this password do not go together.").waitFor();
  await enter(phone, "Sign in", PASSWORD);
  await picture("Night watch", phone).locator(".caption.done").waitFor();
  const overflow = await phone.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(overflow <= 0, `the page is ${overflow} pixels wider than the screen`);
  await screenshot(phone, "studio-phone");
});

test("who signs out sees nothing any more", LIMIT, async () => {
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { name: "Open a studio" }).waitFor();
  assert.equal(await page.getByRole("article").count(), 0);
  await page.reload();
  await page.getByRole("heading", { name: "Open a studio" }).waitFor();
});
