// The world outside of the studio, in one small program on this machine: it writes captions, a word at a time; prints pictures and
// tells of it by signed webhooks; and takes letters.
// Usage: STUDIO_WEBHOOK_SECRET=… node services.mjs [port]
import { createHmac, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

const WORD_MS = 90;
const PRINT_STARTS_MS = 600;
const PRINT_TAKES_MS = 1_500;
const WEBHOOK_ATTEMPTS_MAX = 4;
const WEBHOOK_RETRY_MS = 1_000;
const BODY_BYTES_MAX = 64 << 10;

const secret = process.env.STUDIO_WEBHOOK_SECRET;
if (!secret) {
  console.error("services.mjs: STUDIO_WEBHOOK_SECRET is not set; `npm run keys` makes one up");
  process.exit(2);
}

/** Letters by the keys that came with them: one that comes again is not taken again. */
const letters = new Map();

const ROUTES = {
  "POST /captions": writeCaption,
  "POST /prints": takeOrder,
  "POST /letters": takeLetter,
  "GET /letters": (_, response) => answer(response, 200, [...letters.values()]),
};

const server = createServer(async (request, response) => {
  const handle = ROUTES[`${request.method} ${request.url}`];
  if (!handle) {
    return answer(response, 404, { error: `there is no ${request.method} ${request.url}` });
  }
  try {
    const body = request.method === "POST" ? await jsonOf(request) : null;
    await handle(request, response, body);
  } catch (error) {
    if (response.headersSent) {
      return response.destroy();
    }
    answer(response, 400, { error: error.message });
  }
});

server.listen(Number(process.argv[2] ?? 4700), "127.0.0.1");
await once(server, "listening");
console.log(`The services listen on http://127.0.0.1:${server.address().port}`);

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => process.exit(0));
}

/** It has not seen the picture: it knows the title, the size and the colour, and makes sentences of them. */
async function writeCaption(_, response, { title, width, height, color }) {
  const caption = captionOf(title, width, height, color);
  response.writeHead(200, { "content-type": "text/plain; charset=utf-8" });
  for (const word of caption.split(/(?<= )/)) {
    if (response.destroyed) {
      return; // nobody reads any more
    }
    response.write(word);
    await sleep(WORD_MS);
  }
  response.end();
}

function captionOf(title, width, height, color) {
  const ratio = width / height;
  const shape = ratio > 1.1 ? "a wide" : ratio < 0.9 ? "a tall" : "a square";
  const beginnings = [`“${title}”, ${shape} picture`, `${shape.replace(/^a/, "A")} view by the name of “${title}”`, `Here is “${title}”, ${shape} one`];
  const ends = [
    "hang it where the light comes from the left.",
    "one could look at it for a whole tide.",
    "it asks for a quiet wall.",
    "best seen from two steps away.",
  ];
  const megapixels = ((width * height) / 1e6).toFixed(1);
  return `${pick(beginnings)}, mostly ${nameOf(color)}. ${megapixels} megapixels of it: ${pick(ends)}`;
}

/** A word for a color like `rgb(12 34 56)`. */
function nameOf(color) {
  const [red, green, blue] = color.match(/\d+/g).map((part) => Number(part) / 255);
  const [light, dark] = [Math.max(red, green, blue), Math.min(red, green, blue)];
  const shade = light < 0.35 ? "dark " : dark > 0.65 ? "pale " : "";
  const range = light - dark;
  if (range < 0.08) {
    return light < 0.15 ? "black" : dark > 0.9 ? "white" : `${shade}grey`;
  }
  const sixth = light === red ? (green - blue) / range : light === green ? 2 + (blue - red) / range : 4 + (red - green) / range;
  const names = ["red", "orange", "yellow", "green", "green", "teal", "sky blue", "blue", "indigo", "violet", "pink", "rose"];
  return shade + names[Math.round(sixth * 2 + 12) % 12];
}

function takeOrder(_, response, { print, title, webhook }) {
  const address = new URL(webhook);
  answer(response, 202, { print });
  console.log(`  print      ${title}`);
  void printAndTell(print, address);
}

async function printAndTell(print, address) {
  await sleep(PRINT_STARTS_MS);
  await tell(address, { type: "print.started", print });
  await sleep(PRINT_TAKES_MS);
  await tell(address, { type: "print.ready", print });
}

/** Sends an event, and again if it was not taken, always with the same id. */
async function tell(address, event) {
  const body = JSON.stringify({ id: randomUUID(), ...event });
  for (let attempt = 1; attempt <= WEBHOOK_ATTEMPTS_MAX; attempt++) {
    const seconds = Math.floor(Date.now() / 1000);
    const signature = createHmac("sha256", secret).update(`${seconds}.${body}`).digest("hex");
    const headers = { "content-type": "application/json", "studio-signature": `t=${seconds},v1=${signature}` };
    const status = await fetch(address, { method: "POST", headers, body }).then(({ status }) => status, (error) => error.message);
    console.log(`  webhook    ${event.type}: ${status}`);
    if (status >= 200 && status < 300) {
      return;
    }
    await sleep(WEBHOOK_RETRY_MS * attempt);
  }
}

function takeLetter(request, response, { to, subject, body }) {
  const key = request.headers["idempotency-key"];
  if (![key, to, subject, body].every((part) => typeof part === "string")) {
    return answer(response, 400, { error: "a letter has a key, to, subject and body" });
  }
  if (letters.has(key)) {
    return answer(response, 200, letters.get(key));
  }
  const letter = { key, to, subject, body };
  letters.set(key, letter);
  console.log(`  letter     to ${to}: ${subject}`);
  answer(response, 201, letter);
}

async function jsonOf(request) {
  let text = "";
  for await (const piece of request.setEncoding("utf8")) {
    text += piece;
    if (text.length > BODY_BYTES_MAX) {
      throw new Error(`a body has at most ${BODY_BYTES_MAX} bytes`);
    }
  }
  const body = JSON.parse(text);
  if (body === null || typeof body !== "object") {
    throw new Error("a body is an object");
  }
  return body;
}

function answer(response, status, value) {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
}

function pick(texts) {
  return texts[Math.floor(Math.random() * texts.length)];
}
