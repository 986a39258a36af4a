//! A session's mutations, one after the other.

use std::time::Duration;

use contract::{Caller, ErrorKind, MutationCall, MutationOutcome, Timestamp};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{close::Close, session::QueuedMutation};
use crate::{
    edge::{Edge, SharedEdge},
    functions::function_call,
};

/// How a mutation ended.
pub(super) struct Answer {
    pub request_id: u32,
    pub outcome: Result<MutationOutcome, Close>,
}

/// The waiting mutations and their answers, in the order of their arrival.
pub(super) struct Mutations {
    pub waiting: mpsc::Sender<QueuedMutation>,
    pub answers: mpsc::Receiver<Answer>,
}

impl Mutations {
    /// Starts the task that runs them. It ends after the mutation that it is at, once the other ends of the channels are
    /// gone or `ended` is cancelled: what waits then is sent again by the client, in another connection.
    pub(super) fn start(edge: &SharedEdge, ended: CancellationToken) -> Mutations {
        let (waiting, queue) = mpsc::channel(edge.options.limits.sync.pending_mutations_max);
        let (answering, answers) = mpsc::channel(edge.options.limits.sync.outcomes_waiting_max);
        edge.tasks.spawn(run_in_order(edge.clone(), queue, answering, ended));
        Mutations { waiting, answers }
    }
}

async fn run_in_order(
    edge: SharedEdge,
    mut queue: mpsc::Receiver<QueuedMutation>,
    answers: mpsc::Sender<Answer>,
    ended: CancellationToken,
) {
    let mut newest = Timestamp::ZERO;
    while let Some(Some(mutation)) = ended.run_until_cancelled(queue.recv()).await {
        let request_id = mutation.request.request_id;
        let outcome = run(&edge, mutation, newest).await;
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
async fn run(edge: &Edge, mutation: QueuedMutation, newest: Timestamp) -> Result<MutationOutcome, Close> {
    let QueuedMutation { request, session, identity, not_before } = mutation;
    let function =
        function_call(edge, identity, Caller::SyncWorker, request.component, request.path, request.arguments);
    let request_id = function.request_id.clone();
    let call = MutationCall { function, session: Some(session), not_before: not_before.max(newest) };
    let time = Duration::from_millis(edge.options.limits.sync.mutation_ms_max);
    let Ok(outcome) = tokio::time::timeout(time, edge.services.runner.mutation(call)).await else {
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
                    message: format!("[Request ID: {request_id}] {}: {}", error.code, error.message),
                    data: None,
                }),
                timestamp: None,
                log_lines: Vec::new(),
            }),
        },
    }
}
