//! Queries.

use std::sync::Arc;

use contract::{Caller, QueryCall, QueryOutcome, ReadAt, ReadMoment, Result};
use isolate::FunctionKind;

use super::run::{Fate, Run};
use crate::{calls::Priority, service::Handle};

impl Handle {
    /// Runs a deployed query, or the one that `source` exports.
    pub(crate) async fn run_query(&self, call: QueryCall, source: Option<Arc<str>>) -> Result<QueryOutcome> {
        let shared = &self.shared;
        shared.metrics.queries.increment();
        let QueryCall { function: call, at, journal } = call;
        let timestamp = match at {
            ReadMoment::At(timestamp) => timestamp,
            ReadMoment::Latest => shared.sequencer.latest(call.deployment.group).await?.published,
        };
        let at = ReadAt::published(timestamp);
        let call = Arc::new(call);
        let run = Run::new(&call, FunctionKind::Query);
        let transaction = shared.begin(call.deployment, at, shared.now_at(at), journal).await?;
        let priority = match call.caller {
            Caller::SyncWorker => Priority::Live,
            Caller::HttpApi | Caller::HttpEndpoint | Caller::Scheduler | Caller::Cron | Caller::Action => {
                Priority::First
            }
        };
        let execution = match source {
            None => self.execute(&run, priority, transaction).await?,
            Some(source) => self.execute_inline(&run, priority, transaction, &source).await?,
        };
        let (finished, ended) = self.end(&run, execution);
        assert!(finished.writes.is_empty(), "queries write nothing");
        let (result, error) = match &ended.result {
            Ok(result) => (Ok(result.clone()), None),
            Err(thrown) => {
                let (error, log_text) = self.explain(thrown, &call, &ended.catalog).await;
                (Err(error), Some(log_text))
            }
        };
        self.enter_into_log(&run, &ended, Fate { error, ..Fate::default() });
        Ok(QueryOutcome {
            timestamp,
            result,
            log_lines: self.client_lines(&ended.lines, &call.identity),
            journal: finished.journal.map(Into::into),
            read_set: finished.read_set.into(),
            observed: ended.observed,
        })
    }
}
