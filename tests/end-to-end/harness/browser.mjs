// A real browser, which talks to nobody but the pages that a test opens.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { chromium } from "playwright-core";
import { whenOver } from "./cleanup.mjs";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const WAIT_MS_MAX = 90_000;

/** `context` is a test's context, or an object with node:test's `after` for a whole file. */
export async function launchBrowser(context) {
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    headless: true,
    timeout: WAIT_MS_MAX,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  whenOver(context, () => browser.close());
  return browser;
}

/** A browser of one person, with the page open; fails the test on an error in the page. */
export async function openPage(context, browser, address, options = {}) {
  const person = await browser.newContext(options);
  whenOver(context, () => person.close());
  const page = await person.newPage();
  page.setDefaultTimeout(WAIT_MS_MAX);
  const errors = [];
  page.on("pageerror", (error) => errors.push(`${error}`));
  whenOver(context, () => assert.deepEqual(errors, [], `errors in the page ${address}`));
  await page.goto(address);
  return page;
}

/** Waits until the element of the page with this test id says so: a text, or one that fits. */
export async function says(page, name, expected) {
  const deadline = Date.now() + WAIT_MS_MAX;
  const fits = (text) => (expected instanceof RegExp ? expected.test(text) : text === expected);
  for (;;) {
    const text = await page.getByTestId(name).textContent();
    if (fits(text)) {
      return;
    }
    assert.ok(Date.now() < deadline, `${name} says ${text}, not ${expected}`);
    await sleep(20);
  }
}

export async function click(page, name) {
  await page.getByRole("button", { name, exact: true }).click();
}
