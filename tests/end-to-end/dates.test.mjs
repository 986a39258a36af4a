// Calendar packages from npm, in queries and in Node.js: they have their time zones and languages from Intl.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";
import * as calendar from "./apps/packages/convex/calendar.js";
import { pushApp } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

// The packages ask for the process' own zone where none is named.
process.env.TZ = "UTC";

const file = { after };
const tidemark = await startTidemark(file);
await pushApp(file, tidemark, "packages");
const client = new ConvexHttpClient(tidemark.url, { logger: false });

for (const [name, texts] of Object.entries({
  luxon: calendar.luxonTexts,
  dateFns: calendar.dateFnsTexts,
  dayjs: calendar.dayjsTexts,
  cronParser: calendar.cronTimes,
  rrule: calendar.ruleTimes,
})) {
  test(`${name} says the same in a query and in Node.js`, { timeout: 300_000 }, async () => {
    assert.deepEqual(await client.query(anyApi.dates[name], {}), texts());
  });
}
