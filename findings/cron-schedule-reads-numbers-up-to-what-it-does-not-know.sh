#!/usr/bin/env bash
# npm cron-schedule 6.0.0: "every 15 minutes from 5 on" (5/15) runs once an hour, "the last Friday" (5L) and "the fifth Monday" (1#5) run every week.
#
# The guess: what a parser does not know it refuses; its neighbours do one or the other: take it as it is meant, or throw.
# What happens: a number is read up to where it ends, and what follows is dropped: 5/15 is 5, 5L is 5, 1#5 is 1, 15W is 15. Where letters come first (L, ?)
# it throws, which looks as if patterns were checked.
# What follows: patterns that users give must be looked at before this library is asked: only digits, names, "*", ",", "-", and "/" behind "*" or a range.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error cron-schedule@6.0.0 cron-parser@5.10.6 croner@11.0.1 >/dev/null
cat > probe.mjs <<'JS'
import assert from "node:assert";
import { CronExpressionParser } from "cron-parser";
import { parseCronExpression } from "cron-schedule";
import { Cron } from "croner";

const from = new Date("2026-01-01T00:30:00Z");
const libraries = {
  "cron-schedule": (pattern) => parseCronExpression(pattern).getNextDates(3, from),
  "cron-parser": (pattern) => CronExpressionParser.parse(pattern, { tz: "UTC", currentDate: from }).take(3).map((time) => time.toDate()),
  croner: (pattern) => new Cron(pattern, { timezone: "UTC", paused: true }).nextRuns(3, from),
};
const seen = {};
for (const [pattern, [begin, end]] of Object.entries({
  "5/15 * * * *": [11, 16],
  "0 0 * * 1#5": [5, 10],
  "0 0 * * 5L": [5, 10],
  "0 0 15W * *": [5, 10],
  "0 0 L * *": [5, 10],
})) {
  seen[pattern] = {};
  for (const [name, next] of Object.entries(libraries)) {
    try {
      seen[pattern][name] = next(pattern).map((time) => time.toISOString().slice(begin, end)).join(" ");
    } catch {
      seen[pattern][name] = "refused";
    }
  }
}
console.log(seen);
const [everyQuarter, fifthMonday, lastFriday] = ["00:35 00:50 01:05", "03-30 06-29 08-31", "01-30 02-27 03-27"];
assert.deepEqual(seen, {
  "5/15 * * * *": { "cron-schedule": "01:05 02:05 03:05", "cron-parser": everyQuarter, croner: "refused" },
  "0 0 * * 1#5": { "cron-schedule": "01-05 01-12 01-19", "cron-parser": fifthMonday, croner: fifthMonday },
  "0 0 * * 5L": { "cron-schedule": "01-02 01-09 01-16", "cron-parser": lastFriday, croner: lastFriday },
  "0 0 15W * *": { "cron-schedule": "01-15 02-15 03-15", "cron-parser": "refused", croner: "01-15 02-16 03-16" },
  "0 0 L * *": { "cron-schedule": "refused", "cron-parser": "01-31 02-28 03-31", croner: "01-31 02-28 03-31" },
});
JS
TZ=UTC timeout 60 node probe.mjs
echo "as found"
