// Environment variables, as functions see them.
import assert from "node:assert/strict";
import { valueOf } from "./rule.mjs";
import { GREETING } from "./server.mjs";

const NAMES = ["GREETING", "CONVEX_CLOUD_URL", "CONVEX_SITE_URL", "NOT_SET", "NOT_FOR_FUNCTIONS"];

const shows = (what, kind, path) => ({
  rule: `${what} sees the deployment's variables, the server's addresses, and nothing of the server's own`,
  check: async ({ client, server }) => {
    assert.deepEqual(await valueOf(client, kind, path, { names: NAMES }), [GREETING, server.url, server.site, null, null]);
  },
});

export default {
  group: "environment variables",
  rules: [
    shows("a query", "query", "settings:ofQuery"),
    shows("a mutation", "mutation", "settings:ofMutation"),
    shows("an action", "action", "settings:ofAction"),
    shows("an action in Node.js", "action", "native:variables"),
  ],
};
