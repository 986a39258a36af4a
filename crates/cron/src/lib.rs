//! When cron jobs run.
//!
//! An app's `crons.js` declares jobs, each with a name, a function, its arguments and a [`Schedule`]: every so many seconds, at a
//! time of the hour, day, week or month, or by a cron [`Expression`]. [`read_specs`] checks them for a push, and [`compare`] tells
//! what a push changes. A [`Timetable`] is the schedule of one job with its share of the spread; it knows the job's first run and,
//! from a run and the time now, the one after.
//!
//! Everything is in UTC and in milliseconds ([`UnixMs`]). What expressions mean, and why, is in
//! `docs/decisions/0024-cron-expressions.md`; the table that decides it is `tests/expressions.rs`.
//!
//! This crate knows nothing of clocks, tasks or functions: times are passed in, and who claims a run and runs it is the
//! scheduler's business.

mod error;
mod expression;
mod field;
mod limits;
mod schedule;
mod spec;
mod time;
mod timetable;

pub use error::CronError;
pub use expression::Expression;
pub use limits::{
    ARGUMENTS_JSON_BYTES_MAX, CHANGE_LEAVES_RUNS_MS, EXPRESSION_BYTES_MAX, INTERVAL_SECONDS_MAX,
    SPLAY_SECONDS_DEFAULT,
};
pub use schedule::Schedule;
pub use spec::{Changes, CronSpec, RefusedSpec, compare, read_specs};
pub use time::UnixMs;
pub use timetable::{NextRun, Timetable};
