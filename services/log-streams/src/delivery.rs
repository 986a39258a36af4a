//! One stream's events on their way to its receiver.

use std::{sync::Arc, time::Duration};

use contract::DeploymentRef;
use parking_lot::Mutex;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use transaction::LogStreamState;
use value::DocumentId;

use crate::{
    configuration::Secrets,
    events::{Event, Origin},
    queue::{Queue, Queued, queue},
    rows::{Enter, LogStream},
    service::Shared,
    sinks::{Told, told},
};

/// A stream whose events are being sent.
pub(crate) struct Stream {
    pub secrets: Secrets,
    entered: Arc<Mutex<Entered>>,
    queue: Queue,
    /// Ends it.
    token: CancellationToken,
}

/// What is known of a stream's row.
pub(crate) struct Entered {
    /// As [`LogStream::sealed`].
    pub sealed: Vec<u8>,
    pub state: LogStreamState,
}

/// Bytes of an answer that are read: nobody wants them, but a connection can be used again behind them.
const ANSWER_BYTES_MAX: usize = 16_384;

/// Why a receiver did not take a request.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    /// A clause, without anything that the receiver says.
    reason: String,
    /// It may take it later: nothing is wrong with the request.
    again: bool,
}

impl Stream {
    pub fn start(
        shared: Arc<Shared>,
        (deployment, origin): (DeploymentRef, Origin),
        stream: LogStream,
        shutdown: &CancellationToken,
    ) -> Stream {
        let LogStream { id, secrets, sealed, state } = stream;
        let entered = Arc::new(Mutex::new(Entered { sealed, state }));
        let (queue, events) = queue(&shared.limits);
        let token = shutdown.child_token();
        let sender = Sender {
            shared: shared.clone(),
            deployment,
            origin,
            id,
            secrets: secrets.clone(),
            entered: entered.clone(),
            is_greeting: false,
        };
        let ended = token.clone();
        shared.tasks.spawn(async move {
            ended.run_until_cancelled(sender.run(events)).await;
        });
        Stream { secrets, entered, queue, token }
    }

    /// Takes what the row says now: others enter something too.
    pub fn saw(&self, sealed: Vec<u8>, state: LogStreamState) {
        *self.entered.lock() = Entered { sealed, state };
    }

    /// Takes an event if it is for the stream, unless too much waits.
    pub fn take(&self, shared: &Shared, event: &Arc<Event>) {
        if self.secrets.configuration.wants(event.topic) && !self.queue.take(event) {
            shared.metrics.events_dropped.add(1);
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

/// Sends the events of one stream.
pub(crate) struct Sender {
    pub shared: Arc<Shared>,
    pub deployment: DeploymentRef,
    pub origin: Origin,
    pub id: DocumentId,
    pub secrets: Secrets,
    pub entered: Arc<Mutex<Entered>>,
    /// As [`Enter::is_greeting`].
    pub is_greeting: bool,
}

impl Sender {
    async fn run(self, mut events: mpsc::Receiver<Queued>) {
        while let Some(first) = events.recv().await {
            let batch = self.gather(first, &mut events).await;
            let events: Vec<_> = batch.iter().map(|queued| queued.event.clone()).collect();
            self.tell(&events).await;
        }
    }

    /// What goes with an event into one request.
    async fn gather(&self, first: Queued, events: &mut mpsc::Receiver<Queued>) -> Vec<Queued> {
        let limits = &self.shared.limits;
        let until = Instant::now() + Duration::from_millis(limits.flush_ms_max);
        let mut bytes = first.event.bytes;
        let mut batch = vec![first];
        while batch.len() < limits.batch_events_max && bytes < limits.batch_bytes_max {
            let Ok(Some(queued)) = tokio::time::timeout_at(until, events.recv()).await else { break };
            bytes += queued.event.bytes;
            batch.push(queued);
        }
        batch
    }

    /// Tells the receiver, and the deployment whether that works.
    pub async fn tell(&self, events: &[Arc<Event>]) {
        let requests = told(&self.secrets, &self.origin, events);
        let mut outcome = Ok(());
        for request in &requests {
            let Err(Refusal { reason, again }) = self.send(request).await else { continue };
            outcome = outcome.and(Err(reason));
            // Where one is refused the others may still come. A receiver that is not there takes none of them.
            if again {
                break;
            }
        }
        let metrics = &self.shared.metrics;
        let state = match outcome {
            Ok(()) => {
                metrics.events_sent.add(events.len() as u64);
                LogStreamState::Active
            }
            Err(reason) => {
                metrics.events_dropped.add(events.len() as u64);
                LogStreamState::Failed { reason }
            }
        };
        let sealed = {
            let entered = self.entered.lock();
            (entered.state != state).then(|| entered.sealed.clone())
        };
        if let Some(sealed) = sealed {
            self.enter(sealed, state).await;
        }
    }

    async fn enter(&self, sealed: Vec<u8>, state: LogStreamState) {
        if let LogStreamState::Failed { reason } = &state {
            let (deployment, kind) = (self.deployment, self.secrets.configuration.kind());
            tracing::info!(%deployment, kind, "events of a log stream are lost: {reason}");
        }
        let work = Enter { id: self.id, sealed, is_greeting: self.is_greeting, state };
        match self.shared.transactions.transact(self.deployment, &work).await {
            Ok(true) => self.entered.lock().state = work.state,
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "whether a log stream works is entered later"),
        }
    }

    /// Until the receiver takes it, or enough was tried.
    async fn send(&self, request: &Told) -> Result<(), Refusal> {
        let limits = &self.shared.limits;
        for attempt in 1.. {
            self.shared.metrics.requests_sent.add(1);
            let Err(refusal) = self.attempt(request).await else { return Ok(()) };
            self.shared.metrics.requests_failed.add(1);
            if !refusal.again || attempt >= limits.attempts_max {
                return Err(refusal);
            }
            let doubled =
                limits.pause_ms_min.saturating_mul(1_u64.checked_shl(attempt as u32 - 1).unwrap_or(u64::MAX));
            tokio::time::sleep(Duration::from_millis(doubled.min(limits.pause_ms_max))).await;
        }
        unreachable!("attempts are counted")
    }

    async fn attempt(&self, request: &Told) -> Result<(), Refusal> {
        let answered = async {
            let mut answer = self.shared.http.send(request.request()).await?;
            let mut bytes = 0;
            while bytes < ANSWER_BYTES_MAX
                && let Ok(Some(chunk)) = answer.chunk().await
            {
                bytes += chunk.len();
            }
            Ok::<u16, egress::Error>(answer.status)
        };
        let patience = Duration::from_millis(self.shared.limits.answer_ms_max);
        match tokio::time::timeout(patience, answered).await {
            Ok(Ok(status)) => judged(status),
            Ok(Err(error)) => {
                let is_final = matches!(
                    error,
                    egress::Error::InvalidUrl | egress::Error::Denied { .. } | egress::Error::Redirected
                );
                Err(Refusal { reason: format!("the receiver {error}"), again: !is_final })
            }
            Err(_) => Err(Refusal { reason: "the receiver did not answer in time".to_owned(), again: true }),
        }
    }
}

fn judged(status: u16) -> Result<(), Refusal> {
    let again = match status {
        200..=299 => return Ok(()),
        408 | 425 | 429 | 500..=599 => true,
        _ => false,
    };
    Err(Refusal { reason: format!("the receiver answered with status {status}"), again })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_and_what_is_refused_is_not() {
        assert_eq!(judged(204), Ok(()));
        for (status, again) in
            [(400, false), (401, false), (404, false), (429, true), (500, true), (503, true), (301, false)]
        {
            assert_eq!(judged(status).expect_err("no success").again, again, "{status}");
        }
    }
}
