//! A session's mutations, one after the other.

use std::{sync::Arc, time::Duration};

use contract::{ErrorKind, MutationCall, MutationOutcome, Timestamp};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument as _;

use super::{call_of, close::Close, session::QueuedMutation};
use crate::{
    audit,
    bodies::Held,
    edge::{Addressed, Edge, SharedEdge},
    error::public_message,
    metrics::{Api, Outcome},
};

/// How a mutation ended.
pub(super) struct Answer {
    pub request_id: u32,
    pub outcome: Result<MutationOutcome, Close>,
}

/// The waiting mutations and their answers, in the order of their arrival.
///
/// Most clients never send a mutation: the task that runs them, and the room for those that wait, is there from the first one on.
/// Once this is dropped, they end after the mutation that they are at: what waits then is sent again by the client, in
/// another connection.
pub(super) struct Mutations {
    edge: SharedEdge,
    session: Addressed,
    running: Option<Running>,
}

struct Running {
    waiting: mpsc::Sender<Waiting>,
    answers: mpsc::Receiver<Answer>,
    _ends: DropGuard,
}

/// A mutation, and the room that its message takes until it has run.
type Waiting = (QueuedMutation, Held);

impl Mutations {
    pub(super) fn new(edge: SharedEdge, session: Addressed) -> Mutations {
        Mutations { edge, session, running: None }
    }

    /// Puts a mutation behind the others; gives it back if there is no room.
    pub(super) fn push(&mut self, mutation: QueuedMutation, held: Held) -> Result<(), Box<QueuedMutation>> {
        let running = self.running.get_or_insert_with(|| {
            let limits = &self.edge.limits.sync;
            let (waiting, queue) = mpsc::channel(limits.pending_mutations_max);
            let (answering, answers) = mpsc::channel(limits.outcomes_waiting_max);
            let (edge, session, ended) = (self.edge.clone(), self.session.clone(), CancellationToken::new());
            self.edge.tasks.spawn(run_in_order(edge, session, queue, answering, ended.clone()));
            Running { waiting, answers, _ends: ended.drop_guard() }
        });
        running.waiting.try_send((mutation, held)).map_err(|refused| Box::new(refused.into_inner().0))
    }

    /// The next answer; `None` when there will be no other.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        match &mut self.running {
            Some(running) => running.answers.recv().await,
            None => std::future::pending().await,
        }
    }

    /// An answer that is there already.
    pub(super) fn try_answer(&mut self) -> Option<Answer> {
        self.running.as_mut()?.answers.try_recv().ok()
    }
}

async fn run_in_order(
    edge: SharedEdge,
    session: Addressed,
    mut queue: mpsc::Receiver<Waiting>,
    answers: mpsc::Sender<Answer>,
    ended: CancellationToken,
) {
    let mut newest = Timestamp::ZERO;
    while let Some(Some((mutation, held))) = ended.run_until_cancelled(queue.recv()).await {
        let request_id = mutation.request.request_id;
        let addressed = session.next_request();
        let (span, counted) = (addressed.span(None), edge.metrics.begin(Api::SessionMutation));
        let outcome = run(&edge, addressed, mutation, newest).instrument(span).await;
        drop(held);
        counted.end(match &outcome {
            Ok(MutationOutcome { result: Ok(_), .. }) => Outcome::Answered,
            Ok(MutationOutcome { result: Err(_), .. }) => Outcome::Threw,
            Err(_) => Outcome::Refused,
        });
        if let Ok(MutationOutcome { timestamp: Some(timestamp), .. }) = &outcome {
            newest = newest.max(*timestamp);
        }
        let closing = outcome.is_err();
        if answers.send(Answer { request_id, outcome }).await.is_err() || closing {
            return;
        }
    }
}

/// An error here is one after which the client does not know more than before, and asks again in a new connection; the
/// request's record in the log then tells whether it had happened. Everything else is an outcome.
async fn run(
    edge: &Edge,
    addressed: Addressed,
    mutation: QueuedMutation,
    newest: Timestamp,
) -> Result<MutationOutcome, Close> {
    let QueuedMutation { request, session, by, not_before } = mutation;
    let (deployment, request_id) = (addressed.deployment.reference, Arc::clone(&addressed.request_id));
    let function = call_of(addressed, request, by);
    let call = MutationCall { function, session: Some(session), not_before: not_before.max(newest) };
    let time = Duration::from_millis(edge.limits.sync.mutation_ms_max);
    let outcome = async {
        let _place = edge.mutations.take(deployment, 1).await;
        audit::run_mutation(edge, call).await
    };
    let Ok(outcome) = tokio::time::timeout(time, outcome).await else {
        let error = contract::Error::overloaded(
            "MutationTimeout",
            "a mutation took too long; it will be asked for again",
        );
        return Err(Close::after(&error));
    };
    match outcome {
        Ok(outcome) if outcome.result.is_ok() && outcome.timestamp.is_none() => {
            Err(Close::after(&contract::Error::internal("a mutation succeeded without a timestamp")))
        }
        Ok(outcome) => Ok(outcome),
        Err(error) => match error.kind {
            ErrorKind::TooManyRequests
            | ErrorKind::Overloaded
            | ErrorKind::OutOfRetention
            | ErrorKind::Internal => Err(Close::after(&error)),
            // It was refused, or ran and lost every race: an answer, and nothing happened.
            ErrorKind::BadRequest
            | ErrorKind::Unauthenticated
            | ErrorKind::Forbidden
            | ErrorKind::NotFound
            | ErrorKind::Conflict => Ok(MutationOutcome {
                result: Err(contract::FunctionError {
                    message: format!("[Request ID: {request_id}] {}: {}", error.code, public_message(&error)),
                    data: None,
                }),
                timestamp: None,
                log_lines: Vec::new(),
            }),
        },
    }
}
