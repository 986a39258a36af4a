//! What an action waits for.

use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use isolate::{Answer, AsyncOperation, OperationId, SyscallError};
use serde::Deserialize;
use tokio::time::{Duration, Instant, sleep_until};

use super::{blobs::Transfers, calls::Calls, fetches::Fetches, host::EndOfWait, timers::Timers};
use crate::{
    calls::Stop,
    transaction::{Attempt, Failure, answered, parse},
};

/// What the function has asked for and what has not been answered yet.
pub(super) struct Operations {
    calls: Arc<Calls>,
    client: egress::Client,
    under_way: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Of these, those without which the action does not end.
    holding: usize,
    timers: Timers,
    fetches: Fetches,
    transfers: Transfers,
}

struct Done {
    id: OperationId,
    answer: Result<Answer, Stop>,
    holds: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SleepArguments {
    timer: u64,
    delay_ms: u64,
}

/// Whether an action whose outcome is known goes on for this: functions that it has called run to their end, and it is told.
/// Timers and requests end with it.
pub(super) fn holds(operation: &AsyncOperation) -> bool {
    !operation.name.starts_with("tidemark/")
}

impl Operations {
    pub(super) fn new(calls: Calls, client: egress::Client) -> Operations {
        Operations {
            calls: Arc::new(calls),
            client,
            under_way: FuturesUnordered::new(),
            holding: 0,
            timers: Timers::default(),
            fetches: Fetches::default(),
            transfers: Transfers::default(),
        }
    }

    /// Whether something is under way without which the action does not end.
    pub(super) fn hold(&self) -> bool {
        self.holding > 0
    }

    /// Begins what is answered by [`Operations::next`].
    pub(super) fn begin(&mut self, operation: AsyncOperation) {
        let (id, holds) = (operation.id, holds(&operation));
        let answer = self.answer(operation).unwrap_or_else(|failure| {
            let refused = match failure {
                Failure::Caught(error) => Ok(Err(error)),
                Failure::Stop(stop) => Err(stop),
            };
            Some(std::future::ready(refused).boxed())
        });
        if let Some(answer) = answer {
            self.holding += usize::from(holds);
            self.under_way.push(answer.map(move |answer| Done { id, answer, holds }).boxed());
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
            _ => {
                let calls = Arc::clone(&self.calls);
                async move { answered(calls.answer(&operation).await) }.boxed()
            }
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
        self.holding -= usize::from(done.holds);
        Ok((done.id, done.answer?))
    }
}

/// Above what the platform asks for.
const DELAY_MS_MAX: u64 = 1 << 31;
