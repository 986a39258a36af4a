// Live queries.
import assert from "node:assert/strict";
import { valueOf } from "./rule.mjs";

/** The first result for which `holds`; those before it are passed over, since a client may show fewer than there were. */
async function until(subscription, holds) {
  for (;;) {
    const result = await subscription.next();
    if (holds(result)) {
      return result;
    }
  }
}

export default {
  group: "live queries",
  live: true,
  rules: [
    {
      rule: "a live query shows what there is, and what others change",
      check: async ({ client, other, unique }) => {
        const set = unique("live");
        const subscription = await client.subscribe("live:count", { set });
        assert.deepEqual(await subscription.next(), { value: 0 });
        await valueOf(other, "mutation", "live:add", { set });
        await until(subscription, ({ value }) => value === 1);
        await subscription.unsubscribe();
      },
    },
    {
      rule: "its own mutations are shown, too",
      check: async ({ client, unique }) => {
        const set = unique("live");
        const subscription = await client.subscribe("live:count", { set });
        assert.deepEqual(await subscription.next(), { value: 0 });
        assert.equal(await valueOf(client, "mutation", "live:add", { set }), 1);
        await until(subscription, ({ value }) => value === 1);
        await subscription.unsubscribe();
      },
    },
    {
      rule: "results never go back",
      check: async ({ client, other, unique }) => {
        const set = unique("live");
        const subscription = await client.subscribe("live:count", { set });
        const adding = (async () => {
          for (let added = 0; added < 20; added++) {
            await valueOf(other, "mutation", "live:add", { set });
          }
        })();
        let last = -1;
        await until(subscription, ({ value }) => {
          assert.ok(value >= last, `${value} after ${last}`);
          last = value;
          return value === 20;
        });
        await adding;
        await subscription.unsubscribe();
      },
    },
    {
      rule: "a live query that fails shows its error, and the next result when it does not any more",
      check: async ({ client, other, unique }) => {
        const set = unique("live");
        const subscription = await client.subscribe("live:few", { set, most: 0 });
        assert.deepEqual(await subscription.next(), { value: 0 });
        await valueOf(other, "mutation", "live:add", { set });
        await until(subscription, ({ error }) => error?.includes("more than 0"));
        await valueOf(other, "mutation", "live:clear", { set });
        await until(subscription, ({ value }) => value === 0);
        await subscription.unsubscribe();
      },
    },
    {
      rule: "it is run again for whoever its client becomes",
      check: async ({ connect, server }) => {
        const client = await connect();
        const subscription = await client.subscribe("live:whoAmI", {});
        assert.deepEqual(await subscription.next(), { value: null });
        await client.setAuth(await server.ownToken());
        await until(subscription, ({ value }) => value === "ann");
        await subscription.unsubscribe();
      },
    },
  ],
};
