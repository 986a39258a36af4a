#!/usr/bin/env bash
# crates cron 0.17.0 with chrono-tz 0.10.4: in the hour that comes twice the times of a schedule come in the wrong order, and which ones come depends on how one asks.
#
# The guess: times are in order, and `after(time)` of one that the iterator gave is the one that the iterator gives next. "Every 20 minutes" is three times in the
# first pass of that hour and three times in the second.
# What happens: the iterator takes both passes of a minute together, 1:00, 1:00, 1:20, 1:20: from 06:00 UTC it goes back to 05:20. Asked anew from each time, as
# a program does that sleeps until the next one, it leaves out the second pass; an hourly job has a gap of two hours, where the iterator has none.
# What follows: let schedules that must run every hour be in UTC; sort and compare what an iterator gives before a job is started by it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > Cargo.toml <<'TOML'
[package]
name = "probe"
version = "0.0.0"
edition = "2021"

[dependencies]
cron = "=0.17.0"
chrono = { version = "=0.4.45", default-features = false, features = ["clock", "std"] }
chrono-tz = "=0.10.4"
TOML
mkdir src
cat > src/main.rs <<'RS'
use chrono::{DateTime, TimeZone, Utc};
use chrono_tz::{America::New_York, Tz};
use cron::Schedule;

fn utc(times: impl Iterator<Item = DateTime<Tz>>) -> String {
    times.take(8).map(|time| time.with_timezone(&Utc).format("%H:%M").to_string()).collect::<Vec<_>>().join(" ")
}

fn main() {
    // Clocks go back at 06:00 UTC, from 2:00 to 1:00.
    let from = Utc.with_ymd_and_hms(2026, 11, 1, 4, 30, 0).unwrap().with_timezone(&New_York);
    for (pattern, iterated, one_by_one) in [
        ("0 */20 * * * *", "04:40 05:00 06:00 05:20 06:20 05:40 06:40 07:00", "04:40 05:00 05:20 05:40 07:00 07:20 07:40 08:00"),
        ("0 0 * * * *", "05:00 06:00 07:00 08:00 09:00 10:00 11:00 12:00", "05:00 07:00 08:00 09:00 10:00 11:00 12:00 13:00"),
    ] {
        let schedule: Schedule = pattern.parse().expect("it is valid");
        let by_iterator = utc(schedule.after(&from));
        let asked_anew = utc(std::iter::successors(schedule.after(&from).next(), |time| schedule.after(time).next()));
        println!("{pattern}\n  the iterator: {by_iterator}\n  asked anew:   {asked_anew}");
        assert_eq!((by_iterator.as_str(), asked_anew.as_str()), (iterated, one_by_one));
    }
}
RS
CARGO_TARGET_DIR="$folder/target" cargo run --quiet
echo "as found"
