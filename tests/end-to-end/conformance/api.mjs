// The API over HTTP, as whoever has no client library calls it.
import assert from "node:assert/strict";
import { post } from "../harness/functions.mjs";
import { valueOf } from "./rule.mjs";

/** What a function returns, in the format that loses nothing. */
const SOME = { number: 1.5, int64: { $integer: "BwAAAAAAAAA=" }, bytes: { $bytes: "AQI=" }, nan: { $float: "AAAAAAAA+H8=" }, none: null };

async function ask(server, path, body, headers = {}) {
  const response = await post(server.tidemark, path, typeof body === "string" ? body : JSON.stringify(body), { headers });
  return { status: response.status, headers: response.headers, body: await response.json() };
}

/** A request is answered with this value. */
const answers = (rule, path, body, value) => ({
  rule,
  check: async ({ server }) => {
    const answer = await ask(server, path, body);
    assert.deepEqual([answer.status, answer.body], [200, { status: "success", value, logLines: [] }]);
  },
});

const refused = (rule, path, body, status, code, headers) => ({
  rule,
  check: async ({ server }) => {
    const answer = await ask(server, path, body, headers);
    assert.deepEqual([answer.status, answer.body.code], [status, code], JSON.stringify(answer.body));
    assert.equal(typeof answer.body.message, "string");
  },
});

export default {
  group: "API over HTTP",
  rules: [
    answers("values come in JSON that anybody reads, unless something else is said", "/api/query", { path: "values:some", args: {} }, {
      number: 1.5,
      int64: "7",
      bytes: "AQI=",
      nan: "NaN",
      none: null,
    }),
    answers("or in JSON that loses nothing", "/api/query", { path: "values:some", args: {}, format: "convex_encoded_json" }, SOME),
    answers("by its other name, too", "/api/query", { path: "values:some", args: {}, format: "convex_json" }, SOME),
    answers("in which arguments are written, too", "/api/query", { path: "values:echo", args: { value: SOME }, format: "convex_encoded_json" }, SOME),
    answers("arguments may be in an array", "/api/query", { path: "values:echo", args: [{ value: "a" }], format: "json" }, "a"),
    answers("or be left out where there are none", "/api/query", { path: "calls:nothing", args: {} }, null),
    answers("a mutation", "/api/mutation", { path: "values:echoFromMutation", args: { value: [1] } }, [1]),
    answers("an action", "/api/action", { path: "actions:echo", args: { value: [1] } }, [1]),
    answers("a function of any kind: a query", "/api/function", { path: "values:echo", args: { value: "a" } }, "a"),
    answers("a mutation, too", "/api/function", { path: "values:echoFromMutation", args: { value: "a" } }, "a"),
    answers("and an action", "/api/function", { path: "actions:echo", args: { value: "a" } }, "a"),
    answers("a function by its address", "/api/run/actions/echo", { args: { value: "a" } }, "a"),
    answers("a path may have the module's suffix", "/api/query", { path: "values.js:echo", args: { value: "a" } }, "a"),
    answers("a slash more does not matter", "//api/query", { path: "values:echo", args: { value: "a" } }, "a"),
    {
      rule: "an answer has what the function has logged",
      check: async ({ server, unique }) => {
        const name = unique("logs");
        const { body } = await ask(server, "/api/mutation", { path: "transactions:logs", args: { name } });
        assert.deepEqual(body, { status: "success", value: null, logLines: [`[LOG] '${name}' { a: [ 1, null ] }`, "[WARN] 1 true", "[DEBUG] undefined null"] });
      },
    },
    {
      rule: "an error is an answer, with its text and where",
      check: async ({ server }) => {
        const { status, body } = await ask(server, "/api/query", { path: "calls:failing", args: { how: "error" } });
        assert.deepEqual([status, body.status, "errorData" in body], [200, "error", false]);
        assert.match(body.errorMessage, /^\[Request ID: [0-9a-f]{16}\] Server Error\nUncaught RangeError: out of range\n {4}at handler \(\.\.\/convex\/calls\.ts:\d+:\d+\)$/);
      },
    },
    {
      rule: "with the data of a ConvexError in the format that was asked for",
      check: async ({ server }) => {
        for (const [format, at] of [["json", "7"], ["convex_encoded_json", { $integer: "BwAAAAAAAAA=" }]]) {
          const { body } = await ask(server, "/api/action", { path: "native:refuses", args: {}, format });
          assert.deepEqual(body.errorData, { reason: "full", at });
        }
      },
    },
    {
      rule: "a query can be asked for a moment that is over",
      check: async ({ client, server, unique }) => {
        const name = unique("moments");
        const { ts } = (await ask(server, "/api/query_ts", {})).body;
        await valueOf(client, "mutation", "transactions:count", { set: name });
        const count = async (path, more) => (await ask(server, path, { path: "queries:count", args: { set: name }, ...more })).body.value;
        assert.equal(await count("/api/query_at_ts", { ts }), 0);
        assert.equal(await count("/api/query", {}), 1);
      },
    },
    {
      rule: "pages of other origins may call",
      check: async ({ server }) => {
        const Origin = "https://app.example";
        const asked = { Origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type,convex-client" };
        const { status, headers } = await fetch(`${server.url}/api/query`, { method: "OPTIONS", headers: asked });
        assert.ok(status === 200 || status === 204, `${status}`);
        assert.ok(["*", Origin].includes(headers.get("access-control-allow-origin")), headers.get("access-control-allow-origin"));
        for (const name of ["authorization", "content-type", "convex-client"]) {
          assert.ok(headers.get("access-control-allow-headers").toLowerCase().includes(name), name);
        }
        const answer = await ask(server, "/api/query", { path: "calls:nothing", args: {} }, { Origin });
        assert.ok(["*", Origin].includes(answer.headers.get("access-control-allow-origin")));
      },
    },
    refused("what is no JSON", "/api/query", "{", 400, "InvalidJson"),
    refused("a format that there is not", "/api/query", { path: "calls:nothing", args: {}, format: "xml" }, 400, "BadFormat"),
    refused("arguments that are no object", "/api/query", { path: "calls:nothing", args: 1 }, 400, "InvalidArguments"),
    refused("a client without a version", "/api/query", { path: "calls:nothing", args: {} }, 400, "InvalidClientVersion", { "Convex-Client": "npm" }),
    refused("a moment that is to come", "/api/query_at_ts", { path: "calls:nothing", args: {}, ts: "/////////38=" }, 400, "InvalidTimestamp"),
    refused("the moment 0", "/api/query_at_ts", { path: "calls:nothing", args: {}, ts: "AAAAAAAAAAA=" }, 400, "InvalidTimestamp"),
    {
      rule: "it tells its version and its name",
      check: async ({ server }) => {
        for (const path of ["/version", "/instance_version", "/instance_name"]) {
          const response = await fetch(server.url + path);
          assert.deepEqual([response.status, (await response.text()).length > 0], [200, true], path);
        }
      },
    },
    {
      rule: "and sends back what it is sent, for those who measure",
      check: async ({ server }) => {
        assert.equal(await (await fetch(`${server.url}/echo`, { method: "POST", body: "high water" })).text(), "high water");
      },
    },
  ],
};
