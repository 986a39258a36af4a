import { httpRouter } from "convex/server";
import { ConvexError } from "convex/values";
import { api, internal } from "./_generated/api";
import { httpAction } from "./_generated/server";

const http = httpRouter();
const encoder = new TextEncoder();
const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));

const seen = httpAction(async (_, request) => {
  const { url, method, headers, body } = request;
  const text = await request.text();
  return Response.json({ url, method, name: headers.get("x-name"), hasBody: body !== null, text });
});

for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE"] as const) {
  http.route({ path: "/seen", method, handler: seen });
}
http.route({ pathPrefix: "/under/", method: "GET", handler: httpAction(async () => new Response("a prefix")) });
http.route({ pathPrefix: "/under/the/", method: "GET", handler: httpAction(async () => new Response("a longer one")) });
http.route({ path: "/under/the/tree", method: "GET", handler: httpAction(async () => new Response("the path itself")) });

http.route({
  path: "/cors",
  method: "OPTIONS",
  handler: httpAction(
    async () => new Response(null, { status: 204, headers: { "Access-Control-Allow-Origin": "https://app.example", "Access-Control-Allow-Methods": "PUT" } }),
  ),
});

http.route({
  path: "/cookies",
  method: "GET",
  handler: httpAction(async () => {
    const headers = new Headers({ "Content-Type": "text/html", "X-Name": "gr\u00fcn" });
    headers.append("Set-Cookie", "a=1; Expires=Thu, 01 Jan 2099 00:00:00 GMT");
    headers.append("Set-Cookie", "b=2");
    return new Response("<p>hello</p>", { status: 201, headers });
  }),
});

/** Would be a worker of the whole origin, if that were its own. */
http.route({
  path: "/worker.js",
  method: "GET",
  handler: httpAction(
    async () =>
      new Response("", {
        headers: { "Content-Type": "text/javascript", "Service-Worker-Allowed": "/", "Clear-Site-Data": '"storage"', "X-Name": "worker" },
      }),
  ),
});

/** Sends the body back as it comes, in capitals. */
http.route({
  path: "/capitals",
  method: "POST",
  handler: httpAction(async (_, request) => {
    const capitals = new TransformStream<string, string>({ transform: (text, out) => out.enqueue(text.toUpperCase()) });
    return new Response(request.body!.pipeThrough(new TextDecoderStream()).pipeThrough(capitals).pipeThrough(new TextEncoderStream()));
  }),
});

/** How many bytes come, without ever having all of them. */
http.route({
  path: "/count",
  method: "POST",
  handler: httpAction(async (_, request) => {
    let bytes = 0;
    for await (const chunk of request.body!) {
      bytes += chunk.length;
    }
    return Response.json({ bytes });
  }),
});

/** Writes words as long as somebody listens, and then keeps what it has: nobody awaits that. */
http.route({
  path: "/words",
  method: "GET",
  handler: httpAction(async (ctx, request) => {
    const count = Number(new URL(request.url).searchParams.get("count"));
    const { readable, writable } = new TransformStream();
    const write = async () => {
      const writer = writable.getWriter();
      let text = "";
      let heard = true;
      for (let index = 0; index < count; index++) {
        const word = `word ${index}\n`;
        text += word;
        if (heard) {
          await writer.write(encoder.encode(word)).catch(() => (heard = false));
        }
        await sleep(20);
      }
      await ctx.runMutation(internal.notes.add, { text: `${heard ? "heard" : "unheard"}: ${text.split("\n").length - 1}` });
      if (heard) {
        await writer.close();
      }
    };
    write();
    return new Response(readable, { headers: { "Content-Type": "text/plain" } });
  }),
});

/** Takes what is signed with the secret that both sides know. */
http.route({
  path: "/webhook",
  method: "POST",
  handler: httpAction(async (ctx, request) => {
    const bytes = await request.arrayBuffer();
    const algorithm = { name: "HMAC", hash: "SHA-256" };
    const key = await crypto.subtle.importKey("raw", encoder.encode("between us"), algorithm, false, ["verify"]);
    const hex = request.headers.get("X-Signature") ?? "";
    const signature = Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16));
    if (!(await crypto.subtle.verify("HMAC", key, signature, bytes))) {
      return new Response("The signature is not right.", { status: 401 });
    }
    const { text } = JSON.parse(new TextDecoder().decode(bytes));
    await ctx.runMutation(internal.notes.add, { text });
    console.log("taken", text);
    return new Response(null, { status: 204 });
  }),
});

http.route({
  path: "/who",
  method: "GET",
  handler: httpAction(async (ctx) => {
    const own = await ctx.auth.getUserIdentity().then((user) => user?.subject ?? "nobody", (error) => error.message);
    const nested = await ctx.runQuery(api.notes.who).catch((error) => error.message.split("\n")[0]);
    return Response.json({ own, nested });
  }),
});

/** Whoever brings a header of their own is answered. */
http.route({ path: "/basic", method: "GET", handler: httpAction(async (_, request) => new Response(request.headers.get("Authorization"))) });

http.route({
  path: "/throws",
  method: "GET",
  handler: httpAction(async () => {
    throw new Error("it failed");
  }),
});

http.route({
  path: "/refuses",
  method: "GET",
  handler: httpAction(async () => {
    throw new ConvexError({ reason: "full" });
  }),
});

http.route({
  path: "/breaks",
  method: "GET",
  handler: httpAction(async () => {
    let pieces = 0;
    const pull = (controller: ReadableStreamDefaultController) => {
      if (++pieces > 3) {
        throw new Error("in the middle");
      }
      controller.enqueue(encoder.encode("piece "));
    };
    return new Response(new ReadableStream({ pull }));
  }),
});

http.route({
  path: "/large",
  method: "GET",
  handler: httpAction(async (_, request) => {
    const size = Number(new URL(request.url).searchParams.get("size"));
    let left = size;
    const pull = (controller: ReadableStreamDefaultController) => {
      const chunk = new Uint8Array(Math.min(left, 100_000));
      left -= chunk.length;
      if (chunk.length === 0) {
        controller.close();
      } else {
        controller.enqueue(chunk);
      }
    };
    return new Response(new ReadableStream({ pull }));
  }),
});

http.route({
  path: "/proxy",
  method: "GET",
  handler: httpAction(async (_, request) => {
    const upstream = await fetch(new URL(request.url).searchParams.get("url")!);
    return new Response(upstream.body, { status: upstream.status, headers: upstream.headers });
  }),
});

http.route({
  path: "/.well-known/openid-configuration",
  method: "GET",
  handler: httpAction(async () => {
    const site = process.env.CONVEX_SITE_URL!;
    return Response.json({ issuer: site, jwks_uri: `${site}/.well-known/jwks.json`, authorization_endpoint: `${site}/oauth/authorize` });
  }),
});

http.route({
  path: "/.well-known/jwks.json",
  method: "GET",
  handler: httpAction(async () => {
    const headers = { "Content-Type": "application/json", "Cache-Control": "public, max-age=15, stale-while-revalidate=15" };
    return new Response(process.env.JWKS!, { headers });
  }),
});

export default http;
