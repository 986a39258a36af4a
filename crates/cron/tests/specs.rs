//! An app's jobs as they are read at a push, and what a push changes.

use cron::{CronSpec, Schedule, compare, read_specs};
use serde_json::{Value, json};

fn pairs(jobs: Value) -> Vec<(String, Value)> {
    serde_json::from_value(jobs).expect("pairs")
}

fn specs(jobs: Value) -> Vec<CronSpec> {
    read_specs(&pairs(jobs)).expect("they can be taken")
}

/// What the client library 1.48.0 exports for one job of each kind.
fn captured() -> Value {
    json!([
        ["every minute", {"name": "messages:secret", "args": [{}], "schedule": {"minutes": 1, "type": "interval"}}],
        ["hourly", {"name": "messages:secret", "args": [{}], "schedule": {"minuteUTC": 5, "type": "hourly"}}],
        ["hourly-none", {"name": "messages:secret", "args": [{}], "schedule": {"type": "hourly"}}],
        ["daily", {"name": "messages:secret", "args": [{}], "schedule": {"hourUTC": 3, "minuteUTC": 4, "type": "daily"}}],
        ["weekly", {"name": "messages:secret", "args": [{}], "schedule": {"dayOfWeek": "monday", "hourUTC": 3, "minuteUTC": 4, "type": "weekly"}}],
        ["monthly", {"name": "messages:send", "args": [{"body": "x"}], "schedule": {"day": 2, "hourUTC": 3, "minuteUTC": 4, "type": "monthly"}}],
        ["cron", {"name": "nodeThing:run", "args": [{"a": "b"}], "schedule": {"cron": "0 4 * * *", "type": "cron"}}],
    ])
}

#[test]
fn what_the_client_library_exports_is_read() {
    let specs = specs(captured());
    let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    assert_eq!(names, ["every minute", "hourly", "hourly-none", "daily", "weekly", "monthly", "cron"]);
    assert_eq!(specs[0].schedule, Schedule::Interval { seconds: 60 });
    assert_eq!((specs[6].function.as_str(), &specs[6].arguments), ("nodeThing:run", &json!([{"a": "b"}])));
    assert_eq!(specs[6].schedule_json, json!({"cron": "0 4 * * *", "type": "cron"}));
    assert!(read_specs(&[]).expect("no jobs").is_empty());
}

#[test]
fn jobs_that_can_not_be_taken_are_refused_by_name_and_code() {
    let schedule = json!({"type": "hourly"});
    let job = |args: Value| json!({"name": "m:f", "args": args, "schedule": schedule});
    let rows = [
        (json!([["näme", job(json!([{}]))]]), "näme", "InvalidCronName"),
        (json!([["a\nb", job(json!([{}]))]]), "a\nb", "InvalidCronName"),
        (
            json!([["a", job(json!([{}]))], ["b", job(json!([{}]))], ["a", job(json!([{}]))]]),
            "a",
            "CronNameNotUnique",
        ),
        (json!([["a", null]]), "a", "InvalidCronSpec"),
        (json!([["a", {"args": [{}], "schedule": schedule}]]), "a", "InvalidCronSpec"),
        (json!([["a", {"name": "", "args": [{}], "schedule": schedule}]]), "a", "InvalidCronSpec"),
        (json!([["a", {"name": "m:f", "schedule": schedule}]]), "a", "InvalidCronSpec"),
        (json!([["a", {"name": "m:f", "args": [{}]}]]), "a", "InvalidCronSpec"),
        (json!([["a", job(json!({}))]]), "a", "InvalidCronSpec"),
        (json!([["a", job(json!([]))]]), "a", "InvalidCronSpec"),
        (json!([["a", job(json!([{}, {}]))]]), "a", "InvalidCronSpec"),
        (json!([["a", job(json!([1]))]]), "a", "InvalidCronSpec"),
        (
            json!([["good", job(json!([{}]))], ["bad", {"name": "m:f", "args": [{}], "schedule": {"type": "daily"}}]]),
            "bad",
            "InvalidCronSchedule",
        ),
    ];
    for (jobs, name, code) in rows {
        let refused = read_specs(&pairs(jobs.clone())).expect_err(&jobs.to_string());
        assert_eq!((refused.name.as_str(), refused.error.code()), (name, code), "{jobs}: {}", refused.error);
    }
}

#[test]
fn arguments_have_less_than_a_mebibyte() {
    let job = |bytes: usize| json!({"name": "m:f", "args": [{"a": "x".repeat(bytes)}], "schedule": {"type": "hourly"}});
    // [{"a":"…"}] has ten more.
    let fits = cron::ARGUMENTS_JSON_BYTES_MAX - 10;
    assert_eq!(cron::ARGUMENTS_JSON_BYTES_MAX, 1_048_575);
    assert!(CronSpec::from_json("a", &job(fits)).is_ok());
    let error = CronSpec::from_json("a", &job(fits + 1)).expect_err("too large");
    assert_eq!(error.code(), "CronArgumentsTooLarge");
}

#[test]
fn a_push_adds_updates_and_deletes_by_name() {
    let deployed = specs(captured());
    let mut pushed = deployed.clone();
    assert_eq!(compare(&deployed, &pushed), Default::default());
    pushed.retain(|spec| spec.name != "daily");
    pushed.reverse();
    for spec in &mut pushed {
        match spec.name.as_str() {
            "weekly" => spec.arguments = json!([{"b": 1}]),
            "hourly" => spec.function = "messages:other".to_owned(),
            // It says the same in other words: updated, and its schedule is equal.
            "cron" => {
                let json = json!({"cron": "0 4 * * ?", "type": "cron"});
                spec.schedule = Schedule::from_json(&json).expect("valid");
                spec.schedule_json = json;
            }
            _ => {}
        }
    }
    pushed.extend(specs(json!([["new", {"name": "m:f", "args": [{}], "schedule": {"type": "hourly"}}]])));
    let changes = compare(&deployed, &pushed);
    let names = |specs: &[&CronSpec]| specs.iter().map(|spec| spec.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&changes.added), ["new"]);
    assert_eq!(names(&changes.deleted), ["daily"]);
    let updated: Vec<(&str, bool)> =
        changes.updated.iter().map(|(old, new)| (new.name.as_str(), old.schedule == new.schedule)).collect();
    assert_eq!(updated, [("cron", true), ("weekly", true), ("hourly", true)]);
}
