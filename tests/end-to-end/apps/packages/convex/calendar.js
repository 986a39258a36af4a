// What calendar packages make of the same moments; the test runs it in Node.js as well.
import { CronExpressionParser } from "cron-parser";
import { formatInTimeZone, fromZonedTime } from "date-fns-tz";
import dayjs from "dayjs";
import timezone from "dayjs/plugin/timezone.js";
import utc from "dayjs/plugin/utc.js";
import { DateTime, Info, Interval } from "luxon";
import * as rrulePackage from "rrule";

// Bundlers take its module, whose exports have names; Node.js takes its script, which is one default export.
const { default: script = rrulePackage } = rrulePackage;
const { RRule } = script;

dayjs.extend(utc);
dayjs.extend(timezone);

const zones = ["America/New_York", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"];
// Around changes of daylight saving time, and some others.
const times = ["2024-03-10T06:59:59Z", "2024-03-10T07:00:00Z", "2024-10-27T00:59:59Z", "2024-10-27T01:00:00Z", "2024-02-29T12:34:56Z", "1999-12-31T23:59:59Z"];

export function luxonTexts() {
  return times.flatMap((time) =>
    zones.flatMap((zone) => {
      const date = DateTime.fromISO(time, { zone });
      return [
        date.toISO(),
        date.toFormat("EEEE d LLLL yyyy HH:mm:ss ZZZZ"),
        date.isInDST,
        ...["en-US", "de", "fr", "ja"].map((locale) => date.setLocale(locale).toLocaleString(DateTime.DATETIME_FULL)),
        date.plus({ days: 1 }).startOf("day").toISO(),
        date.toRelative({ base: DateTime.fromISO("2024-06-01T00:00:00Z"), locale: "pt-BR" }),
      ];
    }),
  ).concat(Info.months("long", { locale: "sv" }), Info.weekdays("short", { locale: "ru" }), [
    DateTime.fromFormat("5 März 2024", "d MMMM yyyy", { locale: "de", zone: "Europe/Berlin" }).toISO(),
    Interval.fromISO("2024-01-05/2024-02-07", { zone: "UTC" }).toLocaleString(DateTime.DATE_MED),
  ]);
}

export const dateFnsTexts = () =>
  times.flatMap((time) => zones.map((zone) => formatInTimeZone(time, zone, "yyyy-MM-dd HH:mm:ss XXX zzz")))
    .concat(zones.map((zone) => fromZonedTime("2024-07-01 10:00:00", zone).toISOString()));

export const dayjsTexts = () =>
  times.flatMap((time) => zones.map((zone) => dayjs(time).tz(zone).format("YYYY-MM-DDTHH:mm:ssZ")))
    .concat(zones.map((zone) => dayjs.tz("2024-11-03 01:30", zone).toISOString()));

export function cronTimes() {
  return zones.flatMap((tz) => {
    const schedule = CronExpressionParser.parse("30 2 * * 0", { currentDate: "2024-03-01T00:00:00Z", tz });
    return Array.from({ length: 6 }, () => schedule.next().toDate().toISOString());
  });
}

export const ruleTimes = () =>
  zones.flatMap((tzid) =>
    new RRule({ freq: RRule.WEEKLY, count: 4, tzid, dtstart: new Date(Date.UTC(2024, 9, 20, 9, 0)) }).all().map((date) => date.toISOString()));
