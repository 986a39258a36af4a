//! The kinds of schedules that an app can declare.

use serde_json::{Map, Value};

use crate::{CronError, Expression, UnixMs, limits::INTERVAL_SECONDS_MAX};

/// When a job runs. Times of day are UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// From the deploy on every so many seconds, at least 1.
    Interval {
        /// Seconds between two runs.
        seconds: u64,
    },
    /// At the times of an expression.
    Calendar {
        /// The times; at minute 0 where the minute is open.
        times: Expression,
        /// Whether the schedule leaves the minute of the hour to us, which spreads jobs over the hour.
        minute_is_open: bool,
    },
}

const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

impl Schedule {
    /// Reads a schedule as the client library exports it: an object with `type` and what belongs to that kind.
    ///
    /// # Errors
    /// An unknown kind, numbers that are missing, no integers or out of range, an expression that can't be read or never runs.
    pub fn from_json(json: &Value) -> Result<Schedule, CronError> {
        let object = json.as_object().ok_or_else(|| invalid("it is not an object"))?;
        let kind = object.get("type").and_then(Value::as_str).ok_or_else(|| invalid("it has no `type`"))?;
        let (minute, minute_is_open) = match integer(object, "minuteUTC", 0, 59)? {
            Some(minute) => (minute, false),
            None => (0, true),
        };
        let required = |name, min, max| {
            integer(object, name, min, max)?.ok_or_else(|| invalid(format!("`{name}` is missing")))
        };
        // A day, week or month is an expression, too. One that never runs can't come about.
        let calendar = |rest: String| {
            let times = Expression::parse(&format!("{minute} {rest}"))?;
            Ok(Schedule::Calendar { times, minute_is_open })
        };
        match kind {
            "interval" => interval(object),
            "hourly" => calendar("* * * *".to_owned()),
            "daily" => calendar(format!("{} * * *", required("hourUTC", 0, 23)?)),
            "weekly" => {
                let day = object.get("dayOfWeek").and_then(Value::as_str);
                let day = WEEKDAYS.iter().position(|weekday| Some(*weekday) == day);
                let day = day.ok_or_else(|| invalid("`dayOfWeek` must be \"sunday\" to \"saturday\""))?;
                calendar(format!("{} * * {day}", required("hourUTC", 0, 23)?))
            }
            // In months without such a day it does not run.
            "monthly" => calendar(format!("{} {} * *", required("hourUTC", 0, 23)?, required("day", 1, 31)?)),
            "cron" => {
                let expression = object.get("cron").and_then(Value::as_str);
                let expression = expression.ok_or_else(|| invalid("`cron` must be a string"))?;
                Ok(Schedule::Calendar { times: Expression::parse(expression)?, minute_is_open: false })
            }
            _ => Err(invalid(format!("there is no kind `{kind}`"))),
        }
    }

    /// The first time of the schedule after `after`, without any spread; `None` behind the year 9999. Of an interval, the end of
    /// the one that begins at `after`.
    pub(crate) fn next_after(&self, after: UnixMs) -> Option<UnixMs> {
        match self {
            Schedule::Interval { seconds } => after.later(seconds * 1_000),
            Schedule::Calendar { times, .. } => times.next_after(after),
        }
    }
}

fn interval(object: &Map<String, Value>) -> Result<Schedule, CronError> {
    let units = [("seconds", 1), ("minutes", 60), ("hours", 60 * 60)];
    let mut given = units.into_iter().filter(|(name, _)| object.contains_key(*name));
    let (Some((name, unit_seconds)), None) = (given.next(), given.next()) else {
        return Err(invalid("it must have exactly one of `seconds`, `minutes` and `hours`"));
    };
    let count = integer(object, name, 1, INTERVAL_SECONDS_MAX / unit_seconds)?;
    let count = count.ok_or_else(|| invalid(format!("`{name}` must be a number")))?;
    Ok(Schedule::Interval { seconds: count * unit_seconds })
}

/// The integer of that name, if there is one that is not null.
fn integer(object: &Map<String, Value>, name: &str, min: u64, max: u64) -> Result<Option<u64>, CronError> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().filter(|number| (min..=max).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(invalid(format!("`{name}` must be an integer from {min} to {max}, not {value}"))),
        },
    }
}

fn invalid(reason: impl Into<String>) -> CronError {
    CronError::InvalidSchedule { reason: reason.into() }
}
