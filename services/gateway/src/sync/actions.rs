//! A session's actions, all at the same time.

use contract::{ActionOutcome, Caller, FunctionCall};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use sync_protocol::ServerMessage;
use tracing::Instrument as _;

use super::session::RequestedAction;
use crate::{
    edge::{Addressed, SharedEdge},
    request_id::new_request_id,
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

    pub(super) fn begin(&mut self, action: RequestedAction) {
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
        // Each is a request of its own.
        let addressed = Addressed { request_id: new_request_id().into(), ..self.session.clone() };
        let span = addressed.span();
        under_way.push(run(self.edge.clone(), addressed, action).instrument(span).boxed());
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

async fn run(edge: SharedEdge, addressed: Addressed, action: RequestedAction) -> ServerMessage {
    let RequestedAction { request, identity } = action;
    let Addressed { deployment, request_id } = addressed;
    let function = FunctionCall {
        deployment: deployment.reference,
        component: request.component,
        path: request.path,
        arguments: request.arguments,
        identity,
        caller: Caller::SyncWorker,
        request_id: request_id.to_string(),
    };
    match edge.services.runner.action(function).await {
        Ok(ActionOutcome { result, log_lines }) => ServerMessage::ActionResponse {
            request_id: request.request_id,
            result: result.map_err(|error| (error.message, error.data)),
            log_lines,
        },
        // The client does not send it again, so whatever became of it is an answer.
        Err(error) => {
            let message = format!("[Request ID: {request_id}] {}: {}", error.code, error.message);
            failed(request.request_id, message)
        }
    }
}

fn failed(request_id: u32, message: String) -> ServerMessage {
    ServerMessage::ActionResponse { request_id, result: Err((message, None)), log_lines: Vec::new() }
}
