//! One run of a query, repeated as long as the runners refuse it for no fault of its own.

use std::{sync::Arc, time::Duration};

use contract::{Caller, DeploymentRef, Error, FunctionCall, QueryCall, ReadMoment, Result, Retry, Runner};
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    metrics::{Metrics, add},
    outcome::FinishedRun,
    tides::RunOrder,
};

#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryOptions {
    pub pause_min: Duration,
    pub pause_max: Duration,
    /// From the first attempt on, waiting for a place included.
    pub give_up_after: Duration,
}

/// What all runs of one deployment share.
pub(crate) struct Runs {
    pub deployment: DeploymentRef,
    pub runner: Arc<dyn Runner>,
    /// Bounds the runs of the whole instance.
    pub places: Arc<Semaphore>,
    pub retry: RetryOptions,
    pub metrics: Arc<Metrics>,
}

impl Runs {
    pub async fn run(&self, order: &RunOrder) -> Result<FinishedRun> {
        let end = Instant::now() + self.retry.give_up_after;
        let mut pause = self.retry.pause_min;
        loop {
            let error = match tokio::time::timeout_at(end, self.attempt(order)).await {
                Ok(Ok(finished)) => return Ok(finished),
                Ok(Err(error)) => error,
                Err(_) => {
                    add(&self.metrics.runs_failed, 1);
                    return Err(Error::overloaded("ExpiredInQueue", "A query was not run in time."));
                }
            };
            // Between half the pause and the whole, so that many do not come back together.
            let jittered = pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
            if error.retry == Retry::Never || Instant::now() + jittered >= end {
                add(&self.metrics.runs_failed, 1);
                return Err(error);
            }
            tracing::debug!(%error, path = order.call.path, "a live query is run again after a pause");
            add(&self.metrics.run_retries, 1);
            tokio::time::sleep(jittered).await;
            pause = (pause * 2).min(self.retry.pause_max);
        }
    }

    async fn attempt(&self, order: &RunOrder) -> Result<FinishedRun> {
        let _place = self.places.acquire().await.expect("nobody closes the semaphore");
        let function = FunctionCall {
            deployment: self.deployment,
            component: order.call.component.clone(),
            path: order.call.path.clone(),
            arguments: order.call.arguments.clone(),
            identity: order.identity.clone(),
            caller: Caller::SyncWorker,
            request_id: format!("{:016x}", rand::random::<u64>()),
        };
        let call = QueryCall { function, at: ReadMoment::At(order.at), journal: order.journal.clone() };
        let outcome = self.runner.query(call).await?;
        if outcome.timestamp != order.at {
            return Err(Error::internal(format!(
                "a query was asked for {} and was run at {}",
                order.at, outcome.timestamp
            )));
        }
        Ok(FinishedRun::new(outcome, order.journal.as_ref()))
    }
}
