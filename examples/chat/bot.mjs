// Three people who talk about the tide and welcome whoever writes: company for somebody who looks at the page alone.
// Prints what arrives.
// Usage: CONVEX_URL=http://… node bot.mjs [seconds between messages]
import { ConvexClient } from "convex/browser";
import { api } from "./convex/_generated/api.js";

const CHANNELS = [
  { name: "harbour", topic: "What came in with the tide" },
  { name: "kitchen", topic: "What we eat, and who washes up" },
  { name: "weather", topic: "Wind, water and how to dress for them" },
];
const TALK = [
  ["Ada", "High water was at six, a hand above the old mark."],
  ["Grace", "The log says so too. Every line of it."],
  ["Barbara", "Then whoever reads it sees the same harbour. Good."],
  ["Ada", "And if the clock steps back?"],
  ["Grace", "Then the order stays. Only the dates look odd."],
  ["Barbara", "I pulled the plug at noon. Nothing acknowledged was missing afterwards."],
  ["Ada", "You did what?"],
  ["Barbara", "Twice."],
  ["Grace", "Open this page in a second window and write something. It appears in both."],
  ["Ada", "No refresh, no polling. The page asks once and is told whenever the answer changes."],
];

const url = process.env.CONVEX_URL;
if (!url) {
  console.error("bot.mjs: CONVEX_URL is not set");
  process.exit(2);
}
const pauseMs = Number(process.argv[2] ?? 3) * 1000;
const client = new ConvexClient(url);
const channels = [];
for (const channel of CHANNELS) {
  channels.push(await client.mutation(api.channels.open, channel));
}
const [harbour] = channels;

// The newest messages as they arrive, whoever wrote them. What was there before is not news.
const speakers = new Set(TALK.map(([author]) => author));
let seen = null;
client.onUpdate(
  api.messages.list,
  { channel: harbour, paginationOpts: { numItems: 20, cursor: null } },
  ({ page }) => {
    const news = seen === null ? [] : page.filter(({ _id }) => !seen.has(_id)).reverse();
    seen = new Set(page.map(({ _id }) => _id));
    for (const { author, body } of news) {
      console.log(`  ${author.padEnd(10)} ${body}`);
      if (!speakers.has(author)) {
        const welcome = { channel: harbour, author: "Grace", body: `Welcome, ${author}. That arrived at once.` };
        void client.mutation(api.messages.send, welcome);
      }
    }
  },
);

let line = 0;
const timer = setInterval(async () => {
  const [author, body] = TALK[line++ % TALK.length];
  await client.mutation(api.messages.send, { channel: harbour, author, body });
}, pauseMs);

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, async () => {
    clearInterval(timer);
    await client.close();
    process.exit(0);
  });
}
