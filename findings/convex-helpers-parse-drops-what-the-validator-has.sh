#!/usr/bin/env bash
# npm convex-helpers 0.1.135 (validators): `parse` drops a field that the validator has once there is one beside it that it doesn't have.
#
# The guess: `parse` returns "the parsed value, without fields not specified in the validator": what is specified stays, whatever else is there.
# What happens: of a union the first member is taken that the value fits strictly. An unknown field fits none, and then it is the first that fits when unknown
# fields are overlooked, which can be a shorter one: { name, phone } keeps `phone`, { name, phone, cookie } loses it and is a different kind of contact. With the
# members the other way around it is kept.
# What follows for an app: put the member with the most fields first in a union that `parse` reads, or give its members a literal that tells them apart.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.48.0 convex-helpers@0.1.135 >/dev/null
cat > probe.mjs <<'JS'
import assert from "node:assert";
import { parse } from "convex-helpers/validators";
import { v } from "convex/values";

const person = v.object({ name: v.string() });
const reachable = v.object({ name: v.string(), phone: v.string() });
const known = { name: "Ann", phone: "5" };
const more = { ...known, cookie: "x" };
const seen = {
  object: [parse(reachable, known), parse(reachable, more)],
  union: [parse(v.union(person, reachable), known), parse(v.union(person, reachable), more)],
  turnedAround: [parse(v.union(reachable, person), known), parse(v.union(reachable, person), more)],
};
console.log(seen);
assert.deepEqual(seen, { object: [known, known], union: [known, { name: "Ann" }], turnedAround: [known, known] });
JS
timeout 60 node probe.mjs
echo "as found"
