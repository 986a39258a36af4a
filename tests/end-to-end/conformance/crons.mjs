// Cron jobs. They are declared by a variable, so that each rule has its own without a push.
import assert from "node:assert/strict";
import { until, valueOf } from "./rule.mjs";

const HOUR_MS = 3_600_000;

/** A job as the client library exports it. */
const job = (schedule, name = "beats:beat", args = {}) => ({ name, args: [args], schedule });
const hourly = (name, args) => job({ type: "interval", hours: 1 }, name, args);

const declare = (server, jobs) => server.change({ CRONS: JSON.stringify(jobs) });
/** A time in the system's tables: nanoseconds, to milliseconds. */
const ms = ({ $integer }) => Number(Buffer.from($integer, "base64").readBigInt64LE()) / 1e6;
const byName = (list) => Object.fromEntries(list.map((job) => [job.name, job]));
const deployed = async (server) => byName(await server.system("_system/frontend/listCronJobs:default"));
const runs = (server) => server.system("_system/frontend/listCronJobRuns:default");

/** Declares these jobs and no others, looks, and takes them away. */
async function declared(server, jobs, look) {
  try {
    assert.equal(await declare(server, jobs), 200);
    await look(await deployed(server));
  } finally {
    await declare(server, {});
  }
}

const enteredBy = (client, name) => valueOf(client, "query", "actions:count", { name });
const lastRun = (server, name) => until(async () => (await deployed(server))[name].lastRun);

/** An hour and a minute that are far away, whenever the test runs. */
function faraway() {
  const time = new Date(Date.now() + 12.5 * HOUR_MS);
  return { hourUTC: time.getUTCHours(), minuteUTC: time.getUTCMinutes() };
}

/**
 * The next run of a schedule, which is given that hour and minute, is at that minute of the hour, and on a day for which `holds`. It is in the
 * future, and no more than so many hours away, but for the minute by which jobs are spread.
 */
const comes = (rule, hours, schedule, holds = () => true) => ({
  rule,
  check: async ({ server }) => {
    const { hourUTC, minuteUTC } = faraway();
    await declared(server, { one: job(schedule(hourUTC, minuteUTC), "beats:beat", { name: "never" }) }, ({ one }) => {
      assert.equal(one.lastRun, null);
      const next = new Date(ms(one.nextRun.nextTs));
      assert.ok(next > Date.now() && next < Date.now() + hours * HOUR_MS + 120_000, `${next}`);
      assert.equal(next.getUTCMinutes(), minuteUTC);
      assert.ok(hours === 1 || next.getUTCHours() === hourUTC, `${next}`);
      assert.ok(holds(next), next.toISOString());
    });
  },
});

const WEEK_HOURS = 7 * 24;
const isSunday = (next) => next.getUTCDay() === 0;

const refused = (rule, it, code, pattern, name = "one") => ({
  rule,
  check: async ({ server }) => {
    const answer = String(await declare(server, { [name]: it }));
    assert.ok(answer.startsWith(`400 ${code}: `), answer);
    assert.match(answer, pattern);
    assert.ok(answer.includes(`crons.js`) && answer.includes(`\`${name}\``), answer);
    assert.deepEqual(await deployed(server), {});
  },
});
const badSchedule = (rule, schedule, pattern) => refused(rule, job(schedule, "beats:beat", { name: "never" }), "InvalidCronSchedule", pattern);
const badExpression = (rule, cron, pattern = /is not valid/) => refused(rule, job({ type: "cron", cron }, "beats:beat", { name: "never" }), "InvalidCronExpression", pattern);

export default {
  group: "cron jobs",
  rules: [
    {
      rule: "an interval runs at once, with its arguments; its log has what it returned and printed",
      check: async ({ client, server, unique }) => {
        const name = unique("interval");
        await declared(server, { one: hourly("beats:beat", { name }) }, async ({ one }) => {
          assert.equal(one.cronSpec.udfPath, "beats.js:beat");
          const { status, logLines, ts } = await lastRun(server, "one");
          assert.deepEqual(status, { type: "success", result: { type: "value", value: 1 } });
          assert.deepEqual(logLines, { logLines: [`[LOG] 'beat' '${name}'`], isTruncated: false });
          assert.equal(await enteredBy(client, name), 1);
          const next = ms((await deployed(server)).one.nextRun.nextTs);
          assert.equal(Math.round(next - ms(ts)), HOUR_MS, "and the next one an interval later");
        });
      },
    },
    {
      rule: "again and again; the last five runs are kept",
      check: async ({ client, server, unique }) => {
        const name = unique("seconds");
        await declared(server, { one: job({ type: "interval", seconds: 1 }, "beats:beat", { name }) }, async () => {
          await until(() => enteredBy(client, name), (count) => count >= 6);
          assert.equal((await runs(server)).length, 5);
        });
      },
    },
    {
      rule: "what fails has written nothing, its log says why, and it comes again",
      check: async ({ client, server, unique }) => {
        const name = unique("fails");
        await declared(server, { one: job({ type: "interval", seconds: 1 }, "beats:fail", { name }) }, async () => {
          const failed = await until(async () => (await runs(server)).filter(({ status }) => status.type === "err"), ({ length }) => length >= 2);
          assert.match(failed[0].status.error, /Uncaught RangeError: off the beat[^]*convex\/beats\.ts/);
          assert.equal(await enteredBy(client, name), 0);
        });
      },
    },
    {
      rule: "an action runs, too",
      check: async ({ client, server, unique }) => {
        const name = unique("acts");
        await declared(server, { one: hourly("beats:act", { name }) }, async () => {
          const { status } = await lastRun(server, "one");
          assert.deepEqual(status, { type: "success", result: { type: "value", value: 1 } });
          assert.equal(await enteredBy(client, name), 1);
        });
      },
    },
    comes("hourly: at its minute", 1, (_, minuteUTC) => ({ type: "hourly", minuteUTC })),
    comes("daily: at its hour and minute, UTC", 24, (hourUTC, minuteUTC) => ({ type: "daily", hourUTC, minuteUTC })),
    comes("weekly: on its day", WEEK_HOURS, (hourUTC, minuteUTC) => ({ type: "weekly", dayOfWeek: "sunday", hourUTC, minuteUTC }), isSunday),
    comes(
      "monthly: on its day of the month",
      31 * 24,
      (hourUTC, minuteUTC) => ({ type: "monthly", day: 2, hourUTC, minuteUTC }),
      (next) => next.getUTCDate() === 2,
    ),
    comes("in an expression Sunday is 0", WEEK_HOURS, (hour, minute) => ({ type: "cron", cron: `${minute} ${hour} * * 0` }), isSunday),
    comes("and 7", WEEK_HOURS, (hour, minute) => ({ type: "cron", cron: `${minute} ${hour} * * 7` }), isSunday),
    comes(
      "of two fields for days one is enough",
      WEEK_HOURS,
      (hour, minute) => ({ type: "cron", cron: `${minute} ${hour} 2 * 1` }),
      (next) => next.getUTCDate() === 2 || next.getUTCDay() === 1,
    ),
    {
      rule: "a minute that is left open stays what it is",
      check: async ({ server }) => {
        const { hourUTC } = faraway();
        const open = job({ type: "daily", hourUTC }, "beats:beat", { name: "never" });
        await declared(server, { one: open }, async ({ one }) => {
          assert.equal(new Date(ms(one.nextRun.nextTs)).getUTCHours(), hourUTC);
          assert.equal(await declare(server, { one: { ...open, args: [{ name: "other" }] } }), 200);
          const { one: later } = await deployed(server);
          assert.deepEqual([later._id, later.nextRun.nextTs], [one._id, one.nextRun.nextTs]);
        });
      },
    },
    {
      rule: "another schedule begins anew, as the same job",
      check: async ({ server }) => {
        const { hourUTC } = faraway();
        const daily = (minuteUTC) => ({ one: job({ type: "daily", hourUTC, minuteUTC }, "beats:beat", { name: "never" }) });
        await declared(server, daily(4), async ({ one }) => {
          assert.equal(await declare(server, daily(44)), 200);
          const { one: later } = await deployed(server);
          assert.equal(later._id, one._id);
          const next = new Date(ms(later.nextRun.nextTs));
          assert.deepEqual([next.getUTCHours(), next.getUTCMinutes()], [hourUTC, 44]);
        });
      },
    },
    {
      rule: "a job that is no longer declared goes, with its log",
      check: async ({ server, unique }) => {
        await declared(server, { one: hourly("beats:beat", { name: unique("goes") }) }, async () => {
          await lastRun(server, "one");
          assert.equal(await declare(server, {}), 200);
          assert.deepEqual([await deployed(server), await runs(server)], [{}, []]);
        });
      },
    },
    badSchedule("an interval has one unit", { type: "interval", seconds: 1, hours: 1 }, /exactly one/),
    badSchedule("which is more than nothing", { type: "interval", minutes: 0 }, /`minutes`/),
    badSchedule("and whole", { type: "interval", seconds: 1.5 }, /`seconds`/),
    badSchedule("a minute is less than 60", { type: "hourly", minuteUTC: 60 }, /`minuteUTC`/),
    badSchedule("an hour less than 24", { type: "daily", hourUTC: 24, minuteUTC: 0 }, /`hourUTC`/),
    badSchedule("a day of the week has its name", { type: "weekly", dayOfWeek: "Sonntag", hourUTC: 3 }, /`dayOfWeek`/),
    badSchedule("a day of the month is at most 31", { type: "monthly", day: 32, hourUTC: 3 }, /`day`/),
    badExpression("an expression has five fields: not four", "* * * *"),
    badExpression("nor six", "0 * * * * *"),
    badExpression("of which each is in its range", "61 * * * *"),
    refused("and there is a day that it fits", job({ type: "cron", cron: "0 0 30 2 *" }, "beats:beat", { name: "never" }), "CronNeverRuns", /never runs/),
    refused("what a job runs is there", hourly("beats:nothing"), "InvalidCronSpec", /there is no function `beats:nothing`/),
    refused("and is no query", hourly("beats:look"), "InvalidCronSpec", /is a query/),
    refused("a job's name is printable ASCII", hourly("beats:beat", { name: "never" }), "InvalidCronName", /printable ASCII/, "täglich"),
  ],
};
