#!/usr/bin/env bash
# crates saffron 0.1.0: a range whose end is before its beginning, such as FRI-MON or 22-2, begins one too early: on Thursday, at 21.
#
# The guess: a range that wraps is the same as the list of what is in it: FRI-MON is FRI,SAT,SUN,MON, and 22-2 is 22,23,0,1,2. (Few parsers take such ranges at
# all; this one means to, because Quartz does.)
# What happens: the one before the beginning is in it as well, in every field: minutes, hours, days, months, days of the week. With a step (22-2/2) the range is right.
# What follows: whoever reads patterns of users of saffron has to choose between what they wrote and what they got. A list means the same everywhere.
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
saffron = "=0.1.0"
chrono = "=0.4.43"
TOML
mkdir src
cat > src/main.rs <<'RS'
use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, TimeZone, Timelike, Utc};

/// What of the times at which a pattern runs there is, in a year and more.
fn runs(pattern: &str, what: fn(&DateTime<Utc>) -> u32) -> BTreeSet<u32> {
    let from = Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap();
    let pattern: saffron::Cron = pattern.parse().expect("it is accepted");
    pattern.iter_from(from).take(1_500).map(|time| what(&time)).collect()
}

fn main() {
    let minute: fn(&DateTime<Utc>) -> u32 = Timelike::minute;
    let weekday: fn(&DateTime<Utc>) -> u32 = |time| time.weekday().num_days_from_monday();
    let (thursday, sunday) = (3, 6);
    // The range, the list that it should be, and what is there in vain.
    for (range, list, what, early) in [
        ("58-1 * * * *", "58,59,0,1 * * * *", minute, 57),
        ("0 22-2 * * *", "0 22,23,0,1,2 * * *", Timelike::hour, 21),
        ("0 0 31-1 * *", "0 0 31,1 * *", Datelike::day, 30),
        ("0 0 1 DEC-JAN *", "0 0 1 DEC,JAN *", Datelike::month, 11),
        ("0 0 * * FRI-MON", "0 0 * * FRI,SAT,SUN,MON", weekday, thursday),
    ] {
        let (of_range, mut of_list) = (runs(range, what), runs(list, what));
        println!("{range}: {of_range:?}, as a list {of_list:?}");
        assert!(of_list.insert(early), "{early} is not in the list");
        assert_eq!(of_range, of_list);
    }
    assert_eq!(runs("0 22-2/2 * * *", Timelike::hour), BTreeSet::from([22, 0, 2]), "with a step it is right");
    assert!(!runs("0 0 * * MON-SAT", weekday).contains(&sunday), "without wrapping it is right");
}
RS
CARGO_TARGET_DIR="$folder/target" cargo run --quiet
echo "as found"
