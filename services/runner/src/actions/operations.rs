//! What an action waits for.

use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use isolate::{Answer, AsyncOperation, OperationId, SyscallError};
use serde::Deserialize;
use tokio::time::{Duration, Instant, sleep_until};

use super::{
    blobs::Transfers, calls::Calls, exchange::Exchange, fetches::Fetches, host::EndOfWait, timers::Timers,
};
use crate::{
    calls::Stop,
    transaction::{Attempt, Failure, answered, parse},
};

/// What the function has asked for and what has not been answered yet.
pub(super) struct Operations {
    calls: Arc<Calls>,
    client: egress::Client,
    under_way: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Of these, those that an action waits for.
    calls_under_way: usize,
    requests_under_way: usize,
    timers: Timers,
    fetches: Fetches,
    transfers: Transfers,
    /// Of an HTTP action.
    exchange: Option<Arc<Exchange>>,
}

struct Done {
    id: OperationId,
    answer: Result<Answer, Stop>,
    weight: Weight,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SleepArguments {
    timer: u64,
    delay_ms: u64,
}

/// What an operation is worth to an action whose outcome is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// Functions that it has called run to their end, and it is told.
    Call,
    /// Timers and requests to other servers end with it, since its caller waits. An HTTP action that has answered holds nobody
    /// up: it goes on for them.
    World,
    /// What has to do with the client of an HTTP action alone.
    Client,
}

impl Weight {
    pub(super) fn of(operation: &AsyncOperation) -> Weight {
        match operation.name.as_str() {
            "tidemark/httpRead" | "tidemark/httpClientGone" => Weight::Client,
            name if name.starts_with("tidemark/") => Weight::World,
            _ => Weight::Call,
        }
    }

    /// Whether the action goes on for it.
    pub(super) fn holds(self, is_answered: bool) -> bool {
        match self {
            Weight::Call => true,
            Weight::World => is_answered,
            Weight::Client => false,
        }
    }
}

impl Operations {
    pub(super) fn new(
        calls: Calls,
        client: egress::Client,
        fetches: Fetches,
        exchange: Option<Arc<Exchange>>,
    ) -> Operations {
        Operations {
            calls: Arc::new(calls),
            client,
            under_way: FuturesUnordered::new(),
            calls_under_way: 0,
            requests_under_way: 0,
            timers: Timers::default(),
            fetches,
            transfers: Transfers::default(),
            exchange,
        }
    }

    /// Whether something is under way without which the action does not end.
    pub(super) fn hold(&self) -> bool {
        let is_answered = self.exchange.as_ref().is_some_and(|exchange| exchange.is_answered());
        let is_wanted = self.requests_under_way > 0 || self.timers.next_due().is_some();
        self.calls_under_way > 0 || (is_answered && is_wanted)
    }

    fn count(&mut self, weight: Weight) -> Option<&mut usize> {
        match weight {
            Weight::Call => Some(&mut self.calls_under_way),
            Weight::World => Some(&mut self.requests_under_way),
            Weight::Client => None,
        }
    }

    /// Begins what is answered by [`Operations::next`].
    pub(super) fn begin(&mut self, operation: AsyncOperation) {
        let (id, weight) = (operation.id, Weight::of(&operation));
        let answer = self.answer(operation).unwrap_or_else(|failure| {
            let refused = match failure {
                Failure::Caught(error) => Ok(Err(error)),
                Failure::Stop(stop) => Err(stop),
            };
            Some(std::future::ready(refused).boxed())
        });
        if let Some(answer) = answer {
            if let Some(count) = self.count(weight) {
                *count += 1;
            }
            self.under_way.push(answer.map(move |answer| Done { id, answer, weight }).boxed());
        }
    }

    /// `None` for a timer, which is not waited for one by one.
    fn answer(
        &mut self,
        operation: AsyncOperation,
    ) -> Attempt<Option<BoxFuture<'static, Result<Answer, Stop>>>> {
        let AsyncOperation { id, name, arguments, .. } = &operation;
        let unknown = || SyscallError::new("there is no such request under way");
        Ok(Some(match name.as_str() {
            "tidemark/sleep" => {
                let SleepArguments { timer, delay_ms } = parse(name, arguments)?;
                self.timers.set(
                    timer,
                    *id,
                    Instant::now() + Duration::from_millis(delay_ms.min(DELAY_MS_MAX)),
                );
                return Ok(None);
            }
            "tidemark/fetch" => {
                let arguments = parse(name, arguments)?;
                let (exchange, client) = (self.fetches.open(&arguments), self.client.clone());
                async move { Ok(exchange.send(&client, arguments, operation.body).await) }.boxed()
            }
            "tidemark/fetchRead" => {
                let exchange = self.fetches.to_read(&parse(name, arguments)?).ok_or_else(unknown)?;
                async move { Ok(exchange.read().await) }.boxed()
            }
            "tidemark/fetchWrite" => {
                let to_write = self.fetches.to_write(&parse(name, arguments)?);
                let (exchange, is_last) = to_write.ok_or_else(unknown)?;
                async move { Ok(exchange.write(operation.body, is_last).await) }.boxed()
            }
            "storage/begin" => {
                let (transfer, calls) =
                    (self.transfers.open(parse(name, arguments)?), Arc::clone(&self.calls));
                let arguments = parse(name, arguments)?;
                async move { Ok(transfer.begin(&calls, arguments).await) }.boxed()
            }
            "storage/write" => {
                let transfer = self.transfers.get(parse(name, arguments)?)?;
                async move { Ok(transfer.write(operation.body).await) }.boxed()
            }
            "storage/finish" => {
                let transfer = self.transfers.get(parse(name, arguments)?)?;
                async move { Ok(transfer.finish().await) }.boxed()
            }
            "storage/open" => {
                let (transfer, calls) =
                    (self.transfers.open(parse(name, arguments)?), Arc::clone(&self.calls));
                let bytes_max = calls.heap_bytes_max();
                async move {
                    match transfer.open(&calls, &operation.name, &operation.arguments, bytes_max).await {
                        Ok(answer) => Ok(answer),
                        Err(Failure::Caught(error)) => Ok(Err(error)),
                        Err(Failure::Stop(stop)) => Err(stop),
                    }
                }
                .boxed()
            }
            "storage/read" => {
                let transfer = self.transfers.get(parse(name, arguments)?)?;
                async move { Ok(transfer.read().await) }.boxed()
            }
            name => match &self.exchange {
                Some(exchange) if name.starts_with("tidemark/http") => {
                    let exchange = Arc::clone(exchange);
                    let answer = exchange.begin(operation)?;
                    answer.map(Ok).boxed()
                }
                _ => {
                    let calls = Arc::clone(&self.calls);
                    async move { answered(calls.answer(&operation).await) }.boxed()
                }
            },
        }))
    }

    pub(super) fn end_wait(&mut self, ended: EndOfWait) {
        match ended {
            EndOfWait::Timer(timer) => self.timers.wake(timer),
            EndOfWait::Fetch(fetch) => self.fetches.abort(fetch),
        }
    }

    /// The next answers, at least one. Fails where one of them ends everything.
    pub(super) async fn next(&mut self) -> Result<Vec<(OperationId, Answer)>, Stop> {
        loop {
            let over = self.timers.take_over(Instant::now());
            if !over.is_empty() {
                return Ok(over.into_iter().map(|id| (id, Ok("null".into()))).collect());
            }
            let due = self.timers.next_due();
            let timer = async move {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(done) = self.under_way.next(), if !self.under_way.is_empty() => {
                    let mut answers = vec![self.done(done)?];
                    // Whatever else is there spares a step.
                    while let Some(Some(done)) = self.under_way.next().now_or_never() {
                        answers.push(self.done(done)?);
                    }
                    return Ok(answers);
                }
                () = timer => {}
            }
        }
    }

    fn done(&mut self, done: Done) -> Result<(OperationId, Answer), Stop> {
        if let Some(count) = self.count(done.weight) {
            *count -= 1;
        }
        Ok((done.id, done.answer?))
    }
}

/// Above what the platform asks for.
const DELAY_MS_MAX: u64 = 1 << 31;
