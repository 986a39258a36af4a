#!/usr/bin/env bash
# npm @convex-dev/rag 0.7.6, run in convex-test 0.0.71: an entry that has some of the filters can not be added, while one that has none of them can; the
# error names a filter that is not in the call and calls it invalid.
#
# The guess: filters are as optional as `filterValues` itself is: an article in no language is added with its category alone, and found by it ("you can provide
# filters when adding content"). Refused is a name that was not declared in `filterNames`.
# What happens: `add` goes through the declared names and looks for each in the call, and not the other way round. With `category` alone it says "Filter name language is
# not valid (one of category, language)". A name that was not declared passes this, if all others are there, and is refused by the component.
# What follows for an app: give each filter to each entry, with a value such as "" for "none", or no filters at all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.49.0 convex-test@0.0.71 @convex-dev/rag@0.7.6 ai@7.0.173 zod@4.6.7 \
  vitest@4.1.12 @edge-runtime/vm@5.0.0 >/dev/null
cat > vitest.config.mts <<'TS'
import { defineConfig } from "vitest/config";
export default defineConfig({ test: { environment: "edge-runtime", server: { deps: { inline: ["convex-test"] } } } });
TS
cat > probe.test.ts <<'TS'
import { RAG } from "@convex-dev/rag";
import component from "@convex-dev/rag/test";
import { convexTest } from "convex-test";
import { componentsGeneric, defineSchema } from "convex/server";
import { expect, test } from "vitest";

// An embedding for every text, without a model.
const model = {
  specificationVersion: "v4",
  provider: "probe",
  modelId: "probe",
  maxEmbeddingsPerCall: 100,
  supportsParallelCalls: true,
  doEmbed: async ({ values }: { values: string[] }) => ({
    embeddings: values.map((value) => Array.from({ length: 128 }, (_, index) => (index === value.length ? 1 : 0))),
    usage: { tokens: 1 },
    warnings: [],
  }),
};

test("which filters an entry may have", async () => {
  const t = convexTest(defineSchema({}), { "./convex/_generated/api.js": async () => ({ default: {} }) });
  component.register(t as any);
  const rag = new RAG((componentsGeneric() as any).rag, {
    textEmbeddingModel: model as any,
    embeddingDimension: 128,
    filterNames: ["category", "language"],
  });
  const tried = (call: (ctx: any) => Promise<unknown>) =>
    t.action(async (ctx: any) => call(ctx)).catch((error: Error) => error.message);
  const added = (filters?: Record<string, string>) => {
    const filterValues = filters && Object.entries(filters).map(([name, value]) => ({ name, value }));
    return tried(async (ctx) => (await rag.add(ctx, { namespace: "articles", text: "An article", filterValues } as any)).status);
  };
  const seen = {
    none: await added(),
    one: await added({ category: "news" }),
    other: await added({ language: "en" }),
    both: await added({ category: "news", language: "en" }),
    undeclared: await added({ category: "news", language: "en", color: "red" }),
    found: await tried(async (ctx) => {
      const filters = [{ name: "category", value: "news" }] as any;
      return (await rag.search(ctx, { namespace: "articles", query: "An article", filters })).entries.length;
    }),
  };
  console.log(seen);
  expect(seen).toEqual({
    none: "ready",
    one: "Filter name language is not valid (one of category, language).",
    other: "Filter name category is not valid (one of category, language).",
    both: "ready",
    undeclared: "Unknown filter name: color for namespace with names category, language",
    found: 1,
  });
});
TS
timeout 120 npx vitest run
echo "as found"
