#!/usr/bin/env bash
# PyPI convex-to-pydantic 0.2.0 with convex 0.8.1 and functions in convex-test 0.0.71: an argument that is None is not sent, an int64 goes out as
# a float and can not come in, and a mutation of which the generated code says that it failed has been done.
#
# The guess: what the generated signature takes arrives: None where the validator is `v.union(v.string(), v.null())`, an int64 where it is `v.int64()`, and
# what the signature names as client can be given.
# What happens: arguments are dumped with `exclude_none`, which suits optional ones, where None stands for "not there"; of a null nothing is left and the
# server misses a field. An int of Python is a float64 to the client, which wants a ConvexInt64 for an int64 and answers with one, which is no `int` to the
# model. The default wrappers `await` what the client returns, which is the result itself: by then the mutation is done, and Python raises.
# What follows for an app: `--client-style sync`; another validator than null or int64 for what is called from Python, or a call without the wrapper.
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm pkg set type=module >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.49.0 convex-test@0.0.71 >/dev/null
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check convex-to-pydantic==0.2.0 convex==0.8.1 requests==2.34.2
mkdir -p convex/_generated generated
cat > convex/schema.js <<'JS'
import { defineSchema } from "convex/server";
export default defineSchema({});
JS
cat > convex/notes.js <<'JS'
import { mutationGeneric } from "convex/server";
import { v } from "convex/values";
export const move = mutationGeneric({
  args: { folder: v.union(v.string(), v.null()), tag: v.optional(v.string()) },
  returns: v.string(),
  handler: async (_, { folder }) => `moved to ${folder}`,
});
export const resize = mutationGeneric({
  args: { size: v.int64() },
  returns: v.string(),
  handler: async (_, { size }) => `resized to ${size}`,
});
export const count = mutationGeneric({ args: {}, returns: v.int64(), handler: async () => 5n });
JS
cat > server.js <<'JS'
// Functions by HTTP, as the Python client calls them. Prints what was done.
import { appendFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { convexTest } from "convex-test";
import { makeFunctionReference } from "convex/server";
import { convexToJson, jsonToConvex } from "convex/values";
import schema from "./convex/schema.js";

const t = convexTest(schema, { "./convex/_generated/api.js": async () => ({}), "./convex/notes.js": () => import("./convex/notes.js") });
const server = createServer(async (request, response) => {
  const { path, args } = JSON.parse((await request.toArray()).join(""));
  let answer;
  try {
    const value = convexToJson(await t.mutation(makeFunctionReference(path), jsonToConvex(args)));
    appendFileSync("done", `${path}\n`);
    answer = { status: "success", value, logLines: [] };
  } catch (error) {
    answer = { status: "error", errorMessage: error.message, logLines: [] };
  }
  response.setHeader("Content-Type", "application/json").end(JSON.stringify(answer));
});
server.listen(0, "127.0.0.1", () => writeFileSync("port", String(server.address().port)));
JS
environment/bin/convex-to-pydantic generate --convex-dir convex --output-dir generated/waiting
environment/bin/convex-to-pydantic generate --convex-dir convex --output-dir generated/direct --client-style sync
node server.js &
server=$!
until [ -s port ]; do sleep 0.1; done
cat > probe.py <<'PY'
import asyncio
import inspect
from convex import ConvexClient, ConvexInt64
from convex.http_client import ConvexHttpClient
from generated.direct import _client as direct
from generated.waiting import _client as waiting

# The client that the wrappers' signatures name, and the one by HTTP, which is used here: neither is to be awaited.
assert not any(inspect.iscoroutinefunction(kind.mutation) for kind in (ConvexClient, ConvexHttpClient))
client = ConvexHttpClient("http://127.0.0.1:" + open("port").read())
assert client.mutation("notes:move", {"folder": None}) == "moved to null"
assert client.mutation("notes:resize", {"size": ConvexInt64(5)}) == "resized to 5"
assert direct.notes_move_mutation_call(client, folder="inbox") == "moved to inbox"


def tried(call):
    try:
        return call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


seen = {
    "null": tried(lambda: direct.notes_move_mutation_call(client, folder=None)),
    "int64 sent": tried(lambda: direct.notes_resize_mutation_call(client, size=5)),
    "int64 received": tried(lambda: direct.notes_count_mutation_call(client)),
    "waiting": tried(lambda: asyncio.run(waiting.notes_move_mutation_call(client, folder="inbox"))),
}
for case, outcome in seen.items():
    print(f"{case}: {outcome}\n")
assert "Validator error: Missing required field `folder`" in seen["null"]
assert "Expected `bigint`, got `5`" in seen["int64 sent"]
assert "Input should be a valid integer" in seen["int64 received"]
assert seen["waiting"] == "TypeError: object str can't be used in 'await' expression"
done = open("done").read().split()
print(done)
assert done == ["notes:move", "notes:resize", "notes:move", "notes:count", "notes:move"], done
PY
timeout 60 environment/bin/python probe.py
echo "as found"
