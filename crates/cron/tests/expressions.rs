//! What a cron expression means: this table decides.
//!
//! The letters behind an expression say who else takes it: `c` the crate croner 4.0.3 without seconds and years, `d` Debian's cron
//! 3.0pl1, `s` the crate saffron 0.1.0. Where one of them takes it and runs at other times than we do, or than it says if we refuse it,
//! its letter is a capital.

use chrono::{TimeZone, Utc};
use cron::{Expression, UnixMs};

/// A Thursday.
const FROM: (i32, u32, u32, u32, u32, u32) = (2026, 1, 1, 12, 0, 0);

enum Answer {
    /// The first runs.
    Runs(&'static [&'static str]),
    /// The code, and a part of the sentence.
    Refused(&'static str, &'static str),
}
use Answer::{Refused, Runs};

const INVALID: &str = "InvalidCronExpression";

#[rustfmt::skip]
const TABLE: &[(&str, &str, Answer)] = &[
    // Numbers, lists, ranges, steps.
    ("* * * * *", "cds", Runs(&["Thu 1 Jan 12:01", "Thu 1 Jan 12:02"])),
    ("0 4 * * *", "cds", Runs(&["Fri 2 Jan 04:00", "Sat 3 Jan 04:00"])),
    ("05 04 01 01 01", "cdS", Runs(&["Mon 5 Jan 04:05", "Mon 12 Jan 04:05"])),
    ("1,50,7 * * * *", "cds", Runs(&["Thu 1 Jan 12:01", "Thu 1 Jan 12:07", "Thu 1 Jan 12:50"])),
    ("5-5 * * * *", "cds", Runs(&["Thu 1 Jan 12:05", "Thu 1 Jan 13:05"])),
    ("58-59 * * * *", "cds", Runs(&["Thu 1 Jan 12:58", "Thu 1 Jan 12:59", "Thu 1 Jan 13:58"])),
    ("*/25 * * * *", "cds", Runs(&["Thu 1 Jan 12:25", "Thu 1 Jan 12:50", "Thu 1 Jan 13:00"])),
    ("1-10/4 * * * *", "cds", Runs(&["Thu 1 Jan 12:01", "Thu 1 Jan 12:05", "Thu 1 Jan 12:09", "Thu 1 Jan 13:01"])),
    ("1-10/20 * * * *", "cds", Runs(&["Thu 1 Jan 12:01", "Thu 1 Jan 13:01"])),
    ("*/40,*/45 * * * *", "cds", Runs(&["Thu 1 Jan 12:40", "Thu 1 Jan 12:45", "Thu 1 Jan 13:00"])),
    // A step without an end goes on to the end of the field, as Quartz has it; croner takes it by an option.
    ("5/25 * * * *", "s", Runs(&["Thu 1 Jan 12:05", "Thu 1 Jan 12:30", "Thu 1 Jan 12:55", "Thu 1 Jan 13:05"])),
    ("0 0 30/1 * *", "s", Runs(&["Fri 30 Jan 00:00", "Sat 31 Jan 00:00", "Mon 30 Mar 00:00"])),
    ("/15 * * * *", "", Refused(INVALID, "a value of the minute is missing")),
    // A step of the whole field is its beginning; a larger one would run oftener than it says.
    ("*/60 * * * *", "cd", Runs(&["Thu 1 Jan 13:00", "Thu 1 Jan 14:00"])),
    ("*/61 * * * *", "CD", Refused(INVALID, "from 1 to 60")),
    ("0 */24 * * *", "cd", Runs(&["Fri 2 Jan 00:00", "Sat 3 Jan 00:00"])),
    ("0 */36 * * *", "CD", Refused(INVALID, "the step of the hour `*/36` must be a number from 1 to 24")),
    ("*/0 * * * *", "", Refused(INVALID, "from 1 to 60")),
    ("1-10/0 * * * *", "", Refused(INVALID, "from 1 to 60")),
    ("*/2/3 * * * *", "d", Refused(INVALID, "the step of the minute `*/2/3`")),
    // Out of range.
    ("60 * * * *", "", Refused(INVALID, "`60` is no minute: 0 to 59")),
    ("0 24 * * *", "", Refused(INVALID, "`24` is no hour: 0 to 23")),
    ("0 0 0 * *", "", Refused(INVALID, "`0` is no day of the month: 1 to 31")),
    ("0 0 32 * *", "", Refused(INVALID, "`32` is no day of the month: 1 to 31")),
    ("0 0 1 0 *", "", Refused(INVALID, "`0` is no month: 1 to 12, or JAN to DEC")),
    ("0 0 1 13 *", "", Refused(INVALID, "`13` is no month")),
    ("0 0 * * 8", "", Refused(INVALID, "`8` is no day of the week: 0 to 7, or SUN to SAT")),
    ("99999999999999999999 * * * *", "", Refused(INVALID, "`99999999999999999999` is no minute")),
    // Not numbers.
    ("+5 * * * *", "", Refused(INVALID, "`+5` is no minute")),
    ("-5 * * * *", "", Refused(INVALID, "a value of the minute is missing")),
    ("5- * * * *", "", Refused(INVALID, "a value of the minute is missing")),
    ("1-2-3 * * * *", "d", Refused(INVALID, "`2-3` is no minute")),
    ("1.5 * * * *", "d", Refused(INVALID, "`1.5` is no minute")),
    ("H * * * *", "", Refused(INVALID, "`H` is no minute")),
    ("é * * * *", "", Refused(INVALID, "is no minute")),
    ("1,,2 * * * *", "c", Refused(INVALID, "a value of the minute is missing")),
    ("1, * * * *", "c", Refused(INVALID, "a value of the minute is missing")),
    (", * * * *", "C", Refused(INVALID, "a value of the minute is missing")),
    ("*,5 * * * *", "d", Refused(INVALID, "`*` is every value, and stands alone")),
    // Spaces.
    ("  5\t4   * *\t* ", "cd", Runs(&["Fri 2 Jan 04:05"])),
    ("0 0\n* * *", "c", Runs(&["Fri 2 Jan 00:00"])),
    ("0 0 1, 15 * *", "", Refused(INVALID, "it has 6 of the five fields")),
    // Five fields. Neither seconds nor years.
    ("", "", Refused(INVALID, "it has 0 of the five fields")),
    ("* * * *", "", Refused(INVALID, "it has 4 of the five fields minute, hour, day of the month, month and day of the week")),
    ("0 * * * * *", "", Refused(INVALID, "there is none for seconds or years")),
    ("0 0 1 1 * 2030", "", Refused(INVALID, "it has 6")),
    ("0 0 0 1 1 * 2030", "", Refused(INVALID, "it has 7")),
    // Sunday is 0 and 7, whatever Quartz says.
    ("0 0 * * 0", "cd", Runs(&["Sun 4 Jan 00:00", "Sun 11 Jan 00:00"])),
    ("0 0 * * 7", "cdS", Runs(&["Sun 4 Jan 00:00", "Sun 11 Jan 00:00"])),
    ("0 0 * * 1", "cdS", Runs(&["Mon 5 Jan 00:00", "Mon 12 Jan 00:00"])),
    ("0 0 * * 5-7", "cdS", Runs(&["Fri 2 Jan 00:00", "Sat 3 Jan 00:00", "Sun 4 Jan 00:00", "Fri 9 Jan 00:00"])),
    ("0 0 * * 0-7", "cd", Runs(&["Fri 2 Jan 00:00", "Sat 3 Jan 00:00", "Sun 4 Jan 00:00", "Mon 5 Jan 00:00"])),
    ("0 0 * * */2", "cds", Runs(&["Sat 3 Jan 00:00", "Sun 4 Jan 00:00", "Tue 6 Jan 00:00", "Thu 8 Jan 00:00", "Sat 10 Jan 00:00"])),
    ("0 0 * * 1-7/2", "cdS", Runs(&["Fri 2 Jan 00:00", "Sun 4 Jan 00:00", "Mon 5 Jan 00:00", "Wed 7 Jan 00:00", "Fri 9 Jan 00:00"])),
    ("0 0 * * 1/2", "S", Refused(INVALID, "the day of the week `1/2` needs a range before its step")),
    ("0 0 * * MON/2", "s", Refused(INVALID, "needs a range before its step, as in `1-5/2`")),
    // Names, in their own fields and in any case.
    ("0 0 * * MON-FRI", "cds", Runs(&["Fri 2 Jan 00:00", "Mon 5 Jan 00:00"])),
    ("0 0 * * mon,Fri", "cds", Runs(&["Fri 2 Jan 00:00", "Mon 5 Jan 00:00"])),
    ("0 0 * * SUN-TUE", "cds", Runs(&["Sun 4 Jan 00:00", "Mon 5 Jan 00:00", "Tue 6 Jan 00:00", "Sun 11 Jan 00:00"])),
    ("0 0 1 FEB-apr,12 *", "cds", Runs(&["Sun 1 Feb 00:00", "Sun 1 Mar 00:00", "Wed 1 Apr 00:00", "Tue 1 Dec 00:00"])),
    ("0 0 * * MONDAY", "", Refused(INVALID, "`MONDAY` is no day of the week")),
    ("0 0 1 january *", "", Refused(INVALID, "`JANUARY` is no month")),
    ("MON * * * *", "C", Refused(INVALID, "`MON` is no minute: 0 to 59")),
    ("0 0 1 1JAN *", "C", Refused(INVALID, "`1JAN` is no month")),
    // Sunday ends a range by its name; with croner SUN-SUN is every day.
    ("0 0 * * SAT-SUN", "cdS", Runs(&["Sat 3 Jan 00:00", "Sun 4 Jan 00:00", "Sat 10 Jan 00:00"])),
    ("0 0 * * SUN-SUN", "Cds", Runs(&["Sun 4 Jan 00:00", "Sun 11 Jan 00:00"])),
    // Ranges don't wrap. Debian's cron takes them and nothing is in them; with saffron they begin one too early.
    ("0 22-2 * * *", "DS", Refused(INVALID, "the hour `22-2` ends before it begins: write two ranges, `22-23,0-2`")),
    ("50-10 * * * *", "DS", Refused(INVALID, "`50-59,0-10`")),
    ("0 0 * * FRI-MON", "DS", Refused(INVALID, "write two ranges, `FRI-SAT,SUN-MON`")),
    ("0 0 * * 6-1", "DS", Refused(INVALID, "write two ranges, `6-SAT,SUN-1`")),
    ("0 0 1 NOV-FEB *", "DS", Refused(INVALID, "write two ranges, `NOV-DEC,JAN-FEB`")),
    // Both fields for days: one of the two is enough, unless one of them is a lone star.
    ("0 0 13 * FRI", "cds", Runs(&["Fri 2 Jan 00:00", "Fri 9 Jan 00:00", "Tue 13 Jan 00:00", "Fri 16 Jan 00:00"])),
    ("0 0 1-31 * MON", "cds", Runs(&["Fri 2 Jan 00:00", "Sat 3 Jan 00:00"])),
    // Debian's cron wants both where one begins with a star.
    ("0 0 13 * */2", "cDs", Runs(&["Sat 3 Jan 00:00", "Sun 4 Jan 00:00", "Tue 6 Jan 00:00", "Thu 8 Jan 00:00"])),
    ("0 0 */10 * MON", "cDs", Runs(&["Mon 5 Jan 00:00", "Sun 11 Jan 00:00", "Mon 12 Jan 00:00", "Mon 19 Jan 00:00"])),
    ("0 0 */1 * MON", "cDs", Runs(&["Fri 2 Jan 00:00", "Sat 3 Jan 00:00"])),
    ("0 0 13 * +FRI", "c", Refused(INVALID, "`+FRI` is no day of the week")),
    ("0 0 ? * MON", "c", Runs(&["Mon 5 Jan 00:00", "Mon 12 Jan 00:00"])),
    ("0 0 13 * ?", "c", Runs(&["Tue 13 Jan 00:00", "Fri 13 Feb 00:00"])),
    ("0 ? 13 * *", "", Refused(INVALID, "`?` is no hour")),
    ("0 0 ?/2 * *", "c", Refused(INVALID, "`?` is no day of the month")),
    // The last day, and working days.
    ("0 0 L * *", "cs", Runs(&["Sat 31 Jan 00:00", "Sat 28 Feb 00:00", "Tue 31 Mar 00:00"])),
    ("0 0 l 2 *", "c", Runs(&["Sat 28 Feb 00:00"])),
    ("0 0 L,15 * *", "c", Runs(&["Thu 15 Jan 00:00", "Sat 31 Jan 00:00", "Sun 15 Feb 00:00"])),
    ("0 0 LW * *", "cs", Runs(&["Fri 30 Jan 00:00", "Fri 27 Feb 00:00", "Tue 31 Mar 00:00"])),
    ("0 0 L,LW * *", "C", Runs(&["Fri 30 Jan 00:00", "Sat 31 Jan 00:00", "Fri 27 Feb 00:00", "Sat 28 Feb 00:00"])),
    ("0 0 15W * *", "cs", Runs(&["Thu 15 Jan 00:00", "Mon 16 Feb 00:00", "Mon 16 Mar 00:00"])),
    ("0 0 1W,31W * *", "c", Runs(&["Fri 30 Jan 00:00", "Mon 2 Feb 00:00", "Mon 2 Mar 00:00", "Tue 31 Mar 00:00", "Wed 1 Apr 00:00", "Fri 1 May 00:00"])),
    ("0 0 1W 8 *", "cs", Runs(&["Mon 3 Aug 00:00"])),
    ("0 0 L-3 * *", "s", Refused(INVALID, "`L` is no day of the month")),
    ("0 0 1-5W * *", "", Refused(INVALID, "`1-5` is no day of the month")),
    ("0 0 W * *", "", Refused(INVALID, "a value of the day of the month is missing")),
    ("L * * * *", "", Refused(INVALID, "`L` is no minute")),
    // A day of the week by its place in the month.
    ("0 0 * * MON#2", "cDs", Runs(&["Mon 12 Jan 00:00", "Mon 9 Feb 00:00", "Mon 9 Mar 00:00"])),
    ("0 0 * * 7#1,1#1", "cD", Runs(&["Sun 4 Jan 00:00", "Mon 5 Jan 00:00", "Sun 1 Feb 00:00", "Mon 2 Feb 00:00"])),
    ("0 0 * * FRI#5", "cDs", Runs(&["Fri 30 Jan 00:00", "Fri 29 May 00:00"])),
    ("0 0 * * MON#6", "D", Refused(INVALID, "the place in `MON#6` must be a number from 1 to 5")),
    ("0 0 * * MON#0", "D", Refused(INVALID, "a number from 1 to 5")),
    ("0 0 * * MON#", "D", Refused(INVALID, "a number from 1 to 5")),
    ("0 0 * * 1-5#2", "cD", Refused(INVALID, "`1-5` is no day of the week")),
    ("0 0 * * FRIL", "cs", Runs(&["Fri 30 Jan 00:00", "Fri 27 Feb 00:00"])),
    ("0 0 * * 0L,7L", "c", Runs(&["Sun 25 Jan 00:00", "Sun 22 Feb 00:00"])),
    ("0 0 * * L", "Cs", Refused(INVALID, "write `SAT` for every Saturday, `SATL` for the last one")),
    // Nicknames.
    ("@daily", "cd", Runs(&["Fri 2 Jan 00:00", "Sat 3 Jan 00:00"])),
    ("@DAILY", "c", Runs(&["Fri 2 Jan 00:00", "Sat 3 Jan 00:00"])),
    ("@midnight", "d", Runs(&["Fri 2 Jan 00:00", "Sat 3 Jan 00:00"])),
    (" @hourly", "cd", Runs(&["Thu 1 Jan 13:00", "Thu 1 Jan 14:00"])),
    ("@weekly", "cd", Runs(&["Sun 4 Jan 00:00"])),
    ("@monthly", "cd", Runs(&["Sun 1 Feb 00:00"])),
    ("@yearly", "cd", Runs(&["Fri 1 Jan 2027 00:00"])),
    ("@annually", "cd", Runs(&["Fri 1 Jan 2027 00:00"])),
    ("@reboot", "d", Refused(INVALID, "there are the names @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly")),
    ("@every 5m", "", Refused(INVALID, "there are the names @yearly")),
    // Rare days, and days that never come.
    ("0 0 29 2 *", "cds", Runs(&["Tue 29 Feb 2028 00:00", "Sun 29 Feb 2032 00:00"])),
    ("0 0 * 2 MON#5", "cDs", Runs(&["Mon 29 Feb 2044 00:00", "Mon 29 Feb 2072 00:00", "Mon 29 Feb 2112 00:00"])),
    ("0 0 31 * *", "cds", Runs(&["Sat 31 Jan 00:00", "Tue 31 Mar 00:00"])),
    ("0 0 30 2 *", "cds", Refused("CronNeverRuns", "never runs: no date matches it")),
    ("0 0 31 4,6,9,11 *", "cds", Refused("CronNeverRuns", "never runs")),
    ("0 0 30W 2 *", "cs", Refused("CronNeverRuns", "never runs")),
    ("0 0 30 2 MON", "cds", Runs(&["Mon 2 Feb 00:00", "Mon 9 Feb 00:00"])),
];

#[test]
fn an_expression_means_what_the_table_says() {
    let mut wrong = Vec::new();
    for (expression, others, answer) in TABLE {
        assert!(others.chars().all(|other| "cdsCDS".contains(other)), "{expression}: {others}");
        let parsed = Expression::parse(expression);
        match (parsed, answer) {
            (Ok(parsed), Runs(runs)) => {
                let found = first_runs(&parsed, runs.len());
                if found != *runs {
                    wrong.push(format!("{expression} runs at {found:?}, not at {runs:?}"));
                }
            }
            (Err(error), Refused(code, sentence)) => {
                if error.code() != *code || !error.to_string().contains(sentence) {
                    wrong.push(format!("{expression} is refused with {}: {error}", error.code()));
                }
            }
            (Ok(parsed), Refused(..)) => {
                wrong.push(format!("{expression} is taken and runs at {:?}", first_runs(&parsed, 3)));
            }
            (Err(error), Runs(_)) => wrong.push(format!("{expression} is refused: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn first_runs(expression: &Expression, count: usize) -> Vec<String> {
    let (year, month, day, hour, minute, second) = FROM;
    let from = Utc.with_ymd_and_hms(year, month, day, hour, minute, second).single().expect("a date");
    let from = UnixMs::new(from.timestamp_millis() as u64).expect("in range");
    let runs = std::iter::successors(expression.next_after(from), |run| expression.next_after(*run));
    runs.take(count)
        .map(|run| {
            let run = Utc.timestamp_millis_opt(run.as_milliseconds() as i64).single().expect("in range");
            let of_this_year = run.format("%Y").to_string() == year.to_string();
            run.format(if of_this_year { "%a %-d %b %H:%M" } else { "%a %-d %b %Y %H:%M" }).to_string()
        })
        .collect()
}

#[test]
fn two_ways_to_write_the_same_are_equal() {
    let parse = |text: &str| Expression::parse(text).expect("valid");
    assert_eq!(parse("0 0 * * 0"), parse("0  0 ? * sun"));
    assert_eq!(parse("*/15 * * * 1-5"), parse("0,15,30,45 0-23 * jan-dec MON-FRI"));
    assert_eq!(parse("@daily"), parse("0 0 * * *"));
    assert_ne!(parse("0 0 * * 1"), parse("0 0 * * 2"));
    // Not the same: beside a day of the week, every day of the month is a restriction that all days fulfil.
    assert_ne!(parse("0 0 1-31 * MON"), parse("0 0 * * MON"));
}

#[test]
fn an_expression_has_a_longest_length() {
    let padded = |bytes: usize| format!("{:<bytes$}", "* * * * *");
    assert!(Expression::parse(&padded(cron::EXPRESSION_BYTES_MAX)).is_ok());
    let error = Expression::parse(&padded(cron::EXPRESSION_BYTES_MAX + 1)).expect_err("too long");
    assert_eq!(error.code(), "InvalidCronExpression");
    assert!(error.to_string().contains("1025 bytes"), "{error}");
}

#[test]
fn nothing_runs_behind_the_end_of_time() {
    let every_minute = Expression::parse("* * * * *").expect("valid");
    let last = UnixMs::new(UnixMs::MAX.as_milliseconds() - 59_999).expect("in range");
    assert_eq!(
        every_minute.next_after(UnixMs::new(last.as_milliseconds() - 1).expect("in range")),
        Some(last)
    );
    assert_eq!(every_minute.next_after(last), None);
    assert_eq!(Expression::parse("0 0 29 2 *").expect("valid").next_after(last), None);
}
