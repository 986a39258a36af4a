// Environment variables, as administrators change them.
import assert from "node:assert/strict";
import { valueOf } from "./rule.mjs";
import { GREETING } from "./server.mjs";

/** A change, and back again whatever comes of it. */
async function changed(server, variables, look) {
  try {
    const answer = await server.change(variables);
    await look(answer);
  } finally {
    const before = Object.fromEntries(Object.keys(variables).map((name) => [name, name === "GREETING" ? GREETING : null]));
    await server.change(before);
  }
}

const listed = async (server) => (await server.get("/api/v1/list_environment_variables")).environmentVariables;

/** What is refused, and with it what came in the same change. */
const refused = (rule, variables, pattern) => ({
  rule,
  check: async ({ client, server }) => {
    assert.match(String(await server.change({ GREETING: "never", ...variables })), pattern);
    assert.equal((await valueOf(client, "query", "settings:greeting")).now, GREETING);
  },
});

export default {
  group: "changes of environment variables",
  rules: [
    {
      rule: "a change is seen by the next call, also by what a module has read while it was imported",
      check: async ({ client, server }) => {
        await changed(server, { GREETING: "ebb" }, async (answer) => {
          assert.equal(answer, 200);
          assert.deepEqual(await valueOf(client, "query", "settings:greeting"), { atImport: "ebb", now: "ebb" });
          assert.deepEqual(await valueOf(client, "action", "native:variables", { names: ["GREETING"] }), ["ebb"]);
        });
      },
    },
    {
      rule: "a live query that has read it shows it",
      check: async ({ connect, server }) => {
        const client = await connect("npm, WebSocket");
        const subscription = await client.subscribe("settings:greeting", {});
        assert.equal((await subscription.next()).value.now, GREETING);
        await changed(server, { GREETING: "flow" }, async () => {
          assert.deepEqual(await subscription.next(), { value: { atImport: "flow", now: "flow" } });
        });
        await subscription.unsubscribe();
      },
    },
    {
      rule: "a variable goes with null, or without a value; one that is not there goes, too",
      check: async ({ client, server }) => {
        assert.equal(await server.change({ ONE: "1", TWO: "2" }), 200);
        assert.equal(await server.change({ ONE: null, TWO: undefined, THREE: null }), 200);
        assert.deepEqual(await valueOf(client, "query", "settings:ofQuery", { names: ["ONE", "TWO", "THREE"] }), [null, null, null]);
      },
    },
    {
      rule: "empty text is a value",
      check: async ({ client, server }) => {
        await changed(server, { EMPTY: "" }, async () => {
          assert.deepEqual(await valueOf(client, "query", "settings:ofQuery", { names: ["EMPTY"] }), [""]);
        });
      },
    },
    {
      rule: "administrators list them by name",
      check: async ({ server }) => {
        await changed(server, { ZEBRA: "stripes" }, async () => {
          const { GREETING: greeting, ZEBRA } = await listed(server);
          assert.deepEqual([greeting, ZEBRA], [GREETING, "stripes"]);
        });
        assert.ok(!("ZEBRA" in (await listed(server))));
      },
    },
    {
      rule: "the newer path of the API takes the same changes",
      check: async ({ server }) => {
        const path = "/api/v1/update_environment_variables";
        assert.equal(await server.change({ NEWER: "path" }, { path }), 200);
        assert.equal((await listed(server)).NEWER, "path");
        assert.equal(await server.change({ NEWER: null }, { path }), 200);
      },
    },
    {
      rule: "a name may have 256 characters, and a value 8,192",
      check: async ({ server }) => {
        await changed(server, { [`_${"a1".repeat(127)}X`]: "é".repeat(4_096) }, async (answer) => assert.equal(answer, 200));
      },
    },
    refused("not one more in a name", { [`A${"B".repeat(256)}`]: "1" }, /^400 EnvVarNameInvalid/),
    refused("and not in a value", { LARGE: "x".repeat(8_193) }, /^400 EnvVarValueTooLarge/),
    refused("a name does not begin with a digit", { "1A": "1" }, /^400 EnvVarNameInvalid/),
    refused("nor has it a dash", { "A-B": "1" }, /^400 EnvVarNameInvalid/),
    refused("the server's addresses are its own: set", { CONVEX_CLOUD_URL: "http://else.example" }, /^400 EnvVarNameForbidden/),
    refused("or removed", { CONVEX_SITE_URL: null }, /^400 EnvVarNameForbidden/),
    refused("what auth.config reads can't go", { CUSTOM_KEYS: null }, /^400 AuthConfigMissingEnvironmentVariable[^]*CUSTOM_KEYS/),
    {
      rule: "nobody but an administrator changes them",
      check: async ({ server }) => {
        assert.match(String(await server.change({ GREETING: "never" }, { request: {} })), /^401 MissingAdminKey/);
        const request = { headers: { Authorization: `Convex ${server.tidemark.adminKey.slice(0, -4)}0000` } };
        assert.match(String(await server.change({ GREETING: "never" }, { request })), /^403 BadDeployKey/);
      },
    },
  ],
};
