#!/usr/bin/env bash
# npm @datasert/cronjs-matcher 1.4.0 (with cronjs-parser 1.4.0): "Friday to Sunday" written as 5-7 never runs on Sundays, and an hourly job leaves out
# one hour a year.
#
# The guess: 7 is Sunday as 0 is, alone and as the end of a range; `0 * * * *` runs 24 times a day, 25 times on the day when clocks go back.
# What happens: `0 0 * * 7` runs on Sundays, `0 0 * * 5-7` on Fridays and Saturdays only, without an error. When clocks go back, the hour that comes twice runs
# once on its first pass and not on its second: two runs are two hours apart.
# What follows: write 5,6,0 for it; schedule in UTC what must run every hour. The npm packages croner 11.0.1 and cron-parser 5.10.6 run all of them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --ignore-scripts --no-audit --no-fund --loglevel=error @datasert/cronjs-matcher@1.4.0 @datasert/cronjs-parser@1.4.0 croner@11.0.1 \
  cron-parser@5.10.6 >/dev/null
cat > probe.mjs <<'JS'
import assert from "node:assert";
import { createRequire } from "node:module";
import { CronExpressionParser } from "cron-parser";
import { Cron } from "croner";

const { getFutureMatches } = createRequire(import.meta.url)("@datasert/cronjs-matcher");
const short = (date) => new Date(date).toISOString().slice(0, 16);
const libraries = {
  cronjs: (pattern, from, timezone, matchCount) =>
    getFutureMatches(pattern, { timezone, startAt: from.toISOString(), matchCount, hasSeconds: false }).map(short),
  croner: (pattern, from, timezone, runs) => new Cron(pattern, { timezone, paused: true }).nextRuns(runs, from).map(short),
  "cron-parser": (pattern, from, tz, runs) => {
    const times = CronExpressionParser.parse(pattern, { tz, currentDate: from });
    return Array.from({ length: runs }, () => short(times.next().toDate()));
  },
};
const seen = {};
for (const [name, next] of Object.entries(libraries)) {
  // 1 January 2026 is a Thursday.
  const dayOfMonth = (times) => times.map((time) => Number(time.slice(8, 10))).join(" ");
  const hours = (times) => times.map((time) => time.slice(11)).join(" ");
  const newYear = new Date("2026-01-01T12:00:00Z");
  seen[name] = {
    sundays: dayOfMonth(next("0 0 * * 7", newYear, "UTC", 3)),
    fridayToSunday: dayOfMonth(next("0 0 * * 5-7", newYear, "UTC", 6)),
    // Clocks go back at 06:00 UTC.
    hourly: hours(next("0 * * * *", new Date("2026-11-01T04:30:00Z"), "America/New_York", 3)),
  };
}
console.log(seen);
const right = { sundays: "4 11 18", fridayToSunday: "2 3 4 9 10 11", hourly: "05:00 06:00 07:00" };
assert.deepEqual(seen, {
  cronjs: { sundays: "4 11 18", fridayToSunday: "2 3 9 10 16 17", hourly: "05:00 07:00 08:00" },
  croner: right,
  "cron-parser": right,
});
JS
timeout 60 node probe.mjs
echo "as found"
