//! First runs, next runs, what is left out, and what a changed schedule does.

use chrono::{DateTime, Utc};
use cron::{NextRun, Schedule, Timetable, UnixMs};
use serde_json::{Value, json};

fn at(text: &str) -> UnixMs {
    let time: DateTime<Utc> = format!("{}Z", text.replace(' ', "T")).parse().expect("a time");
    UnixMs::new(time.timestamp_millis() as u64).expect("in range")
}

fn shown(run: Option<UnixMs>) -> String {
    let run = run.expect("it runs");
    let time = DateTime::<Utc>::from_timestamp_millis(run.as_milliseconds() as i64).expect("in range");
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

fn schedule(json: Value) -> Schedule {
    Schedule::from_json(&json).expect("valid")
}

/// Without any spread.
fn exact(json: Value) -> Timetable {
    Timetable::new(schedule(json), 12_345, 0)
}

#[test]
fn each_kind_runs_when_it_says() {
    let deployed = at("2026-01-30 10:20:30");
    let rows = [
        (json!({"type": "interval", "seconds": 90}), "2026-01-30 10:20:30", "2026-01-30 10:22:00"),
        (json!({"type": "interval", "minutes": 2}), "2026-01-30 10:20:30", "2026-01-30 10:22:30"),
        (json!({"type": "interval", "hours": 36}), "2026-01-30 10:20:30", "2026-01-31 22:20:30"),
        (json!({"type": "hourly", "minuteUTC": 20}), "2026-01-30 11:20:00", "2026-01-30 12:20:00"),
        (json!({"type": "hourly"}), "2026-01-30 11:00:00", "2026-01-30 12:00:00"),
        (
            json!({"type": "daily", "hourUTC": 10, "minuteUTC": 21}),
            "2026-01-30 10:21:00",
            "2026-01-31 10:21:00",
        ),
        (json!({"type": "daily", "hourUTC": 0}), "2026-01-31 00:00:00", "2026-02-01 00:00:00"),
        (
            json!({"type": "weekly", "dayOfWeek": "sunday", "hourUTC": 23, "minuteUTC": 59}),
            "2026-02-01 23:59:00",
            "2026-02-08 23:59:00",
        ),
        (
            json!({"type": "weekly", "dayOfWeek": "saturday", "hourUTC": 1}),
            "2026-01-31 01:00:00",
            "2026-02-07 01:00:00",
        ),
        // Months without such a day are left out.
        (
            json!({"type": "monthly", "day": 31, "hourUTC": 3, "minuteUTC": 4}),
            "2026-01-31 03:04:00",
            "2026-03-31 03:04:00",
        ),
        (json!({"type": "cron", "cron": "0 4 * * *"}), "2026-01-31 04:00:00", "2026-02-01 04:00:00"),
    ];
    for (json, first, second) in rows {
        let timetable = exact(json.clone());
        let first_run = timetable.first_run(deployed);
        assert_eq!(shown(first_run), first, "{json}");
        let run = first_run.expect("it runs");
        let next = timetable.next_run(run, run).expect("it goes on");
        assert_eq!((shown(Some(next.at)), next.skipped), (second.to_owned(), 0), "{json}");
    }
}

#[test]
fn schedules_that_are_none_are_refused_by_code() {
    let rows = [
        (json!("daily"), "InvalidCronSchedule", "it is not an object"),
        (json!({}), "InvalidCronSchedule", "it has no `type`"),
        (json!({"type": "yearly"}), "InvalidCronSchedule", "there is no kind `yearly`"),
        (json!({"type": "interval"}), "InvalidCronSchedule", "exactly one of"),
        (json!({"type": "interval", "seconds": 1, "hours": 1}), "InvalidCronSchedule", "exactly one of"),
        (json!({"type": "interval", "seconds": null}), "InvalidCronSchedule", "`seconds` must be a number"),
        (
            json!({"type": "interval", "seconds": 0}),
            "InvalidCronSchedule",
            "`seconds` must be an integer from 1 to",
        ),
        (json!({"type": "interval", "minutes": 1.5}), "InvalidCronSchedule", "not 1.5"),
        (json!({"type": "interval", "minutes": -1}), "InvalidCronSchedule", "not -1"),
        (json!({"type": "interval", "minutes": "1"}), "InvalidCronSchedule", "not \"1\""),
        (json!({"type": "interval", "hours": 878_401}), "InvalidCronSchedule", "from 1 to 878400"),
        (
            json!({"type": "hourly", "minuteUTC": 60}),
            "InvalidCronSchedule",
            "`minuteUTC` must be an integer from 0 to 59",
        ),
        (json!({"type": "daily"}), "InvalidCronSchedule", "`hourUTC` is missing"),
        (json!({"type": "daily", "hourUTC": 24}), "InvalidCronSchedule", "from 0 to 23, not 24"),
        (json!({"type": "weekly", "hourUTC": 1}), "InvalidCronSchedule", "`dayOfWeek` must be"),
        (
            json!({"type": "weekly", "dayOfWeek": "Tuesday", "hourUTC": 1}),
            "InvalidCronSchedule",
            "`dayOfWeek` must be",
        ),
        (json!({"type": "monthly", "hourUTC": 1}), "InvalidCronSchedule", "`day` is missing"),
        (
            json!({"type": "monthly", "day": 0, "hourUTC": 1}),
            "InvalidCronSchedule",
            "`day` must be an integer from 1 to 31",
        ),
        (json!({"type": "monthly", "day": 32, "hourUTC": 1}), "InvalidCronSchedule", "not 32"),
        (json!({"type": "cron"}), "InvalidCronSchedule", "`cron` must be a string"),
        (json!({"type": "cron", "cron": "* * * *"}), "InvalidCronExpression", "`* * * *` is not valid"),
        (json!({"type": "cron", "cron": "0 0 30 2 *"}), "CronNeverRuns", "`0 0 30 2 *` never runs"),
    ];
    for (json, code, sentence) in rows {
        let error = Schedule::from_json(&json).expect_err(&json.to_string());
        assert_eq!(error.code(), code, "{json}: {error}");
        assert!(error.to_string().contains(sentence), "{json}: {error}");
    }
    assert!(Schedule::from_json(&json!({"type": "interval", "hours": 878_400})).is_ok());
}

#[test]
fn an_interval_keeps_its_beat_and_counts_what_it_leaves_out() {
    let every_minute = exact(json!({"type": "interval", "minutes": 1}));
    let run = at("2026-01-01 00:00:30");
    let rows = [
        // In time; the next one is due right now; one is missed; more are.
        ("2026-01-01 00:00:30", "2026-01-01 00:01:30", 0),
        ("2026-01-01 00:01:29", "2026-01-01 00:01:30", 0),
        ("2026-01-01 00:01:30", "2026-01-01 00:01:30", 0),
        ("2026-01-01 00:01:31", "2026-01-01 00:02:30", 1),
        ("2026-01-01 00:02:30", "2026-01-01 00:02:30", 1),
        ("2026-01-02 00:00:31", "2026-01-02 00:01:30", 1_440),
        // A clock that went back.
        ("2025-12-31 00:00:00", "2026-01-01 00:01:30", 0),
    ];
    for (now, next, skipped) in rows {
        let found = every_minute.next_run(run, at(now)).expect("it goes on");
        assert_eq!((shown(Some(found.at)), found.skipped), (next.to_owned(), skipped), "{now}");
    }
}

#[test]
fn a_time_of_the_calendar_is_not_made_up_for() {
    let hourly = exact(json!({"type": "hourly", "minuteUTC": 5}));
    let run = at("2026-01-01 00:05:00");
    let next = |now: &str| shown(hourly.next_run(run, at(now)).map(|next| next.at));
    assert_eq!(next("2026-01-01 00:05:01"), "2026-01-01 01:05:00");
    assert_eq!(next("2026-01-01 01:05:00"), "2026-01-01 02:05:00");
    assert_eq!(next("2026-01-07 12:00:00"), "2026-01-07 12:05:00");
    assert_eq!(next("2025-12-31 00:00:00"), "2026-01-01 01:05:00");
}

#[test]
fn jobs_are_spread_by_their_draw_and_each_stays_where_it_is() {
    let daily = || schedule(json!({"type": "daily", "hourUTC": 3, "minuteUTC": 4}));
    let open = || schedule(json!({"type": "daily", "hourUTC": 3}));
    let noon = at("2026-01-01 12:00:00");
    let first = |schedule: Schedule, draw: u64, splay_seconds: u64| {
        shown(Timetable::new(schedule, draw, splay_seconds).first_run(noon))
    };
    assert_eq!(first(daily(), 61, 60), "2026-01-02 03:04:01");
    assert_eq!(first(daily(), 59, 60), "2026-01-02 03:04:59");
    assert_eq!(first(daily(), 59, 0), "2026-01-02 03:04:00");
    assert_eq!(first(open(), 3_599, 60), "2026-01-02 03:59:59");
    assert_eq!(first(open(), 3_600, 60), "2026-01-02 03:00:00");
    assert_eq!(first(open(), 3_599, 0), "2026-01-02 03:00:00");
    assert_eq!(first(schedule(json!({"type": "interval", "hours": 1})), 59, 60), "2026-01-01 12:00:00");

    // Within the spread of a run, that run is still to come; at it, the next one is.
    let timetable = Timetable::new(daily(), 30, 60);
    assert_eq!(shown(timetable.first_run(at("2026-01-02 03:04:10"))), "2026-01-02 03:04:30");
    assert_eq!(shown(timetable.first_run(at("2026-01-02 03:04:30"))), "2026-01-03 03:04:30");
    let run = at("2026-01-02 03:04:30");
    let next = |timetable: &Timetable, run, now| timetable.next_run(run, now).expect("it goes on");
    assert_eq!(next(&timetable, run, run), NextRun { at: at("2026-01-03 03:04:30"), skipped: 0 });
    // A spread that is longer than the time between two runs leaves none out.
    let minutely = Timetable::new(schedule(json!({"type": "cron", "cron": "* * * * *"})), 150, 600);
    let first = minutely.first_run(at("2026-01-01 00:00:00")).expect("it runs");
    assert_eq!(shown(Some(first)), "2026-01-01 00:00:30");
    assert_eq!(next(&minutely, first, first).at, at("2026-01-01 00:01:30"));
}

#[test]
fn a_changed_schedule_begins_anew_unless_the_job_was_about_to_run_twice() {
    let now = at("2026-01-01 12:00:00");
    let daily = exact(json!({"type": "daily", "hourUTC": 3, "minuteUTC": 0}));
    let hourly = exact(json!({"type": "hourly", "minuteUTC": 30}));
    let tens = exact(json!({"type": "interval", "seconds": 10}));
    let minutes = exact(json!({"type": "interval", "minutes": 1}));
    let run = |new: &Timetable, old: &Timetable, run: &str| shown(new.run_after_change(old, at(run), now));
    assert_eq!(run(&hourly, &daily, "2026-01-02 03:00:00"), "2026-01-01 12:30:00");
    assert_eq!(run(&tens, &daily, "2026-01-02 03:00:00"), "2026-01-01 12:00:00");
    // The next two runs would be at 12:00:08 and 12:00:18.
    assert_eq!(run(&hourly, &tens, "2026-01-01 12:00:08"), "2026-01-01 12:00:08");
    // At 12:00:30, and 12:00:20 and 12:00:30.
    assert_eq!(run(&hourly, &tens, "2026-01-01 12:00:20"), "2026-01-01 12:00:20");
    assert_eq!(run(&hourly, &tens, "2026-01-01 12:00:21"), "2026-01-01 12:30:00");
    // Only one of them is near.
    assert_eq!(run(&hourly, &minutes, "2026-01-01 12:00:08"), "2026-01-01 12:30:00");
}

#[test]
fn nothing_runs_behind_the_end_of_time() {
    let timetable = exact(json!({"type": "interval", "hours": 1}));
    assert_eq!(timetable.first_run(UnixMs::MAX), Some(UnixMs::MAX));
    assert_eq!(timetable.next_run(UnixMs::MAX, UnixMs::MAX), None);
    let daily = Timetable::new(schedule(json!({"type": "daily", "hourUTC": 23, "minuteUTC": 59})), 59, 60);
    let evening = at("9999-12-31 20:00:00");
    assert_eq!(shown(daily.first_run(evening)), "9999-12-31 23:59:59");
    assert_eq!(daily.next_run(at("9999-12-31 23:59:59"), evening), None);
    assert_eq!(UnixMs::new(UnixMs::MAX.as_milliseconds() + 1), None);
}
