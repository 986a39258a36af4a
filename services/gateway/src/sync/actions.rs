//! A session's actions, all at the same time.

use std::sync::Arc;

use contract::{ActionOutcome, Error, FunctionCall};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use sync_protocol::ServerMessage;
use tracing::Instrument as _;

use super::{call_of, session::RequestedAction};
use crate::{
    bodies::Held,
    edge::{Addressed, SharedEdge},
    error::public_message,
    functions,
    metrics::{Api, Outcome},
};

/// What is under way, and its answers as they come.
///
/// Most clients never call an action: there is nothing before the first one. Once this is dropped nobody waits for them any
/// more; those that have begun go on.
pub(super) struct Actions {
    edge: SharedEdge,
    session: Addressed,
    under_way: Option<FuturesUnordered<BoxFuture<'static, ServerMessage>>>,
}

impl Actions {
    pub(super) fn new(edge: SharedEdge, session: Addressed) -> Actions {
        Actions { edge, session, under_way: None }
    }

    /// `held` is the room that its message takes until it has run.
    pub(super) fn begin(&mut self, action: RequestedAction, held: Held) {
        let under_way = self.under_way.get_or_insert_default();
        let actions_max = self.edge.limits.sync.actions_in_flight_max;
        if under_way.len() >= actions_max {
            let message = format!(
                "TooManyInflightActionsForSingleClient: a session may have {actions_max} actions under way"
            );
            let refused = failed(action.request.request_id, message);
            under_way.push(std::future::ready(refused).boxed());
            return;
        }
        let addressed = self.session.next_request();
        let span = addressed.span(None);
        under_way.push(run(self.edge.clone(), addressed, action, held).instrument(span).boxed());
    }

    /// The next answer.
    pub(super) async fn answer(&mut self) -> ServerMessage {
        if let Some(under_way) = &mut self.under_way
            && let Some(answer) = under_way.next().await
        {
            return answer;
        }
        std::future::pending().await
    }
}

async fn run(edge: SharedEdge, addressed: Addressed, action: RequestedAction, held: Held) -> ServerMessage {
    let RequestedAction { request, by } = action;
    let number = request.request_id;
    let request_id = Arc::clone(&addressed.request_id);
    let counted = edge.metrics.begin(Api::SessionAction);
    let call = call_of(addressed, request, by);
    let outcome = match held.is_any() {
        true => run_to_its_end(&edge, call, held).await,
        false => edge.services.runner.action(call).await,
    };
    match outcome {
        Ok(ActionOutcome { result, log_lines }) => {
            counted.end(if result.is_ok() { Outcome::Answered } else { Outcome::Threw });
            let result = result.map_err(|error| (error.message, error.data));
            ServerMessage::ActionResponse { request_id: number, result, log_lines }
        }
        // The client does not send it again, so whatever became of it is an answer.
        Err(error) => {
            edge.metrics.count_error(&error.code);
            counted.end(Outcome::of_error(error.kind));
            let message = format!("[Request ID: {request_id}] {}: {}", error.code, public_message(&error));
            failed(number, message)
        }
    }
}

/// An action with large arguments is waited for also when its client is gone: it goes on, and so they are still there.
async fn run_to_its_end(
    edge: &SharedEdge,
    call: FunctionCall,
    held: Held,
) -> contract::Result<ActionOutcome> {
    let edge_of_task = edge.clone();
    let running = async move {
        let _held = held;
        functions::run_action(&edge_of_task, call).await
    };
    match edge.tasks.spawn(running.in_current_span()).await {
        Ok(outcome) => outcome,
        Err(error) => Err(Error::internal(format!("the task of an action ended: {error}"))),
    }
}

fn failed(request_id: u32, message: String) -> ServerMessage {
    ServerMessage::ActionResponse { request_id, result: Err((message, None)), log_lines: Vec::new() }
}
