import { ConvexError, ask, httpAction, httpRouter } from "./_deps/library.js";

const encoder = new TextEncoder();
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const note = (ctx, body) => ctx.runMutation("messages:sendSecretly", { body });

// A response whose body is written by `write`, which nobody awaits.
function written(write) {
  const { readable, writable } = new TransformStream();
  const writer = writable.getWriter();
  write((text) => writer.write(encoder.encode(text)), writer);
  return new Response(readable);
}

export default httpRouter({
  "GET /hello": httpAction(async (ctx, request) => {
    const { url, method, headers, body } = request;
    return Response.json({ url, method, headers: [...headers], hasBody: body !== null }, { headers: { "x-name": "gr\xfcn" } });
  }),
  "POST /hello": httpAction(async (ctx, request) => new Response(`hello ${await request.text()}`, { status: 201 })),
  "PUT /echo/*": httpAction(async (ctx, request) => new Response(request.body)),
  "GET /messages": httpAction(async (ctx) => {
    console.log("asked");
    await note(ctx, "one");
    return Response.json(await ctx.runQuery("messages:list"));
  }),
  "GET /who": httpAction(async () =>
    Response.json({
      identity: await ask("1.0/getUserIdentity").catch((error) => error.message),
      nested: await ask("1.0/actions/query", { name: "about:user", args: {} }).catch((error) => error.message),
    }),
  ),
  "GET /throws": httpAction(async () => {
    // Guards that nobody takes back hold up no answer.
    setTimeout(() => {}, 3_600_000);
    throw new TypeError("no");
  }),
  "GET /refuses": httpAction(async () => {
    throw new ConvexError({ code: 5 });
  }),
  "GET /nothing": httpAction(async () => undefined),
  "GET /read": httpAction(async () => {
    const response = new Response("read");
    await response.text();
    return response;
  }),
  "GET /large": httpAction(async (ctx, request) => new Response("x".repeat(Number(new URL(request.url).searchParams.get("bytes"))))),
  "GET /large/stream": httpAction(async () =>
    written(async (write) => {
      for (;;) {
        await write("x".repeat(50_000));
      }
    }),
  ),
  "GET /breaks": httpAction(
    async () =>
      new Response(
        new ReadableStream({
          start: (controller) => controller.enqueue(encoder.encode("half")),
          pull: (controller) => controller.error(new RangeError("in the middle")),
        }),
      ),
  ),
  "GET /late": httpAction(async (ctx) =>
    written(async (write, writer) => {
      await write("one ");
      await sleep(20);
      await write("two");
      await writer.close();
      await sleep(20);
      await note(ctx, "after the answer");
      setTimeout(() => note(ctx, "by a timer"), 10);
    }),
  ),
  "GET /ticks": httpAction(async (ctx) =>
    written(async (write) => {
      try {
        for (;;) {
          await write("tick");
          await sleep(5);
        }
      } catch (error) {
        await note(ctx, error.message);
      }
    }),
  ),
  "GET /quiet": httpAction(
    async (ctx) => new Response(new ReadableStream({ cancel: (error) => note(ctx, `cancelled: ${error.message}`) })),
  ),
});
