import { ConvexError, action, ask, internalAction, v } from "./_deps/library.js";

export const calls = action(async (ctx, { body }) => {
  const id = await ctx.runMutation("messages:sendSecretly", { body });
  const [seen, secret, inner] = await Promise.all([
    ctx.runQuery("messages:list"),
    ctx.runQuery("messages:secret"),
    ctx.runAction("actions:inner", { number: 3 }),
  ]);
  return { isId: typeof id === "string", seen, secret, inner };
});

export const inner = internalAction(async (ctx, { number }) => number * 2);

export const catches = action(async (ctx) => {
  const caught = [];
  for (const [run, name, args] of [
    ["runMutation", "messages:fail", {}],
    ["runMutation", "nested:refuse", {}],
    ["runMutation", "messages:send", { body: 7 }],
    ["runQuery", "messages:send", { body: "x" }],
    ["runQuery", "messages:nowhere", {}],
    ["runAction", "actions:throws", {}],
  ]) {
    try {
      await ctx[run](name, args);
    } catch (error) {
      caught.push([error.message.split("\n")[0], error.data ?? null]);
    }
  }
  return caught;
});

export const throws = action(async () => {
  throw new ConvexError({ code: 5 });
});

export const checked = action({ args: v.object({ body: v.string }), returns: v.string, handler: async (ctx, { body }) => (body === "7" ? 7 : body) });

export const timers = action(async () => {
  const order = [];
  const after = (name, ms) => new Promise((done) => setTimeout(() => done(order.push(name)), ms));
  const all = [after("30", 30), after("10", 10), after("10 again", 10), new Promise((done) => setImmediate(() => done(order.push("at once"))))];
  clearTimeout(setTimeout(() => order.push("never"), 5));
  let ticks = 0;
  await new Promise((done) => {
    const interval = setInterval(() => {
      if (++ticks === 3) {
        clearInterval(interval);
        done();
      }
    }, 2);
  });
  const began = Date.now();
  await Promise.all(all);
  // A guard that nobody takes back holds nothing up.
  setTimeout(() => order.push("never"), 3_600_000);
  return { order, ticks, passed: Date.now() >= began && performance.now() > 0 };
});

export const throwsInTimer = action(async () => {
  setTimeout(() => {
    throw new RangeError("in a timer");
  }, 1);
  await new Promise((done) => setTimeout(done, 20));
});

export const leavesCallsBehind = action(async (ctx) => {
  ctx.runMutation("messages:sendSecretly", { body: "one" }).then(() => ctx.runMutation("messages:sendSecretly", { body: "two" }));
  return "done";
});

export const waits = action(async (ctx, { ms, body }) => {
  await new Promise((done) => setTimeout(done, ms));
  if (body !== undefined) {
    await ctx.runMutation("messages:sendSecretly", { body });
  }
  return "waited";
});

export const loops = action(async () => {
  for (;;);
});

export const grows = action(async () => {
  const held = [];
  for (let index = 0; index < 40; index++) {
    held.push(new Uint8Array(1 << 20).fill(1));
    await new Promise((done) => setTimeout(done, 1));
  }
  return held.length;
});

export const callsItself = action(async (ctx) => {
  try {
    return 1 + (await ctx.runAction("actions:callsItself"));
  } catch (error) {
    return error.message.includes("MaximumCallDepthExceeded") ? 1 : error.message;
  }
});

export const about = action(async () => {
  const functionHandle = await ask("1.0/createFunctionHandle", { name: "messages:count" });
  return {
    identity: await ask("1.0/getUserIdentity"),
    name: (await ask("1.0/getFunctionMetadata")).name,
    count: await ask("1.0/actions/query", { functionHandle, args: {} }),
    unknown: await ask("1.0/get", {}).catch((error) => error.message),
  };
});

export const fetches = action(async (ctx, { base }) => {
  const hello = await fetch(`${base}/hello`, { headers: { "x-name": "grüße" } });
  const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
  const echo = await fetch(new Request(`${base}/echo`, { method: "POST", body: bytes }));
  const moved = await fetch(`${base}/moved`);
  const { readable, writable } = new TransformStream();
  const streamed = fetch(`${base}/echo`, { method: "PUT", body: readable, duplex: "half" });
  const writer = writable.getWriter();
  const encoder = new TextEncoder();
  await writer.write(encoder.encode("one "));
  await writer.write(encoder.encode("two"));
  await writer.close();
  const empty = await fetch(`${base}/empty`);
  return {
    status: [hello.status, hello.statusText, hello.ok, hello.url === `${base}/hello`, hello.type],
    header: hello.headers.get("x-name"),
    cookies: hello.headers.getSetCookie(),
    json: await hello.json(),
    same: (await echo.bytes()).every((byte, index) => byte === index),
    moved: [moved.redirected, moved.url === `${base}/hello`, (await moved.json()).hello],
    manual: (await fetch(`${base}/moved`, { redirect: "manual" })).status,
    refused: await fetch(`${base}/moved`, { redirect: "error" }).catch(String),
    streamed: await (await streamed).text(),
    empty: [empty.status, empty.body],
  };
});

export const readsSlowly = action(async (ctx, { base }) => {
  const { body } = await fetch(`${base}/slow`);
  let text = "";
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (text === "first ") {
      await fetch(`${base}/go-on`);
    }
  }
  return text;
});

export const aborts = action(async (ctx, { base }) => {
  const controller = new AbortController();
  setTimeout(() => controller.abort(new Error("enough")), 10);
  const byController = await fetch(`${base}/hang`, { signal: controller.signal }).catch(String);
  const byTimeout = await fetch(`${base}/hang`, { signal: AbortSignal.timeout(10) }).catch((error) => error.name);
  const late = new AbortController();
  const { body } = await fetch(`${base}/slow`, { signal: late.signal });
  const reader = body.getReader();
  await reader.read();
  late.abort();
  const inBody = await reader.read().catch((error) => error.name);
  const before = await fetch(`${base}/hello`, { signal: AbortSignal.abort() }).catch((error) => error.name);
  return { byController, byTimeout, inBody, before };
});

export const hangs = action(async (ctx, { base }) => {
  await fetch(`${base}/hang`);
});

export const failsToFetch = action(async (ctx, { url }) => {
  try {
    await fetch(url);
  } catch (error) {
    return [error.name, error.message];
  }
});
