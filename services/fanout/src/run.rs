//! One run of a query, repeated as long as the runners refuse it for no fault of its own.

use std::{sync::Arc, time::Duration};

use contract::{
    Caller, DeploymentRef, Error, FunctionCall, QueryCall, ReadMoment, Requester, Result, Retry, Runner,
};
use fair_queue::Places;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::{
    metrics::{Metrics, add},
    outcome::FinishedRun,
    tides::RunOrder,
};

/// How often something is tried again, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryOptions {
    pub pause_min: Duration,
    pub pause_max: Duration,
    /// From the first attempt on, waiting for a place included.
    pub give_up_after: Duration,
}

impl RetryOptions {
    /// The pause before a repetition, the first of which is number 0: each twice as long as the one before, up to the
    /// longest; of that, between half (`random` is 0) and the whole (1), so that many do not come back together.
    fn pause(&self, repetition: u32, random: f64) -> Duration {
        let factor = 1 << repetition.min(20);
        let most = self.pause_min.saturating_mul(factor).min(self.pause_max);
        most.mul_f64(0.5 + random / 2.0)
    }

    /// Attempts it until it is answered, is refused for good, or fails so late that there is no time for another pause; `expired` if there is no
    /// word in time. `again` hears why, before each pause.
    pub async fn until_answered<T, F: Future<Output = Result<T>>>(
        &self,
        attempt: impl Fn() -> F,
        again: impl Fn(&Error),
        expired: impl FnOnce() -> Error,
    ) -> Result<T> {
        let end = Instant::now() + self.give_up_after;
        for repetition in 0.. {
            let error = match tokio::time::timeout_at(end, attempt()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => return Err(expired()),
            };
            let pause = self.pause(repetition, rand::random());
            if error.retry == Retry::Never || Instant::now() + pause >= end {
                return Err(error);
            }
            again(&error);
            tokio::time::sleep(pause).await;
        }
        unreachable!("it is tried until it is answered or given up")
    }
}

/// What all runs of one deployment share.
pub(crate) struct Runs {
    pub deployment: DeploymentRef,
    pub runner: Arc<dyn Runner>,
    /// Bounds the runs of the whole instance.
    pub places: Places,
    pub retry: RetryOptions,
    pub metrics: Arc<Metrics>,
}

impl Runs {
    /// One request to the runners, under one id, however often it is repeated.
    pub async fn run(&self, order: &RunOrder) -> Result<FinishedRun> {
        let request_id = format!("{:016x}", rand::random::<u64>());
        // Whichever level is logged, every line says whose run it is about.
        let span = tracing::error_span!(
            "live_query",
            deployment = %self.deployment,
            request_id,
            function = order.call.path
        );
        self.run_until_answered(order, &request_id).instrument(span).await
    }

    async fn run_until_answered(&self, order: &RunOrder, request_id: &str) -> Result<FinishedRun> {
        let attempt = || self.attempt(order, request_id);
        let again = |error: &Error| {
            tracing::debug!(%error, "a live query is run again after a pause");
            add(&self.metrics.run_retries, 1);
        };
        let expired = || Error::overloaded("ExpiredInQueue", "A query was not run in time.");
        let finished = self.retry.until_answered(attempt, again, expired).await;
        finished.inspect_err(|_| add(&self.metrics.runs_failed, 1))
    }

    async fn attempt(&self, order: &RunOrder, request_id: &str) -> Result<FinishedRun> {
        let _place = self.places.take(self.deployment, 1).await;
        let function = FunctionCall {
            deployment: self.deployment,
            component: order.call.component.clone(),
            path: order.call.path.clone(),
            arguments: order.call.arguments.clone(),
            identity: order.identity.clone(),
            caller: Caller::SyncWorker,
            // Several clients can share a result, and queries can't ask.
            requester: Requester::default(),
            request_id: request_id.to_owned(),
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

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use contract::{DeploymentId, GroupId, Identity, QueryOutcome, ReadSet, Timestamp};
    use parking_lot::Mutex;
    use result_cache::Flights;

    use super::*;
    use crate::{
        call::Call,
        queries::{OnlyQueries, Queries, answered},
    };

    const DEPLOYMENT: DeploymentRef = DeploymentRef { group: GroupId(3), deployment: DeploymentId(7) };

    /// Refuses so many runs, and takes down under which id each was asked for.
    struct Refusing {
        refusals: usize,
        request_ids: Mutex<Vec<String>>,
    }

    #[async_trait]
    impl Queries for Refusing {
        async fn run(&self, call: QueryCall, at: Timestamp) -> Result<QueryOutcome> {
            let mut request_ids = self.request_ids.lock();
            request_ids.push(call.function.request_id);
            if request_ids.len() <= self.refusals {
                return Err(Error::overloaded("TooManyConcurrentRequests", "come later"));
            }
            Ok(answered(at, "1".into(), ReadSet::new()))
        }
    }

    const RETRY: RetryOptions = RetryOptions {
        pause_min: Duration::from_millis(20),
        pause_max: Duration::from_millis(100),
        give_up_after: Duration::from_secs(60),
    };

    #[test]
    fn the_first_repetition_is_quick_and_the_pauses_grow_up_to_their_limit() {
        let pauses = |random| [0, 1, 2, 3, 4, 40, u32::MAX].map(|at| RETRY.pause(at, random).as_millis());
        assert_eq!(pauses(1.0), [20, 40, 80, 100, 100, 100, 100]);
        assert_eq!(pauses(0.0), [10, 20, 40, 50, 50, 50, 50]);
    }

    /// Takes what is logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The one test of this crate during which anything is logged, on its own thread.
    #[tokio::test]
    async fn every_line_about_a_failing_run_names_its_deployment_and_the_request() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let _logging = tracing::subscriber::set_default(subscriber);
        let runner = Arc::new(Refusing { refusals: 3, request_ids: Mutex::default() });
        let runs = Runs {
            deployment: DEPLOYMENT,
            runner: Arc::new(OnlyQueries(runner.clone())),
            places: Places::new(1, 1),
            retry: RETRY,
            metrics: Arc::default(),
        };
        let order = RunOrder {
            run: Flights::<(), (), (), ()>::default().start((), (), ()),
            call: Arc::new(Call::new(String::new(), "m:a", &"[{}]".into())),
            journal: None,
            identity: Identity::Anonymous,
            at: Timestamp::ZERO,
        };
        runs.run(&order).await.expect("it is answered in the end");

        let text = String::from_utf8(std::mem::take(&mut *log.0.lock())).expect("it is text");
        let request_ids = runner.request_ids.lock();
        assert_eq!((text.lines().count(), request_ids.len()), (3, 4), "{text}");
        assert!(request_ids.iter().all(|id| *id == request_ids[0]), "it is one request: {request_ids:?}");
        for line in text.lines() {
            for part in ["come later", "deployment=3/7", &format!("request_id=\"{}\"", request_ids[0])] {
                assert!(line.contains(part), "{part} is not in: {line}");
            }
        }
    }
}
