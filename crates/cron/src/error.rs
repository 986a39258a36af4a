//! Why a cron job is refused.

use crate::limits::{ARGUMENTS_JSON_BYTES_MAX, EXPRESSION_BYTES_MAX};

/// A mistake in what an app declares. The text is a clause: whoever shows it says before it which job of which file it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// The expression can't be read.
    #[error("the cron expression `{expression}` is not valid: {reason}")]
    InvalidExpression {
        /// As the app wrote it.
        expression: String,
        /// What is wrong, and what to write instead where that is known.
        reason: String,
    },
    /// The expression is longer than any that is needed.
    #[error("the cron expression has {bytes} bytes, more than the {EXPRESSION_BYTES_MAX} that are allowed")]
    ExpressionTooLong {
        /// Its length.
        bytes: usize,
    },
    /// No day has the month, the day and the day of the week that the expression asks for.
    #[error("the cron expression `{expression}` never runs: no date matches it")]
    NeverRuns {
        /// As the app wrote it.
        expression: String,
    },
    /// The schedule is not of a known kind, or a number of it is out of range.
    #[error("its schedule is not valid: {reason}")]
    InvalidSchedule {
        /// What is wrong.
        reason: String,
    },
    /// The name has other characters than printable ASCII.
    #[error("its name must consist of printable ASCII characters")]
    InvalidName,
    /// Two jobs have one name.
    #[error("its name is that of another cron job")]
    NameNotUnique,
    /// The job is not what the client library exports.
    #[error("it can't be read: {reason}")]
    InvalidSpec {
        /// What is wrong.
        reason: String,
    },
    /// The arguments are too large.
    #[error("its arguments have {bytes} bytes, more than the {ARGUMENTS_JSON_BYTES_MAX} that are allowed")]
    ArgumentsTooLarge {
        /// Their size as JSON.
        bytes: usize,
    },
}

impl CronError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            CronError::InvalidExpression { .. } | CronError::ExpressionTooLong { .. } => {
                "InvalidCronExpression"
            }
            CronError::NeverRuns { .. } => "CronNeverRuns",
            CronError::InvalidSchedule { .. } => "InvalidCronSchedule",
            CronError::InvalidName => "InvalidCronName",
            CronError::NameNotUnique => "CronNameNotUnique",
            CronError::InvalidSpec { .. } => "InvalidCronSpec",
            CronError::ArgumentsTooLarge { .. } => "CronArgumentsTooLarge",
        }
    }
}
