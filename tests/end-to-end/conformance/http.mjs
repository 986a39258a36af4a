// HTTP actions: what an app answers at its own address, to clients that know nothing of Convex.
import assert from "node:assert/strict";
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { until, valueOf } from "./rule.mjs";

const BYTES = Uint8Array.from({ length: 70_000 }, (_, index) => (index * 7) % 256);

/** A request gets an answer with this status and text. */
const answers = (rule, method, path, status, text) => ({
  rule,
  check: async ({ server }) => {
    const response = await fetch(server.site + path, { method });
    assert.deepEqual([response.status, await response.text()], [status, text]);
  },
});

const seen = async (url, options) => (await fetch(url, options)).json();

const sees = (rule, path, headers, url) => ({
  rule,
  check: async ({ server }) => {
    assert.equal((await seen(server.site + path, { headers })).url, url(new URL(server.site).host));
  },
});

const bodied = (method) => ({
  rule: `${method} brings its body`,
  check: async ({ server }) => {
    const { method: shown, text } = await seen(`${server.site}/seen`, { method, body: "high water" });
    assert.deepEqual([shown, text], [method, "high water"]);
  },
});

const hasNoBody = (status) => ({
  rule: `an answer with the status ${status} has no body`,
  check: async ({ server }) => {
    const response = await fetch(`${server.site}/empty/${status}`);
    assert.deepEqual([response.status, await response.text()], [status, ""]);
  },
});

const entered = (client, name) => until(() => valueOf(client, "query", "actions:count", { name }), (count) => count === 1);

export default {
  group: "HTTP actions",
  rules: [
    answers("a route is found by its path", "GET", "/tides", 200, "the path"),
    answers("and by its method", "POST", "/tides", 200, "posted"),
    answers("else by a prefix", "GET", "/tides/", 200, "a prefix"),
    answers("by the longest", "GET", "/tides/of/tomorrow", 200, "a longer prefix"),
    answers("a path goes before any prefix", "GET", "/tides/of/today", 200, "the path itself"),
    answers("what no route takes is not found", "GET", "/nowhere", 404, "No HttpAction routed for /nowhere"),
    answers("a prefix ends with its slash", "GET", "/empty", 404, "No HttpAction routed for /empty"),
    answers("a route takes no other method", "PUT", "/tides", 404, "No HttpAction routed for /tides"),
    answers("OPTIONS is answered by the app", "OPTIONS", "/options", 204, ""),
    answers("and by nobody else", "OPTIONS", "/tides", 404, "No HttpAction routed for /tides"),
    {
      rule: "HEAD is answered by GET's route, without the body",
      check: async ({ server }) => {
        const response = await fetch(`${server.site}/answer`, { method: "HEAD" });
        assert.deepEqual([response.status, response.headers.get("content-length"), await response.text()], [203, "9", ""]);
      },
    },
    {
      rule: "a method that no route can have is refused",
      check: async ({ server }) => {
        const request = httpRequest(`${server.site}/tides`, { method: "PROPFIND" }).end();
        const [response] = await once(request, "response");
        response.resume();
        assert.equal(response.statusCode, 405);
      },
    },
    {
      rule: "all of it is below /http/ of the API, too, by the same paths",
      check: async ({ server }) => {
        assert.equal((await seen(`${server.url}/http/seen?a=b`)).url, `${server.url}/seen?a=b`);
        assert.equal(await (await fetch(`${server.url}/http/nowhere`)).text(), "No HttpAction routed for /nowhere");
      },
    },
    sees("a function sees the whole address", "/seen?a=b%20c&a=%C3%A9", {}, (host) => `http://${host}/seen?a=b%20c&a=%C3%A9`),
    sees("with the scheme that a proxy has said", "/seen", { "X-Forwarded-Proto": "https" }, (host) => `https://${host}/seen`),
    sees("in either way", "/seen", { Forwarded: "for=192.0.2.1;proto=https" }, (host) => `https://${host}/seen`),
    answers("a path comes as it was sent", "GET", "/tides/a%2Fb%20c", 200, "a prefix"),
    {
      rule: "headers arrive",
      check: async ({ server }) => {
        assert.equal((await seen(`${server.site}/seen`, { headers: { "x-name": "low water" } })).name, "low water");
      },
    },
    {
      rule: "GET has no body",
      check: async ({ server }) => {
        const { method, text } = await seen(`${server.site}/seen`);
        assert.deepEqual([method, text], ["GET", null]);
      },
    },
    ...["POST", "PUT", "PATCH", "DELETE"].map(bodied),
    {
      rule: "bytes go both ways as they are",
      check: async ({ server }) => {
        const response = await fetch(`${server.site}/bytes`, { method: "POST", body: BYTES });
        assert.ok(Buffer.from(await response.arrayBuffer()).equals(BYTES));
      },
    },
    {
      rule: "JSON is read and answered",
      check: async ({ server }) => {
        const response = await fetch(`${server.site}/json`, { method: "POST", body: '{"a":[1]}' });
        assert.match(response.headers.get("content-type"), /^application\/json/);
        assert.deepEqual(await response.json(), { got: { a: [1] } });
      },
    },
    {
      rule: "so are forms",
      check: async ({ server }) => {
        const response = await fetch(`${server.site}/form`, { method: "POST", body: new URLSearchParams([["a", "1 & 2"], ["a", "é"]]) });
        assert.deepEqual(await response.json(), [["a", "1 & 2"], ["a", "é"]]);
      },
    },
    {
      rule: "and forms with files",
      check: async ({ server }) => {
        const form = new FormData();
        form.append("title", "high");
        form.append("file", new File(["water"], "tide.txt", { type: "text/x-tide" }));
        const response = await fetch(`${server.site}/form`, { method: "POST", body: form });
        assert.deepEqual(await response.json(), [["title", "high"], ["file", ["tide.txt", "text/x-tide", "water"]]]);
      },
    },
    {
      rule: "an answer has the status and the headers that the app gave it, several Set-Cookie too, and no others for other origins",
      check: async ({ server }) => {
        const response = await fetch(`${server.site}/answer`, { headers: { Origin: "https://app.example" } });
        assert.deepEqual([response.status, await response.text()], [203, "an answer"]);
        assert.deepEqual([response.headers.get("content-type"), response.headers.get("x-name")], ["text/x-tide", "high water"]);
        assert.deepEqual(response.headers.getSetCookie(), ["a=1; Expires=Thu, 01 Jan 2099 00:00:00 GMT", "b=2"]);
        assert.equal(response.headers.get("access-control-allow-origin"), null);
      },
    },
    {
      rule: "an answer may send elsewhere",
      check: async ({ server }) => {
        const response = await fetch(`${server.site}/redirects`, { redirect: "manual" });
        assert.deepEqual([response.status, response.headers.get("location")], [307, `${server.site}/tides`]);
      },
    },
    ...[204, 205, 304].map(hasNoBody),
    answers("an empty text is no body, either", "GET", "/empty-text", 204, ""),
    {
      rule: "an answer comes while the rest of it is not there yet",
      check: async ({ client, server, unique }) => {
        const name = unique("halves");
        const response = await fetch(`${server.site}/halves?name=${encodeURIComponent(name)}`);
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        assert.deepEqual(await reader.read(), { value: "one", done: false });
        await valueOf(client, "mutation", "schedules:byMutation", { path: "schedules:enter", ms: 0, value: { name } });
        assert.deepEqual(await reader.read(), { value: "two", done: false });
        assert.equal((await reader.read()).done, true);
      },
    },
    {
      rule: "a function goes on after its answer, until what it has begun has ended",
      check: async ({ client, server, unique }) => {
        const name = unique("later");
        const response = await fetch(`${server.site}/later?name=${encodeURIComponent(name)}`);
        assert.equal(await response.text(), "at once");
        await entered(client, name);
      },
    },
    {
      rule: "what a function throws is a 500 that says what",
      check: async ({ server }) => {
        const response = await fetch(`${server.site}/throws`);
        const { code, trace } = await response.json();
        assert.equal(response.status, 500);
        assert.match(code, /Server Error/);
        assert.match(trace, /Uncaught RangeError: the well is dry[^]*convex\/http\.ts/);
      },
    },
    {
      rule: "so is a ConvexError, with its data",
      check: async ({ server }) => {
        const response = await fetch(`${server.site}/refuses`);
        assert.equal(response.status, 500);
        assert.deepEqual((await response.json()).data, { reason: "full", at: { $integer: "BwAAAAAAAAA=" } });
      },
    },
    {
      rule: "and what is no Response",
      check: async ({ server }) => {
        const response = await fetch(`${server.site}/nothing`);
        assert.equal(response.status, 500);
        assert.match((await response.json()).trace, /must return a Response/);
      },
    },
    {
      rule: "an HTTP action calls functions of all kinds, internal ones too",
      check: async ({ server, unique }) => {
        const response = await fetch(`${server.site}/calls?name=${encodeURIComponent(unique("called"))}`, { method: "POST" });
        assert.deepEqual(await response.json(), [1, 2]);
      },
    },
    {
      rule: "and schedules them",
      check: async ({ client, server, unique }) => {
        const name = unique("scheduled");
        const response = await fetch(`${server.site}/schedules?name=${encodeURIComponent(name)}`, { method: "POST" });
        assert.match(await response.text(), /^kc2/);
        await entered(client, name);
      },
    },
    {
      rule: "it stores files, and sends them",
      check: async ({ server }) => {
        const kept = await fetch(`${server.site}/files`, { method: "POST", body: BYTES, headers: { "Content-Type": "image/x-tide" } });
        const sent = await fetch(`${server.site}/files/${await kept.text()}`);
        assert.deepEqual([sent.status, sent.headers.get("content-type")], [200, "image/x-tide"]);
        assert.ok(Buffer.from(await sent.arrayBuffer()).equals(BYTES));
      },
    },
  ],
};
