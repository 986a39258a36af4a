#!/usr/bin/env bash
# npm @convex-dev/react-query 0.1.0 with @tanstack/react-query 5.90.5 and convex 1.48.0: an action that is skipped shows the answer of a call without arguments.
#
# The guess: `convexAction(reference, "skip")` is asked of nobody and has no data, as `convexQuery(reference, "skip")`; a component that skips until its user has chosen a
# place shows nothing until then.
# What happens: a skipped action has the key of a call with `{}`. Where another component calls the action without arguments (all of them optional), the skipped one has that
# answer at once, with status "success". A skipped query has a key of its own, and stays "pending".
# What follows for an app: pass `enabled: false` and a key of one's own for an action that waits, or look at the arguments before the data.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error convex@1.48.0 @convex-dev/react-query@0.1.0 @tanstack/react-query@5.90.5 \
  react@19.2.0 react-dom@19.2.0 >/dev/null
cat > probe.mjs <<'JS'
import assert from "node:assert/strict";
import { convexAction, convexQuery } from "@convex-dev/react-query";
import { QueryClient, QueryObserver } from "@tanstack/react-query";
import { anyApi } from "convex/server";

const { now } = anyApi.weather;
// What answers is of no matter here: each answer says what was asked.
const queryFn = async ({ queryKey: [kind, name, args] }) => `${kind} ${name} ${JSON.stringify(args)}`;
const queries = new QueryClient({ defaultOptions: { queries: { queryFn } } });
await queries.fetchQuery(convexAction(now, {}));
await queries.fetchQuery(convexQuery(now, {}));

const shown = {};
for (const [name, options] of Object.entries({ action: convexAction(now, "skip"), query: convexQuery(now, "skip") })) {
  const observer = new QueryObserver(queries, options);
  const stop = observer.subscribe(() => {});
  const { status, data = null } = observer.getCurrentResult();
  shown[name] = { status, data };
  stop();
}
console.log("skipped, beside calls without arguments:", shown);
assert.deepEqual(shown, { action: { status: "success", data: "convexAction weather:now {}" }, query: { status: "pending", data: null } });
process.exit(0);
JS
node probe.mjs
echo "as found"
