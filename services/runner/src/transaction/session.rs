//! The records by which a client's request takes effect once: written by the commit of the mutation, answered from when
//! the client asks again, removed when they are too old for that.

use std::time::Duration;

use async_trait::async_trait;
use contract::{
    DeploymentRef, Error, FunctionCall, Interval, MutationOutcome, Order, Read, ReadAt, ReadResult, Result,
    SessionRequest, Timestamp,
};
use system_transaction::Work;
use transaction::{RetryLimits, SessionRequestRow, SystemTable, Transaction};
use value::{FunctionPath, Value, key};

use super::mutation::with_timestamp;
use crate::service::Handle;

const INDEX: &str = "by_session_and_request";

/// What a request of this session has answered, if it has committed. That there is none is in the read set, so that
/// of two runs of one request only one commits.
pub(super) async fn recorded(
    transaction: &mut Transaction,
    session: &SessionRequest,
) -> Result<Option<SessionRequestRow>> {
    let key = [Value::from(session.session.as_str()), Value::Float64(f64::from(session.request))];
    match transaction.rows::<SessionRequestRow>(INDEX, &key).await {
        Ok(mut rows) => {
            assert!(rows.len() <= 1, "a request of a session commits once");
            Ok(rows.pop().map(|stored| stored.row))
        }
        Err(error) => Err(error.of_the_system()),
    }
}

impl Handle {
    /// Answers as the first run of a session's request did. `seen_at` is a moment at which its record was there.
    pub(super) async fn replay(
        &self,
        call: &FunctionCall,
        record: SessionRequestRow,
        seen_at: Timestamp,
    ) -> Result<MutationOutcome> {
        // Clients choose the names of their sessions. Who names the session of another must not read its answers.
        let function = call.path.parse::<FunctionPath>().map(|path| path.to_string());
        if function.as_deref() != Ok(record.function.as_str()) || call.component != record.component {
            return Err(Error::bad_request(
                "SessionRequestMismatch",
                "This session has used the number of this request for another function.",
            ));
        }
        self.shared.metrics.session_replays.increment();
        let timestamp = self.timestamp_of_record(call.deployment, &record, seen_at).await?;
        Ok(MutationOutcome {
            result: Ok(with_timestamp(&record.result, timestamp)),
            timestamp: Some(timestamp),
            log_lines: record.log_lines,
        })
    }

    /// The commit that wrote a session's record.
    async fn timestamp_of_record(
        &self,
        deployment: DeploymentRef,
        record: &SessionRequestRow,
        seen_at: Timestamp,
    ) -> Result<Timestamp> {
        let missing = || Error::internal("the record of a session's request has no commit");
        let table = SystemTable::SessionRequests.table();
        let index = table.index(INDEX).ok_or_else(missing)?;
        let (session, request) =
            (Value::from(record.session.as_str()), Value::Float64(f64::from(record.request)));
        let start = key::encode(&[Some(&session), Some(&request)]);
        let read = Read::Range {
            index: index.id,
            interval: Interval { end: Some(key::prefix_end(&start).into()), start: start.into() },
            order: Order::Ascending,
            rows_max: 1,
            bytes_max: 1,
        };
        let mut results = self.shared.log.read(deployment, ReadAt::published(seen_at), &[read]).await?;
        match results.pop() {
            Some(ReadResult::Range { rows, .. }) => {
                rows.first().map(|row| row.version.timestamp).ok_or_else(missing)
            }
            _ => Err(missing()),
        }
    }

    /// Removes old records of a deployment's session requests from time to time, without end.
    pub(crate) async fn remove_old_session_records(&self, deployment: DeploymentRef) {
        let pause = Duration::from_millis(self.shared.limits.retry.session_record_sweep_ms);
        loop {
            match self.sweep_session_records(deployment).await {
                Ok(0) => {}
                Ok(removed) => {
                    tracing::debug!(%deployment, removed, "removed old records of session requests");
                }
                Err(error) => {
                    tracing::debug!(%deployment, %error, "old records of session requests are removed later");
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// How many were removed.
    async fn sweep_session_records(&self, deployment: DeploymentRef) -> system_transaction::Result<usize> {
        let work = RemoveOld(self.shared.limits.retry);
        let mut removed = 0;
        loop {
            let Removed { rows, more } = self.shared.transactions.transact(deployment, &work).await?;
            removed += rows;
            if !more {
                return Ok(removed);
            }
        }
    }
}

/// Removes some of the records that are too old for their clients to ask again.
struct RemoveOld(RetryLimits);

struct Removed {
    rows: usize,
    /// Whether there may be more to remove.
    more: bool,
}

#[async_trait]
impl Work for RemoveOld {
    type Output = Removed;

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<Removed> {
        // Time passes by commits, as it does for all else that the log keeps.
        let now_ms = transaction.begin_at().timestamp.as_nanoseconds() / 1_000_000;
        let before_ms = now_ms.saturating_sub(self.0.session_record_age_ms) as f64;
        let rows_max = self.0.session_records_removed_max;
        let deleted = transaction.delete_rows_made_before(SystemTable::SessionRequests, before_ms, rows_max);
        let more = deleted.await?;
        Ok(Removed { rows: transaction.usage().system_documents_written, more })
    }
}
