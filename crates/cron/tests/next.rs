//! The next run is the one that a search minute by minute finds.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, TimeZone, Timelike, Utc};
use cron::{Expression, UnixMs};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

const MINUTE_MS: u64 = 60_000;
const CASES: usize = 300;
/// The search gives up after so many days: rarer runs have a test of their own.
const SEARCH_DAYS: u64 = 70;

/// A field as a set, and a text that says the same.
struct Field {
    text: String,
    values: BTreeSet<u32>,
}

/// An expression that the test knows without reading it.
struct Known {
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
}

impl Known {
    fn draw(random: &mut impl Rng) -> Known {
        Known {
            minutes: draw_field(random, 0, 59, &[]),
            hours: draw_field(random, 0, 23, &[]),
            days: draw_field(random, 1, 31, &[]),
            months: draw_field(
                random,
                1,
                12,
                &["jan", "FEB", "Mar", "apr", "MAY", "jun", "JUL", "aug", "SEP", "oct", "NOV", "dec"],
            ),
            weekdays: draw_field(random, 0, 6, &["SUN", "mon", "TUE", "wed", "Thu", "FRI", "sat"]),
        }
    }

    fn text(&self) -> String {
        let fields = [&self.minutes, &self.hours, &self.days, &self.months, &self.weekdays];
        fields.map(|field| field.text.as_str()).join(" ")
    }

    fn matches(&self, time: DateTime<Utc>) -> bool {
        let day = self.days.values.contains(&time.day());
        let weekday = self.weekdays.values.contains(&time.weekday().num_days_from_sunday());
        let days = match (self.days.text.as_str(), self.weekdays.text.as_str()) {
            (_, "*") => day,
            ("*", _) => weekday,
            _ => day || weekday,
        };
        days && self.minutes.values.contains(&time.minute())
            && self.hours.values.contains(&time.hour())
            && self.months.values.contains(&time.month())
    }
}

fn draw_field(random: &mut impl Rng, min: u32, max: u32, names: &[&str]) -> Field {
    if random.random_ratio(2, 5) {
        return Field { text: "*".to_owned(), values: (min..=max).collect() };
    }
    let mut values = BTreeSet::new();
    let mut items = Vec::new();
    for _ in 0..random.random_range(1..=3) {
        let first = random.random_range(min..=max);
        let last = random.random_range(first..=max);
        let step = random.random_range(1..=max - min + 1);
        let named = |random: &mut dyn Rng, value: u32| match names.get((value - min) as usize) {
            Some(name) if random.random_bool(0.5) => name.to_string(),
            _ => value.to_string(),
        };
        let (item, first, last, step) = match random.random_range(0..5) {
            0 if first == 0 && max == 6 => ("7".to_owned(), 0, 0, 1),
            0 | 1 => (named(random, first), first, first, 1),
            2 => (format!("{}-{}", named(random, first), named(random, last)), first, last, 1),
            3 => (format!("{}-{}/{step}", named(random, first), named(random, last)), first, last, step),
            _ => (format!("*/{step}"), min, max, step),
        };
        items.push(item);
        values.extend((first..=last).step_by(step as usize));
    }
    Field { text: items.join(","), values }
}

/// What a search minute by minute finds, and where it gave up if it found nothing.
fn search(known: &Known, after: u64) -> Result<u64, u64> {
    let first = after / MINUTE_MS + 1;
    let end = first + SEARCH_DAYS * 24 * 60;
    let matches = |minute: &u64| {
        let time = Utc.timestamp_millis_opt((minute * MINUTE_MS) as i64).single().expect("in range");
        known.matches(time)
    };
    (first..end).find(matches).map(|minute| minute * MINUTE_MS).ok_or(end * MINUTE_MS)
}

fn seed() -> u64 {
    let seed = match std::env::var("CRON_SEED") {
        Ok(seed) => seed.parse().expect("CRON_SEED is a number"),
        Err(_) => std::time::UNIX_EPOCH.elapsed().map_or(1, |elapsed| elapsed.as_nanos() as u64),
    };
    eprintln!("CRON_SEED={seed} cargo test --workspace --test next");
    seed
}

#[test]
fn the_next_run_is_the_one_that_a_search_finds() {
    let mut random = ChaCha12Rng::seed_from_u64(seed());
    let (mut found, mut gave_up, mut refused) = (0, 0, 0);
    for case in 0..CASES {
        let known = Known::draw(&mut random);
        let text = known.text();
        // Up to the year 2170, so that a leap year that is none is among them.
        let mut after = random.random_range(0..6_311_433_600_000);
        let expression = match Expression::parse(&text) {
            Ok(expression) => expression,
            Err(error) => {
                assert_eq!(error.code(), "CronNeverRuns", "case {case}: {text}: {error}");
                assert!(search(&known, after).is_err(), "case {case}: {text}");
                refused += 1;
                continue;
            }
        };
        for _ in 0..3 {
            let next =
                expression.next_after(UnixMs::new(after).expect("in range")).expect("far from the end");
            match search(&known, after) {
                Ok(run) => {
                    assert_eq!(next.as_milliseconds(), run, "case {case}: {text} after {after}");
                    found += 1;
                    after = run + random.random_range(0..10 * MINUTE_MS);
                }
                Err(end) => {
                    assert!(next.as_milliseconds() >= end, "case {case}: {text} after {after}: {next}");
                    gave_up += 1;
                    break;
                }
            }
        }
    }
    eprintln!("{found} runs found, {gave_up} searches given up, {refused} expressions that never run");
    assert!(found > CASES, "too few runs are compared");
}

/// Days that come seldom, by a search day by day over more than a cycle of the calendar.
#[test]
fn rare_days_are_found_over_a_whole_cycle_of_the_calendar() {
    type Matches = fn(DateTime<Utc>) -> bool;
    let rare: [(&str, Matches); 5] = [
        ("0 0 29 2 *", |day| (day.month(), day.day()) == (2, 29)),
        ("0 0 * 2 SUN#5", |day| (day.month(), day.day()) == (2, 29) && day.weekday() == chrono::Weekday::Sun),
        ("0 0 29 2 1-5/4", |day| {
            let weekday = matches!(day.weekday(), chrono::Weekday::Mon | chrono::Weekday::Fri);
            day.month() == 2 && (day.day() == 29 || weekday)
        }),
        ("0 0 29W 2 *", |day| {
            let friday = day.weekday() == chrono::Weekday::Fri;
            let is_leap = chrono::NaiveDate::from_ymd_opt(day.year(), 2, 29).is_some();
            let weekend = matches!(day.weekday(), chrono::Weekday::Sat | chrono::Weekday::Sun);
            // In a leap year: the 29th, or the Friday before it.
            is_leap && day.month() == 2 && !weekend && (day.day() == 29 || friday && day.day() >= 27)
        }),
        ("0 0 * * FRIL", |day| {
            let in_a_week = day + chrono::Days::new(7);
            day.weekday() == chrono::Weekday::Fri && in_a_week.month() != day.month()
        }),
    ];
    for (text, matches) in rare {
        let expression = Expression::parse(text).expect("valid");
        let days = (0..401 * 366).map(|day| Utc.timestamp_opt(day * 86_400, 0).single().expect("in range"));
        let expected: Vec<u64> =
            days.filter(|day| matches(*day)).map(|day| day.timestamp_millis() as u64).collect();
        let end = UnixMs::new(401 * 366 * 86_400_000).expect("in range");
        let epoch = UnixMs::new(0).expect("in range");
        let runs = std::iter::successors(expression.next_after(epoch), |run| expression.next_after(*run));
        assert!(!expected.is_empty(), "{text}");
        let runs = runs.take_while(|run| *run < end).take(expected.len() + 1);
        let runs: Vec<u64> = runs.map(UnixMs::as_milliseconds).collect();
        assert_eq!(runs, expected, "{text}");
    }
}
