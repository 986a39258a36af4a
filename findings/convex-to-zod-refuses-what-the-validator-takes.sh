#!/usr/bin/env bash
# npm convex-helpers 0.1.135 with zod 4.6.7: `convexToZod(validator)` makes a schema that refuses valid values of the validator: records with some
# of their possible keys, NaN and infinities. Going back by `zodToConvex` gives another validator.
#
# The guess: the schema takes what the validator takes, as far as types go; a round trip gives an equal validator.
# What happens: `v.record(v.union(v.literal("a"), v.literal("b")), …)` takes any of the keys; it becomes zod's `record` of an enumeration, which
# since version 4 demands all of them. On the way back it is an object with both fields required. `v.number()` is any double;
# zod's number is a finite one.
# What follows for an app: data that is stored can be refused by the schema that was made from the very validator that let it in.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.48.0 convex-helpers@0.1.135 zod@4.6.7 >/dev/null
cat > probe.mjs <<'JS'
import assert from "node:assert";
import { validate } from "convex-helpers/validators";
import { convexToZod, zodToConvex } from "convex-helpers/server/zod4";
import { v } from "convex/values";

const votes = v.record(v.union(v.literal("yes"), v.literal("no")), v.number());
const schema = convexToZod(votes);
const seen = {
  validator: validate(votes, { yes: 1 }),
  schema: schema.safeParse({ yes: 1 }).success,
  schemaWithBoth: schema.safeParse({ yes: 1, no: 2 }).success,
  before: votes.json.type,
  after: zodToConvex(schema).json.type,
  numbers: [1.5, NaN, Infinity].map((value) => [validate(v.number(), value), convexToZod(v.number()).safeParse(value).success]),
};
console.log(seen);
assert.deepEqual(seen, {
  validator: true,
  schema: false,
  schemaWithBoth: true,
  before: "record",
  after: "object",
  numbers: [[true, true], [true, false], [true, false]],
});
JS
timeout 60 node probe.mjs
echo "as found"
