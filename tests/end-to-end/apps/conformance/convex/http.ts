// What the app answers at its own address.
import { httpRouter } from "convex/server";
import { ConvexError } from "convex/values";
import { api, internal } from "./_generated/api";
import { type ActionCtx, httpAction } from "./_generated/server";

const http = httpRouter();
const encoder = new TextEncoder();

type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS";

function route(method: Method, path: string, answer: (request: Request, ctx: ActionCtx) => Response | Promise<Response>) {
  const where = path.endsWith("/*") ? { pathPrefix: path.slice(0, -1) } : { path };
  http.route({ ...where, method, handler: httpAction(async (ctx, request) => answer(request, ctx)) });
}

const name = (request: Request) => new URL(request.url).searchParams.get("name")!;

route("GET", "/tides", () => new Response("the path"));
route("GET", "/tides/*", () => new Response("a prefix"));
route("GET", "/tides/of/*", () => new Response("a longer prefix"));
route("GET", "/tides/of/today", () => new Response("the path itself"));
route("POST", "/tides", () => new Response("posted"));
route("OPTIONS", "/options", () => new Response(null, { status: 204, headers: { Allow: "OPTIONS" } }));

for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE"] as const) {
  route(method, "/seen", async ({ url, method, headers, body }, _ctx) => {
    const text = body === null ? null : await new Response(body).text();
    return Response.json({ url, method, name: headers.get("X-Name"), text });
  });
}
route("GET", "/seen/*", ({ url }) => new Response(url));

route("POST", "/bytes", async (request) => new Response(await request.arrayBuffer()));
route("POST", "/json", async (request) => Response.json({ got: await request.json() }));
route("POST", "/form", async (request) => {
  const form = await request.formData();
  const parts = [...form].map(async ([name, value]) => [name, typeof value === "string" ? value : [value.name, value.type, await value.text()]]);
  return Response.json(await Promise.all(parts));
});

route("GET", "/answer", () => {
  const headers = new Headers({ "Content-Type": "text/x-tide", "X-Name": "high water" });
  headers.append("Set-Cookie", "a=1; Expires=Thu, 01 Jan 2099 00:00:00 GMT");
  headers.append("Set-Cookie", "b=2");
  return new Response("an answer", { status: 203, headers });
});
route("GET", "/redirects", (request) => Response.redirect(new URL("/tides", request.url), 307));
route("GET", "/empty/*", (request) => new Response(null, { status: Number(request.url.split("/").at(-1)) }));
route("GET", "/empty-text", () => new Response("", { status: 204 }));

route("GET", "/throws", () => {
  throw new RangeError("the well is dry");
});
route("GET", "/refuses", () => {
  throw new ConvexError({ reason: "full", at: 7n });
});
route("GET", "/nothing", () => undefined as unknown as Response);

/** The first half at once, the second when there is an entry of that name. */
route("GET", "/halves", (request, ctx) => {
  const { readable, writable } = new TransformStream();
  const write = async () => {
    const writer = writable.getWriter();
    await writer.write(encoder.encode("one"));
    while ((await ctx.runQuery(api.actions.count, { name: name(request) })) === 0) {
      await new Promise((done) => setTimeout(done, 20));
    }
    await writer.write(encoder.encode("two"));
    await writer.close();
  };
  void write();
  return new Response(readable);
});

/** Goes on after its answer. */
route("GET", "/later", (request, ctx) => {
  const enter = async () => {
    await new Promise((done) => setTimeout(done, 50));
    await ctx.runMutation(internal.schedules.enter, { name: name(request) });
  };
  void enter();
  return new Response("at once");
});

route("POST", "/calls", async (request, ctx) => {
  await ctx.runMutation(internal.schedules.enter, { name: name(request) });
  const entered: number = await ctx.runQuery(api.actions.count, { name: name(request) });
  return Response.json([entered, await ctx.runAction(internal.actions.double, { number: entered })]);
});

route("POST", "/schedules", async (request, ctx) => {
  return new Response(await ctx.scheduler.runAfter(0, internal.schedules.enter, { name: name(request) }));
});

route("POST", "/files", async (request, ctx) => new Response(await ctx.storage.store(await request.blob())));
route("GET", "/files/*", async (request, ctx) => {
  const blob = await ctx.storage.get(request.url.split("/").at(-1) as any);
  return blob === null ? new Response("none", { status: 404 }) : new Response(blob);
});

/** Who asks, as it is seen here and in a function that is called; the header goes back as it came. */
route("GET", "/who", async (request, ctx) => {
  const own = await ctx.auth.getUserIdentity().then((user) => user?.subject ?? null, (error) => `${error}`);
  const called = await ctx.runQuery(api.who.am).catch((error: Error) => `${error}`);
  return Response.json({ own, called, header: request.headers.get("Authorization") });
});

// The app issues the tokens of its users itself: these are the pages by which their keys are found.
route("GET", "/.well-known/openid-configuration", () => {
  const site = process.env.CONVEX_SITE_URL!;
  return Response.json({ issuer: site, jwks_uri: `${site}/keys`, authorization_endpoint: `${site}/authorize` });
});
route("GET", "/keys", () => new Response(process.env.OWN_KEYS ?? "", { headers: { "Content-Type": "application/json" } }));

export default http;
