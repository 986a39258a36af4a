// The chat example's page in a real browser. UPDATE_SCREENSHOTS=1 writes docs/images.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";
import { launchBrowser, openPage } from "./harness/browser.mjs";
import { DESKTOP, PHONE, screenshot, serveExample } from "./harness/example.mjs";
import { chat, pushApp } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const LIMIT = { timeout: 300_000 };

/** The page in a browser of one person, who has a name. */
async function open(context, browser, address, name, viewport = DESKTOP) {
  const page = await openPage(context, browser, address, { viewport });
  await page.getByLabel("Your name").fill(name);
  return page;
}

const messages = (page) => page.getByRole("list", { name: "Messages" });

test("what one page sends, the other shows, and both come back after a restart", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  await pushApp(context, tidemark, chat);
  const backend = new ConvexHttpClient(tidemark.url);
  const harbour = await backend.mutation(anyApi.channels.open, { name: "harbour", topic: "What came in with the tide" });
  await backend.mutation(anyApi.channels.open, { name: "kitchen", topic: "Who washes up" });
  await backend.mutation(anyApi.channels.open, { name: "weather", topic: "Wind, water and how to dress for them" });
  const conversation = [
    ["Barbara", "High water was at six, a hand above the old mark."],
    ["Lamport", "Before or after the bell?"],
    ["Barbara", "The log has both, in one order. Ask anyone."],
    ["Barbara", "I pulled the plug at noon. Nothing acknowledged was missing afterwards."],
  ];
  for (const [author, body] of conversation) {
    await backend.mutation(anyApi.messages.send, { channel: harbour, author, body });
  }

  const browser = await launchBrowser(context);
  const address = await serveExample(context, tidemark, chat);
  const ada = await open(context, browser, address, "Ada");
  const grace = await open(context, browser, address, "Grace", PHONE);
  await messages(ada).getByText("The log has both, in one order.").waitFor();

  await ada.getByLabel("Message", { exact: true }).fill("Hello from the other window!");
  await ada.getByRole("button", { name: "Send" }).click();
  await messages(grace).getByText("Hello from the other window!").waitFor();
  await messages(grace).getByText("Ada", { exact: true }).waitFor();

  await grace.getByLabel("Message", { exact: true }).fill("I see it. No refresh.");
  await grace.getByLabel("Message", { exact: true }).press("Enter");
  await messages(ada).getByText("I see it. No refresh.").waitFor();
  await ada.getByRole("list", { name: "Authors" }).getByTitle("Grace").waitFor();
  await screenshot(ada, "chat");
  await screenshot(grace, "chat-phone");

  await tidemark.kill();
  await ada.getByRole("status").getByText("reconnecting").waitFor();
  await tidemark.start();
  await grace.getByLabel("Message", { exact: true }).fill("Back again, and nothing is gone.");
  await grace.getByRole("button", { name: "Send" }).click();
  await messages(ada).getByText("Back again, and nothing is gone.").waitFor();
  await messages(ada).getByText("Hello from the other window!").waitFor();
  assert.equal(await messages(ada).getByText("Back again, and nothing is gone.").count(), 1);
});

test("a long channel is read a page at a time", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  await pushApp(context, tidemark, chat);
  const backend = new ConvexHttpClient(tidemark.url);
  const channel = await backend.mutation(anyApi.channels.open, { name: "harbour" });
  for (let number = 1; number <= 70; number++) {
    await backend.mutation(anyApi.messages.send, { channel, author: "Ada", body: `message ${number}.` });
  }
  const browser = await launchBrowser(context);
  const page = await open(context, browser, await serveExample(context, tidemark, chat), "Grace");
  await messages(page).getByText("message 70.", { exact: true }).waitFor();
  assert.equal(await messages(page).getByText(/^message \d+\.$/).count(), 30);
  for (const count of [60, 70]) {
    await page.getByRole("button", { name: "Older messages" }).click();
    await page.waitForFunction((wanted) => document.querySelectorAll(".message").length === wanted, count);
  }
  assert.equal(await page.getByRole("button", { name: "Older messages" }).count(), 0);

  // A message that arrives meanwhile neither pushes one out nor shows one twice.
  await backend.mutation(anyApi.messages.send, { channel, author: "Ada", body: "message 71." });
  await messages(page).getByText("message 71.", { exact: true }).waitFor();
  const shown = await messages(page).getByText(/^message \d+\.$/).allTextContents();
  assert.deepEqual(shown, Array.from({ length: 71 }, (_, index) => `message ${71 - index}.`));
});

test("a new channel opens, and a bad name is refused with the function's own sentence", LIMIT, async (context) => {
  const tidemark = await startTidemark(context);
  await pushApp(context, tidemark, chat);
  const browser = await launchBrowser(context);
  const page = await open(context, browser, await serveExample(context, tidemark, chat), "Ada");
  const name = page.getByLabel("New channel");
  await name.fill("Low Water");
  await name.press("Enter");
  await page.getByRole("heading", { name: "low-water" }).waitFor();
  await name.fill("what?");
  await name.press("Enter");
  await page.getByText("A channel's name has 1 to 24 lower case letters, digits or hyphens.").waitFor();
});
