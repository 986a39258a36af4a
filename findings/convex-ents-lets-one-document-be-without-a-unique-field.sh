#!/usr/bin/env bash
# npm convex-ents 0.20.0, run in convex-test 0.0.70: an optional unique field may be missing in one document only, and then others can't be changed.
#
# The guess: `.field("phone", v.optional(v.string()), { unique: true })` lets no two members have the same phone, and any number have none, as a unique column of a
# database does that may be null. A patch which does not name the phone leaves it alone.
# What happens: the second member without a phone is refused as a duplicate ("of value `undefined`"). Once there is one without, `patch({ name })` of a member who
# has a phone is refused, too, with the same words: the check looks for the phone that the patch does not have. Only the member without a phone can be patched.
# What follows for an app: give every unique field a value, and name all of them in each patch.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.48.0 convex-ents@0.20.0 convex-test@0.0.70 \
  vitest@4.1.12 @edge-runtime/vm@5.0.0 >/dev/null
mkdir -p convex/_generated
echo 'export default {};' > convex/_generated/api.js
cat > vitest.config.mts <<'TS'
import { defineConfig } from "vitest/config";
export default defineConfig({ test: { environment: "edge-runtime", server: { deps: { inline: ["convex-test"] } } } });
TS
cat > probe.test.ts <<'TS'
import { defineEnt, defineEntSchema, entsTableFactory, getEntDefinitions } from "convex-ents";
import { convexTest } from "convex-test";
import { v } from "convex/values";
import { expect, test } from "vitest";

const schema = defineEntSchema({
  members: defineEnt({ name: v.string() }).field("phone", v.optional(v.string()), { unique: true }),
});
const definitions = getEntDefinitions(schema);

test("members without a phone", async () => {
  const t = convexTest(schema, import.meta.glob("./convex/**/*.js"));
  await t.run(async (ctx: any) => {
    const members = () => (entsTableFactory(ctx, definitions) as any)("members");
    const said: Record<string, string> = {};
    const attempt = async (what: string, call: () => PromiseLike<unknown>) => {
      try {
        await call();
        said[what] = "done";
      } catch (error: any) {
        said[what] = error.message.replace(/ID ".*?"/, 'ID "…"');
      }
    };
    const ann = await members().insert({ name: "Ann", phone: "1" });
    await attempt("rename Ann before", () => members().getX(ann).patch({ name: "Anna" }));
    const ben = await members().insert({ name: "Ben" });
    await attempt("rename Ben", () => members().getX(ben).patch({ name: "Benno" }));
    await attempt("insert Cleo", () => members().insert({ name: "Cleo" }));
    await attempt("rename Ann", () => members().getX(ann).patch({ name: "Annika" }));
    await attempt("rename Ann, with her phone", () => members().getX(ann).patch({ name: "Annika", phone: "1" }));
    console.log(said);
    const refused =
      'In table "members" cannot create a duplicate document with field "phone" of value `undefined`, existing document with ID "…" already has it.';
    expect(said).toEqual({
      "rename Ann before": "done",
      "rename Ben": "done",
      "insert Cleo": refused,
      "rename Ann": refused,
      "rename Ann, with her phone": "done",
    });
  });
});
TS
timeout 120 npx vitest run
echo "as found"
