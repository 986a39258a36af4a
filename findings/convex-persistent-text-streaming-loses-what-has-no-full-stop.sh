#!/usr/bin/env bash
# npm @convex-dev/persistent-text-streaming 0.3.3 (client/index.ts), run in convex-test 0.0.70: text that was appended and shown is not stored when the
# writer fails, unless it ended with ". ! ?"; and text without these three is stored only when all of it is there.
#
# The guess: the text is stored "periodically, like at the end of sentences", so that others see it come and a failure costs some words at most.
# What happens: text is stored up to the last chunk that has one of the three ASCII signs in it. A list, a piece of code or Chinese, which ends its sentences with
# other signs, has none: others see nothing until the end. If the writer throws, nothing of what is pending is stored, although the one who asked has read it.
# What follows for an app: catch errors in the writer and return, or append a line with a full stop now and then.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.48.0 convex-test@0.0.70 @convex-dev/persistent-text-streaming@0.3.3 \
  vitest@4.1.12 @edge-runtime/vm@5.0.0 >/dev/null
cat > vitest.config.mts <<'TS'
import { defineConfig } from "vitest/config";
export default defineConfig({
  // The component does not await its writer, whose error then is nobody's.
  test: { environment: "edge-runtime", server: { deps: { inline: ["convex-test"] } }, dangerouslyIgnoreUnhandledErrors: true },
});
TS
cat > probe.test.ts <<'TS'
import { PersistentTextStreaming } from "@convex-dev/persistent-text-streaming";
import component from "@convex-dev/persistent-text-streaming/test";
import { convexTest } from "convex-test";
import { componentsGeneric, defineSchema, internalActionGeneric, makeFunctionReference } from "convex/server";
import { expect, test } from "vitest";

const streaming = new PersistentTextStreaming((componentsGeneric() as any).persistentTextStreaming);
const modules = {
  "./convex/_generated/api.js": async () => ({ default: {} }),
  "./convex/app.ts": async () => ({
    write: internalActionGeneric({
      handler: async (ctx: any, { chunks, fails }: any) => {
        const id = await streaming.createStream(ctx);
        const stored = async () => (await streaming.getStreamBody(ctx, id)).text;
        let beforeTheEnd = "";
        const response = await streaming.stream(ctx, new Request("http://localhost"), id, async (_ctx, _request, _id, append) => {
          for (const chunk of chunks) await append(chunk);
          beforeTheEnd = await stored();
          if (fails) throw new Error("the model went away");
        });
        const shown = await response.text();
        return { shown, beforeTheEnd, stored: await stored() };
      },
    }),
  }),
};

test("what is stored", async () => {
  const t = convexTest(defineSchema({}), modules);
  component.register(t as any);
  const write = (chunks: string[], fails = false): Promise<any> =>
    t.action(makeFunctionReference<"action">("app:write") as any, { chunks, fails });
  const seen = {
    english: await write(["Hello. ", "How are", " you?"]),
    list: await write(["- milk\n", "- bread\n"]),
    chinese: await write(["你好。", "今天很好。"]),
    failing: await write(["Hello. ", "How are", " you"], true),
  };
  console.log(seen);
  const [english, list, chinese] = ["Hello. How are you?", "- milk\n- bread\n", "你好。今天很好。"];
  expect(seen).toEqual({
    english: { shown: english, beforeTheEnd: english, stored: english },
    list: { shown: list, beforeTheEnd: "", stored: list },
    chinese: { shown: chinese, beforeTheEnd: "", stored: chinese },
    failing: { shown: "Hello. How are you", beforeTheEnd: "Hello. ", stored: "Hello. " },
  });
});
TS
timeout 120 npx vitest run
echo "as found"
