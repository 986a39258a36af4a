// Documents: their ids and times, how they change, what finds them.
import assert from "node:assert/strict";
import { fails, gives, valueOf } from "./rule.mjs";

export default {
  group: "documents",
  rules: [
    {
      rule: "a document has an id of 32 characters and the time of its creation",
      check: async ({ client, unique }) => {
        const name = unique("person");
        const id = await valueOf(client, "mutation", "documents:add", { name, age: 7 });
        assert.match(id, /^[0-9a-hjkmnp-tv-z]{32}$/);
        const { _creationTime, ...person } = await valueOf(client, "query", "documents:get", { id });
        assert.deepEqual(person, { _id: id, name, age: 7 });
        assert.ok(Math.abs(_creationTime - Date.now()) < 60_000);
      },
    },
    {
      rule: "a patch changes the fields that it names, and takes away what is undefined",
      check: async ({ client, unique }) => {
        const name = unique("person");
        const id = await valueOf(client, "mutation", "documents:add", { name, age: 7, city: "Rome" });
        assert.equal((await valueOf(client, "mutation", "documents:patch", { id, age: 8 })).age, 8);
        const { _creationTime, ...person } = await valueOf(client, "mutation", "documents:patch", { id, forgetAge: true });
        assert.deepEqual(person, { _id: id, name, home: { city: "Rome" } });
      },
    },
    {
      rule: "a replaced document keeps its id and its time, and nothing else",
      check: async ({ client, unique }) => {
        const id = await valueOf(client, "mutation", "documents:add", { name: unique("person"), age: 7 });
        const before = await valueOf(client, "query", "documents:get", { id });
        const after = await valueOf(client, "mutation", "documents:replace", { id, name: "other" });
        assert.deepEqual(after, { _id: id, _creationTime: before._creationTime, name: "other" });
      },
    },
    {
      rule: "a deleted document is null, and can't be changed or deleted again",
      check: async ({ client, unique }) => {
        const id = await valueOf(client, "mutation", "documents:add", { name: unique("person") });
        await valueOf(client, "mutation", "documents:remove", { id });
        assert.equal(await valueOf(client, "query", "documents:get", { id }), null);
        for (const [path, args] of [
          ["documents:remove", { id }],
          ["documents:patch", { id, age: 1 }],
          ["documents:replace", { id, name: "a" }],
        ]) {
          const { error } = await client.call("mutation", path, args);
          assert.match(error, /NonexistentDocument/, path);
        }
      },
    },
    {
      rule: "unique finds one or none, and refuses two",
      check: async ({ client, unique }) => {
        const name = unique("person");
        assert.equal(await valueOf(client, "query", "documents:named", { name }), null);
        const id = await valueOf(client, "mutation", "documents:add", { name });
        assert.equal((await valueOf(client, "query", "documents:named", { name }))._id, id);
        await valueOf(client, "mutation", "documents:add", { name });
        assert.match((await client.call("query", "documents:named", { name })).error, /unique/);
      },
    },
    {
      rule: "an index over a nested field has the documents that lack it, too",
      check: async ({ client, unique }) => {
        const [city, name] = [unique("city"), unique("person")];
        await valueOf(client, "mutation", "documents:add", { name, city });
        assert.deepEqual(await valueOf(client, "query", "documents:inCity", { city }), [name]);
        const homeless = unique("person");
        await valueOf(client, "mutation", "documents:add", { name: homeless });
        assert.ok((await valueOf(client, "query", "documents:inCity")).includes(homeless));
      },
    },
    gives("a mutation reads what it has written", "mutation", "documents:ownWrites", { name: "nobody else" }, [0, 2, 0]),
    {
      rule: "documents of one mutation were created one after the other",
      check: async ({ client }) => {
        const [first, second, third] = await valueOf(client, "mutation", "documents:createdInOrder");
        assert.ok(first < second && second < third, `${first}, ${second}, ${third}`);
      },
    },
    {
      rule: "an id is normalized if it is one of the table, whether or not there is a document",
      check: async ({ client, unique }) => {
        const id = await valueOf(client, "mutation", "documents:add", { name: unique("person") });
        const friend = await valueOf(client, "mutation", "documents:befriend", { of: id, tags: [] });
        await valueOf(client, "mutation", "documents:remove", { id });
        assert.equal(await valueOf(client, "query", "documents:normalized", { id }), id);
        for (const other of [friend, "", "x", id.toUpperCase(), `${id.slice(0, -1)}${id.endsWith("a") ? "b" : "a"}`]) {
          assert.equal(await valueOf(client, "query", "documents:normalized", { id: other }), null, other);
        }
      },
    },
    {
      rule: "pages hold everything once, in order, either way",
      check: async ({ client, unique }) => {
        const prefix = unique("page");
        const names = Array.from({ length: 7 }, (_, index) => `${prefix} ${index}`);
        for (const name of names) {
          await valueOf(client, "mutation", "documents:add", { name });
        }
        for (const order of ["asc", "desc"]) {
          const seen = [];
          for (let page = { continueCursor: null }; !page.isDone; ) {
            const paginationOpts = { numItems: 3, cursor: page.continueCursor };
            page = await valueOf(client, "query", "documents:pageOf", { paginationOpts, order });
            assert.ok(page.page.length <= 3);
            seen.push(...page.page.map(({ name }) => name).filter((name) => name.startsWith(prefix)));
          }
          assert.deepEqual(seen, order === "asc" ? names : [...names].reverse());
        }
      },
    },
    fails("a document that the schema does not allow is refused: a field too many", "mutation", "documents:addWrongly", { document: { name: "a", more: 1 } }, /does not match the schema[^]*more/),
    fails("a field that is missing", "mutation", "documents:addWrongly", { document: { age: 1 } }, /does not match the schema[^]*name/),
    fails("a field of another type", "mutation", "documents:addWrongly", { document: { name: 1n } }, /does not match the schema/),
    fails("an id that the server gives", "mutation", "documents:addWrongly", { document: { name: "a", _id: "b" } }, /_id/),
  ],
};
