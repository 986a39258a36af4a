//! Queries.

use contract::{QueryCall, QueryOutcome, ReadAt, ReadMoment, Result};
use isolate::FunctionKind;

use crate::{
    run::{Run, RunEnd},
    service::Runner,
    threads::Priority,
};

impl Runner {
    pub(crate) async fn run_query(&self, call: QueryCall) -> Result<QueryOutcome> {
        let shared = &self.shared;
        shared.metrics.queries.increment();
        let QueryCall { function: call, at, journal } = call;
        let at = match at {
            ReadMoment::At(timestamp) => timestamp,
            ReadMoment::Latest => shared.sequencer.latest(call.deployment.group).await?.published,
        };
        let mut ran = self
            .run_once(Run {
                call: &call,
                kind: FunctionKind::Query,
                at: ReadAt::published(at),
                journal,
                session: None,
                priority: Priority::First,
            })
            .await?;
        let (result, error) = match std::mem::replace(&mut ran.result, Ok("".into())) {
            Ok(result) => (Ok(result), None),
            Err(thrown) => {
                let (error, log_text) = self.explain(&thrown, &call, ran.catalog.as_deref()).await;
                (Err(error), Some(log_text))
            }
        };
        let end = RunEnd { error, ..RunEnd::default() };
        self.enter_into_log(FunctionKind::Query, &call, &ran, end);
        Ok(QueryOutcome {
            timestamp: at,
            result,
            log_lines: self.client_lines(&ran.lines, &call.identity),
            journal: ran.finished.journal.map(Into::into),
            read_set: ran.finished.read_set.into(),
            observed: ran.observed,
        })
    }
}
