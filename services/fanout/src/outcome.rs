//! What a run answered, ready to be sent to many.

use std::sync::Arc;

use contract::{FunctionError, Observed, QueryChange, QueryOutcome, ReadSet};
use sha2::{Digest, Sha256};

#[derive(Debug)]
pub(crate) struct Outcome {
    pub result: Result<Arc<str>, FunctionError>,
    pub log_lines: Arc<[String]>,
    /// To be given to the next run.
    pub journal: Option<Arc<str>>,
    pub digest: OutcomeDigest,
    /// Roughly what this takes in memory.
    pub bytes: usize,
}

/// Equal for outcomes that look the same to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutcomeDigest([u8; 32]);

/// An outcome with what decides how long and for whom it can be used.
#[derive(Debug)]
pub(crate) struct FinishedRun {
    pub outcome: Arc<Outcome>,
    pub read_set: Arc<ReadSet>,
    pub observed: Observed,
}

impl FinishedRun {
    /// `journal` is the one that the run was given.
    pub fn new(run: QueryOutcome, journal: Option<&Arc<str>>) -> FinishedRun {
        let journal = match &run.result {
            Ok(_) => run.journal,
            // It may have failed before it came to its pages; they shall end where they did when it works again.
            Err(_) => run.journal.or_else(|| journal.cloned()),
        };
        let mut digest = Sha256::new();
        let mut bytes = size_of::<Outcome>();
        let mut part = |text: &str| {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text);
            bytes += text.len();
        };
        match &run.result {
            Ok(value) => {
                part("value");
                part(value);
            }
            Err(error) => {
                part("error");
                let (before, after) = without_request_id(&error.message);
                part(before);
                part(after);
                part(error.data.as_deref().unwrap_or(""));
                part(if error.data.is_some() { "data" } else { "" });
            }
        }
        run.log_lines.iter().for_each(|line| part(line));
        bytes += journal.as_ref().map_or(0, |journal| journal.len());
        let outcome = Outcome {
            result: run.result,
            log_lines: run.log_lines.into(),
            journal,
            digest: OutcomeDigest(digest.finalize().into()),
            bytes,
        };
        FinishedRun { outcome: Arc::new(outcome), read_set: run.read_set, observed: run.observed }
    }
}

impl Outcome {
    pub fn to_change(&self, query: u32) -> QueryChange {
        let (log_lines, journal) = (self.log_lines.clone(), self.journal.clone());
        match &self.result {
            Ok(value) => QueryChange::Updated { query, value: value.clone(), log_lines, journal },
            Err(error) => QueryChange::Failed { query, error: error.clone(), log_lines, journal },
        }
    }
}

/// What stands before and behind the request id in an error message: it differs between two runs that fail alike.
fn without_request_id(message: &str) -> (&str, &str) {
    const OPENING: &str = "[Request ID: ";
    let Some(start) = message.find(OPENING) else { return (message, "") };
    let Some(length) = message[start..].find(']') else { return (message, "") };
    (&message[..start], &message[start + length + 1..])
}

#[cfg(test)]
mod tests {
    use contract::Timestamp;

    use super::*;

    fn finished(result: Result<&str, (&str, Option<&str>)>, log_lines: &[&str]) -> FinishedRun {
        let result = result
            .map(Arc::from)
            .map_err(|(message, data)| FunctionError { message: message.into(), data: data.map(Arc::from) });
        let run = QueryOutcome {
            timestamp: Timestamp::ZERO,
            result,
            log_lines: log_lines.iter().map(|line| line.to_string()).collect(),
            journal: None,
            read_set: Arc::new(ReadSet::new()),
            observed: Observed::default(),
        };
        FinishedRun::new(run, Some(&"pages".into()))
    }

    #[test]
    fn a_digest_tells_values_errors_and_log_lines_apart() {
        let digests = [
            finished(Ok("1"), &[]),
            finished(Ok("2"), &[]),
            finished(Ok("1"), &["[LOG] a"]),
            finished(Ok("1"), &["[LOG] a", ""]),
            finished(Err(("1", None)), &[]),
            finished(Err(("1", Some(""))), &[]),
            finished(Err(("1", Some("null"))), &[]),
        ]
        .map(|run| run.outcome.digest);
        for (at, one) in digests.iter().enumerate() {
            assert!(digests.iter().skip(at + 1).all(|other| other != one), "number {at}");
        }
    }

    #[test]
    fn two_runs_that_fail_alike_look_the_same() {
        let one = finished(Err(("[Request ID: 0a1b] Server Error\nUncaught x", None)), &[]);
        let two = finished(Err(("[Request ID: ffff] Server Error\nUncaught x", None)), &[]);
        let other = finished(Err(("[Request ID: ffff] Server Error\nUncaught y", None)), &[]);
        assert_eq!(one.outcome.digest, two.outcome.digest);
        assert_ne!(one.outcome.digest, other.outcome.digest);
    }

    #[test]
    fn a_run_that_fails_keeps_the_journal_and_one_that_works_replaces_it() {
        assert_eq!(finished(Err(("x", None)), &[]).outcome.journal.as_deref(), Some("pages"));
        assert_eq!(finished(Ok("1"), &[]).outcome.journal, None);
    }
}
