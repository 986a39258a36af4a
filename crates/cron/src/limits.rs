//! What a cron job may be. The format fixes these: a job that was accepted once must stay readable.

/// Bytes of a cron expression. All values of all fields, written as lists, are some 600.
pub const EXPRESSION_BYTES_MAX: usize = 1_024;

/// The longest interval between two runs, a century: every sum of a time and an interval fits.
pub const INTERVAL_SECONDS_MAX: u64 = 100 * 366 * 24 * 60 * 60;

/// Bytes of a job's arguments as JSON: less than 1 MiB.
pub const ARGUMENTS_JSON_BYTES_MAX: usize = (1 << 20) - 1;

/// Jobs with a time of day run within so many seconds behind it, unless the operator says otherwise.
pub const SPLAY_SECONDS_DEFAULT: u64 = 60;

/// A changed schedule does not move the next run if the old one would have run twice within this time: it is due anyway.
pub const CHANGE_LEAVES_RUNS_MS: u64 = 30_000;

/// Over how many seconds runs are spread whose schedule leaves the minute open.
pub(crate) const HOUR_SECONDS: u64 = 60 * 60;
