// Three people who talk about the tide, and answer whoever says hello: company for somebody who looks at the page alone.
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

const speakers = new Set(TALK.map(([author]) => author));
const answered = new Set();
client.onUpdate(
  api.messages.list,
  { channel: harbour, paginationOpts: { numItems: 1, cursor: null } },
  ({ page: [latest] }) => {
    if (latest && !speakers.has(latest.author) && !answered.has(latest._id)) {
      answered.add(latest._id);
      void client.mutation(api.messages.send, {
        channel: harbour,
        author: "Grace",
        body: `Welcome, ${latest.author}. That arrived at once.`,
      });
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
