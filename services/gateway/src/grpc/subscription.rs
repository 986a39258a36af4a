//! A live query as a stream of answers.

use std::{pin::Pin, sync::Arc, time::Duration};

use contract::{
    DeploymentRef, Error, ErrorKind, FanoutSession, FunctionCall, FunctionError, QueryChange,
    QueryModification, SessionCommand, SessionStart, Timestamp, deployment_not_found,
};
use fair_queue::Place;
use futures::{FutureExt as _, Stream, stream};
use prost::Message as _;
use proto::deployment::v1::{self as wire, subscribe_response::Event};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

use super::{calls::shutting_down, failure::Result, service::result_of};
use crate::{clock, edge::SharedEdge};

/// The only query of its session.
const QUERY: u32 = 0;

/// A session of the fan-out with one query in it.
pub(super) struct Subscription {
    edge: SharedEdge,
    deployment: DeploymentRef,
    fanout: FanoutSession,
    /// The newest moment that the client knows of.
    shown: Timestamp,
    heartbeat: Duration,
    expiry: Option<Expiry>,
    /// Of its deployment.
    gone: CancellationToken,
    /// For the result that was shown last, until the next response is asked for: then the client has taken it. `None` for a small one.
    room: Option<Place>,
    _place: Place,
}

/// From then on its user's token does not hold.
struct Expiry {
    /// Milliseconds since the Unix epoch.
    at_ms: u64,
    sleep: Pin<Box<Sleep>>,
}

/// What comes next.
enum Next {
    Change(QueryChange),
    /// Nothing, for some time.
    Silence,
}

impl Subscription {
    /// Begins one: nothing older than `from` is shown. `valid_until_ms` is until when the caller is who it says. It ends when the
    /// deployment is gone.
    pub(super) async fn open(
        edge: &SharedEdge,
        gone: CancellationToken,
        call: FunctionCall,
        from: Timestamp,
        journal: Option<String>,
        valid_until_ms: Option<u64>,
    ) -> Result<Subscription> {
        let place = edge.subscriptions.try_take(call.deployment, 1).ok_or_else(|| {
            let message = "There are as many subscriptions as there may be. Try again later.";
            Error::new(ErrorKind::TooManyRequests, "TooManySubscriptions", message)
        })?;
        let FunctionCall { deployment, component, path, arguments, identity, .. } = call;
        let start = SessionStart { deployment, not_before: from, identity };
        let mut fanout = edge.services.fanout.open(start).await?;
        let journal = journal.map(Into::into);
        let add = QueryModification::Add { query: QUERY, component, path, arguments, journal };
        let command = SessionCommand::ModifyQueries { version: 1, modifications: vec![add] };
        if fanout.commands.send(Box::new(command)).await.is_err() {
            return Err(why_it_ended(&mut fanout).await.into());
        }
        let expiry = valid_until_ms.map(|at_ms| {
            let left = Duration::from_millis(at_ms.saturating_sub(clock::now_ms()));
            Expiry { at_ms, sleep: Box::pin(sleep(left)) }
        });
        Ok(Subscription {
            edge: edge.clone(),
            deployment,
            fanout,
            shown: from,
            heartbeat: Duration::from_millis(edge.limits.grpc.heartbeat_ms),
            expiry,
            gone,
            room: None,
            _place: place,
        })
    }

    /// What the client is told, until a failure, which is the last that it is told.
    pub(super) fn into_responses(self) -> impl Stream<Item = Result<wire::SubscribeResponse>> {
        stream::unfold(Some(self), |subscription| async move {
            let mut subscription = subscription?;
            let response = subscription.response().await;
            let rest = response.is_ok().then_some(subscription);
            Some((response, rest))
        })
    }

    async fn response(&mut self) -> Result<wire::SubscribeResponse> {
        self.room = None;
        let next = self.next().await?;
        if self.expiry.as_ref().is_some_and(|expiry| expiry.at_ms <= clock::now_ms()) {
            return Err(expired().into());
        }
        let (event, journal) = match next {
            Next::Silence => (Event::Heartbeat(wire::Heartbeat {}), None),
            Next::Change(QueryChange::Updated { value, log_lines, journal, .. }) => {
                (Event::Result(self.result(Ok(value), &log_lines).await?), journal)
            }
            Next::Change(QueryChange::Failed { error, log_lines, journal, .. }) => {
                (Event::Result(self.result(Err(error), &log_lines).await?), journal)
            }
            Next::Change(QueryChange::Removed { .. }) => {
                return Err(Error::internal("a query was removed that nobody has removed").into());
            }
        };
        Ok(wire::SubscribeResponse {
            timestamp: self.shown.as_nanoseconds(),
            event: Some(event),
            journal: journal.map(|journal| journal.to_string()),
        })
    }

    /// A result as a message, for which there is room. While it waits for that nothing of it is in memory but the value, which all
    /// subscriptions of the query share.
    async fn result(
        &mut self,
        result: std::result::Result<Arc<str>, FunctionError>,
        log_lines: &[String],
    ) -> Result<wire::FunctionResult> {
        let message = || result_of(result.clone(), log_lines.to_vec());
        let first = message()?;
        let bytes = first.encoded_len();
        if let Some(room) = self.edge.answers.take(self.deployment, bytes).now_or_never() {
            self.room = room;
            return Ok(first);
        }
        drop(first);
        tokio::select! {
            biased;
            error = ending(&self.gone, &self.edge.shutdown, &mut self.expiry) => return Err(error.into()),
            room = self.edge.answers.take(self.deployment, bytes) => self.room = room,
        }
        message()
    }

    async fn next(&mut self) -> Result<Next> {
        let silence = sleep(self.heartbeat);
        tokio::pin!(silence);
        loop {
            tokio::select! {
                biased;
                error = ending(&self.gone, &self.edge.shutdown, &mut self.expiry) => return Err(error.into()),
                round = self.fanout.rounds.recv() => {
                    let mut round = (*round.ok_or_else(ended)?)?;
                    if round.timestamp < self.shown {
                        return Err(Error::internal("a live query has gone back in time").into());
                    }
                    self.shown = round.timestamp;
                    if let Some(change) = round.changes.pop() {
                        return Ok(Next::Change(change));
                    }
                }
                () = &mut silence => return Ok(Next::Silence),
            }
        }
    }
}

/// Why nothing is shown any more, once that is so.
async fn ending(
    gone: &CancellationToken,
    shutdown: &CancellationToken,
    expiry: &mut Option<Expiry>,
) -> Error {
    tokio::select! {
        biased;
        // Also at the shutdown.
        () = gone.cancelled() => {
            if shutdown.is_cancelled() { shutting_down() } else { deployment_not_found() }
        }
        () = passed(expiry) => expired(),
    }
}

/// Never, without an end.
async fn passed(expiry: &mut Option<Expiry>) {
    match expiry {
        Some(expiry) => expiry.sleep.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Why is the last thing among its rounds.
async fn why_it_ended(fanout: &mut FanoutSession) -> Error {
    while let Some(round) = fanout.rounds.recv().await {
        if let Err(error) = *round {
            return error;
        }
    }
    ended()
}

fn ended() -> Error {
    Error::overloaded("SubscriptionsWorkerFullError", "the subscription has ended")
}

fn expired() -> Error {
    let message = "The token has expired. Subscribe again with another one.";
    Error::new(ErrorKind::Unauthenticated, "Unauthenticated", message)
}
