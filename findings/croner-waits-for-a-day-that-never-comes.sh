#!/usr/bin/env bash
# crates croner 4.0.3: `L` alone as day of the week ("the last day of the week") is accepted and never runs.
#
# The guess: `L` alone is the last day of the week, Saturday, as in the dialect that it comes from (and in saffron 0.1.0); or it is refused, as it is
# documented only behind a day, for the last one of the month.
# What happens: `5L` is the last Friday; `0 0 * * L` parses, its iterator is empty, and `find_next_occurrence` fails after searching through thousands of years.
# What follows: a pattern that a user gives is accepted only once its next occurrence was found.
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
chrono = "=0.4.43"
croner = "=4.0.3"
saffron = "=0.1.0"
TOML
mkdir src
cat > src/main.rs <<'RS'
use chrono::{DateTime, TimeZone, Utc};

fn days<'d>(times: impl Iterator<Item = DateTime<Utc>> + 'd) -> Vec<String> {
    times.take(3).map(|time| time.format("%a %-d %b").to_string()).collect()
}

fn main() {
    let from = Utc.with_ymd_and_hms(2026, 1, 1, 12, 0, 0).unwrap();
    let of = |pattern: &str| pattern.parse::<croner::Cron>();
    let last_friday = days(of("0 0 * * 5L").expect("it is accepted").iter_after(from));
    let last_day = of("0 0 * * L").expect("it is accepted");
    let next = last_day.find_next_occurrence(&from, false).map_err(|error| error.to_string());
    let with_saffron = days("0 0 * * L".parse::<saffron::Cron>().expect("it is accepted").iter_from(from));
    println!("5L: {last_friday:?}; L: {:?}, {next:?}; L with saffron: {with_saffron:?}", days(last_day.iter_after(from)));
    assert_eq!(last_friday, ["Fri 30 Jan", "Fri 27 Feb", "Fri 27 Mar"]);
    assert_eq!(last_day.iter_after(from).count(), 0);
    assert!(next.is_err());
    assert_eq!(with_saffron, ["Sat 3 Jan", "Sat 10 Jan", "Sat 17 Jan"]);
}
RS
CARGO_TARGET_DIR="$folder/target" cargo run --quiet
echo "as found"
