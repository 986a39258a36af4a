// Identity: who functions see, through each client. Each rule has a client of its own, so that nobody stays signed in.
import assert from "node:assert/strict";
import { until, valueOf } from "./rule.mjs";

const isKnown = (client, subject) => until(() => valueOf(client, "query", "who:am"), (found) => found === subject);

/** Who asks with ann's token. */
const seenBy = (what, kind, path, expected = "ann") => ({
  rule: `${what} sees whose token a client has`,
  check: async ({ connect, server }) => {
    const client = await connect();
    await client.setAuth(await server.ownToken());
    await isKnown(client, "ann");
    assert.deepEqual(await valueOf(client, kind, path), expected);
  },
});

export default {
  group: "identity",
  rules: [
    {
      rule: "a client without a token is nobody",
      check: async ({ client }) => {
        for (const [kind, path] of [["query", "who:am"], ["mutation", "who:amInMutation"], ["action", "who:amInAction"], ["action", "native:am"]]) {
          assert.equal(await valueOf(client, kind, path), null, path);
        }
      },
    },
    seenBy("a query", "query", "who:am"),
    seenBy("a mutation", "mutation", "who:amInMutation"),
    seenBy("an action", "action", "who:amInAction"),
    seenBy("an action in Node.js", "action", "native:am"),
    seenBy("a query within a query", "query", "who:amNested"),
    seenBy("each function that an action calls", "action", "who:amWithin", ["ann", "ann", "ann", "ann"]),
    {
      rule: "a function sees from which address and by which token it is asked, and so does each that it calls",
      check: async ({ connect, server }) => {
        const client = await connect();
        const asked = async (authToken) => {
          const { requestId, userAgent, ...request } = await valueOf(client, "mutation", "who:request");
          assert.deepEqual(request, { ip: "127.0.0.1", authToken, scheduledFunctionId: null });
          assert.match(requestId, /^[0-9a-f]{16}$/);
          assert.equal(typeof userAgent, client.subscribe ? "object" : "string", `${userAgent}, though only clients over HTTP name themselves`);
          const [own, ...called] = await valueOf(client, "action", "who:requestWithin");
          assert.notEqual(own.requestId, requestId);
          assert.deepEqual(own, { ...request, requestId: own.requestId, userAgent });
          assert.deepEqual(called, [own, own, own]);
        };
        await asked(null);
        const token = await server.ownToken();
        await client.setAuth(token);
        await isKnown(client, "ann");
        await asked(token);
      },
    },
    {
      rule: "what a user schedules runs in nobody's name",
      check: async ({ connect, server, unique }) => {
        const client = await connect();
        await client.setAuth(await server.ownToken());
        await isKnown(client, "ann");
        const name = unique("signed");
        assert.equal(await valueOf(client, "mutation", "who:schedules", { name }), "ann");
        await until(() => valueOf(client, "query", "actions:count", { name: `${name}: nobody` }), (count) => count === 1);
      },
    },
    {
      rule: "with another token a client is another user, and without one nobody",
      check: async ({ connect, server }) => {
        const client = await connect();
        for (const subject of ["ann", "bob"]) {
          await client.setAuth(await server.customToken({ sub: subject }));
          await isKnown(client, subject);
        }
        await client.setAuth(null);
        await isKnown(client, null);
      },
    },
  ],
};
