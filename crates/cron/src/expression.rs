//! Cron expressions.

use chrono::{Datelike, Months, NaiveDate, Weekday};

use crate::{
    CronError, UnixMs,
    field::{DAY, HOUR, MINUTE, MONTH, Values, WEEKDAY, number},
    limits::EXPRESSION_BYTES_MAX,
};

const MINUTE_MS: u64 = 60_000;
const DAY_MINUTES: u64 = 24 * 60;

/// After so many years the calendar comes again, days of the week included: what does not run in them never does.
const CALENDAR_YEARS: i32 = 400;

/// The names of whole expressions.
const NICKNAMES: [(&str, &str); 7] = [
    ("@YEARLY", "0 0 1 1 *"),
    ("@ANNUALLY", "0 0 1 1 *"),
    ("@MONTHLY", "0 0 1 * *"),
    ("@WEEKLY", "0 0 * * 0"),
    ("@DAILY", "0 0 * * *"),
    ("@MIDNIGHT", "0 0 * * *"),
    ("@HOURLY", "0 * * * *"),
];

/// At which minutes something runs, in UTC. Two expressions are equal if they say the same of every field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    minutes: Values,
    hours: Values,
    /// `None` where the field is `*`.
    days: Option<DaysOfMonth>,
    months: Values,
    /// `None` where the field is `*`.
    weekdays: Option<DaysOfWeek>,
}

impl Expression {
    /// Reads an expression of five fields, or a nickname such as `@daily`.
    ///
    /// # Errors
    /// What can't be read, what is too long, and what would never run.
    pub fn parse(text: &str) -> Result<Expression, CronError> {
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(CronError::ExpressionTooLong { bytes: text.len() });
        }
        let expression = read(text)
            .map_err(|reason| CronError::InvalidExpression { expression: text.to_owned(), reason })?;
        // A whole cycle of the calendar lies between the epoch and the end of time.
        match expression.next_after(UnixMs::new(0).expect("the epoch is a time")) {
            Some(_) => Ok(expression),
            None => Err(CronError::NeverRuns { expression: text.to_owned() }),
        }
    }

    /// The first minute that matches and lies after `after`; `None` if the year 9999 ends before.
    pub fn next_after(&self, after: UnixMs) -> Option<UnixMs> {
        let minute = after.as_milliseconds() / MINUTE_MS + 1;
        let (today, minute_of_day) = (minute / DAY_MINUTES, minute % DAY_MINUTES);
        let date = NaiveDate::from_epoch_days(today.try_into().ok()?)?;
        let at = |date: NaiveDate, minute_of_day: u64| {
            let day = u64::try_from(date.to_epoch_days()).ok()?;
            UnixMs::new((day * DAY_MINUTES + minute_of_day) * MINUTE_MS)
        };
        if self.runs_on(date)
            && let Some(minute_of_day) = self.minute_of_day(minute_of_day)
        {
            return at(date, minute_of_day);
        }
        at(self.day_after(date)?, self.minute_of_day(0)?)
    }

    /// The first day after `date` on which it runs.
    fn day_after(&self, date: NaiveDate) -> Option<NaiveDate> {
        let mut date = date.succ_opt()?;
        let end = date.year() + CALENDAR_YEARS;
        while date.year() <= end {
            if !contains(self.months, date.month()) {
                date = date.with_day(1)?.checked_add_months(Months::new(1))?;
            } else if self.runs_on(date) {
                return Some(date);
            } else {
                date = date.succ_opt()?;
            }
        }
        None
    }

    fn runs_on(&self, date: NaiveDate) -> bool {
        let matches = match (&self.days, &self.weekdays) {
            (None, None) => true,
            (Some(days), None) => days.contain(date),
            (None, Some(weekdays)) => weekdays.contain(date),
            // Of two restrictions one is enough, as in every Unix cron.
            (Some(days), Some(weekdays)) => days.contain(date) || weekdays.contain(date),
        };
        matches && contains(self.months, date.month())
    }

    /// The first minute of a day that matches, `from` or later.
    fn minute_of_day(&self, from: u64) -> Option<u64> {
        let (hour, minute) = (from / 60, from % 60);
        let first = |values: Values, from: u64| {
            let rest = values.checked_shr(from.try_into().ok()?)?;
            (rest != 0).then(|| from + u64::from(rest.trailing_zeros()))
        };
        if let (true, Some(minute)) = (contains(self.hours, hour as u32), first(self.minutes, minute)) {
            return Some(hour * 60 + minute);
        }
        Some(first(self.hours, hour + 1)? * 60 + first(self.minutes, 0)?)
    }
}

fn contains(values: Values, value: u32) -> bool {
    values & 1 << value != 0
}

/// What the field of the day of the month asks for; one of it is enough.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct DaysOfMonth {
    days: Values,
    /// `15W`: the working day that is nearest to the 15th, in the same month.
    nearest_working_days: Values,
    /// `L`.
    last: bool,
    /// `LW`.
    last_working_day: bool,
}

impl DaysOfMonth {
    fn contain(&self, date: NaiveDate) -> bool {
        let (day, length) = (date.day(), u32::from(date.num_days_in_month()));
        let nearest = |day: u32| {
            let asked = date.with_day(day).filter(|_| contains(self.nearest_working_days, day));
            asked.and_then(nearest_working_day)
        };
        contains(self.days, day)
            || self.last && day == length
            || self.last_working_day && date.with_day(length).and_then(nearest_working_day) == Some(day)
            // It moves by two days at most.
            || self.nearest_working_days != 0 && (day.saturating_sub(2).max(1)..=day + 2).any(|other| nearest(other) == Some(day))
    }
}

/// The day from Monday to Friday of the same month that is nearest to a date.
fn nearest_working_day(date: NaiveDate) -> Option<u32> {
    let (day, length) = (date.day(), u32::from(date.num_days_in_month()));
    Some(match date.weekday() {
        Weekday::Sat if day == 1 => 3,
        Weekday::Sat => day - 1,
        Weekday::Sun if day == length => day - 2,
        Weekday::Sun => day + 1,
        _ => day,
    })
}

/// What the field of the day of the week asks for; one of it is enough.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct DaysOfWeek {
    every: Values,
    /// `MON#2`: the second Monday of the month; by their place, from 0.
    nth: [Values; NTH_MAX],
    /// `MONL`: the last Monday of the month.
    last: Values,
}

/// No day of the week comes oftener in a month.
const NTH_MAX: usize = 5;

impl DaysOfWeek {
    fn contain(&self, date: NaiveDate) -> bool {
        let weekday = date.weekday().num_days_from_sunday();
        contains(self.every, weekday)
            || contains(self.nth[date.day0() as usize / 7], weekday)
            || contains(self.last, weekday) && date.day() + 7 > u32::from(date.num_days_in_month())
    }
}

fn read(text: &str) -> Result<Expression, String> {
    let text = text.to_ascii_uppercase();
    let text = text.trim_ascii();
    if text.starts_with('@') {
        return match NICKNAMES.iter().find(|(name, _)| *name == text) {
            Some((_, expression)) => read(expression),
            None => {
                let names = NICKNAMES.map(|(name, _)| name.to_ascii_lowercase()).join(", ");
                Err(format!("there are the names {names}"))
            }
        };
    }
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields[..] else {
        let seconds = if fields.len() > 5 { "; there is none for seconds or years" } else { "" };
        return Err(format!(
            "it has {} of the five fields minute, hour, day of the month, month and day of the week{seconds}",
            fields.len()
        ));
    };
    Ok(Expression {
        minutes: MINUTE.values(minute)?,
        hours: HOUR.values(hour)?,
        days: unless_star(day, days_of_month)?,
        months: MONTH.values(month)?,
        weekdays: unless_star(weekday, days_of_week)?,
    })
}

/// What restricts nothing is `*`, or `?` as Quartz writes it in one of the two fields for days.
fn unless_star<T>(text: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if matches!(text, "*" | "?") { Ok(None) } else { read(text).map(Some) }
}

fn days_of_month(text: &str) -> Result<DaysOfMonth, String> {
    let mut days = DaysOfMonth::default();
    for item in text.split(',') {
        match item.strip_suffix('W') {
            _ if item == "L" => days.last = true,
            Some("L") => days.last_working_day = true,
            Some(day) => days.nearest_working_days |= 1 << DAY.value(day)?,
            None => days.days |= DAY.item(item)?,
        }
    }
    Ok(days)
}

fn days_of_week(text: &str) -> Result<DaysOfWeek, String> {
    let mut days = DaysOfWeek::default();
    // Sunday is 0 and 7.
    let weekday = |text: &str| WEEKDAY.value(text).map(|day| 1 << (day % 7));
    for item in text.split(',') {
        if item == "L" {
            return Err("the day of the week `L` could be any: write `SAT` for every Saturday, `SATL` for the last one of the \
                        month"
                .to_owned());
        }
        if let Some((day, place)) = item.split_once('#') {
            let nth = number(place).and_then(|place| days.nth.get_mut(place.checked_sub(1)?));
            let nth =
                nth.ok_or_else(|| format!("the place in `{item}` must be a number from 1 to {NTH_MAX}"))?;
            *nth |= weekday(day)?;
        } else if let Some(day) = item.strip_suffix('L') {
            days.last |= weekday(day)?;
        } else {
            days.every |= WEEKDAY.item(item)?;
        }
    }
    Ok(days)
}
