//! A runner for tests of live queries, which ask for nothing but queries.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use contract::{
    ActionOutcome, DeploymentRef, Error, Evaluation, EvaluationRequest, FunctionCall, FunctionKind,
    FunctionLogPage, HttpAnswer, HttpCall, MutationCall, MutationOutcome, NodeEvaluation,
    NodeEvaluationRequest, Observed, QueryCall, QueryOutcome, ReadMoment, ReadSet, Result, Runner, Timestamp,
};

/// What answers queries, each at an exact moment.
#[async_trait]
pub trait Queries: Send + Sync {
    async fn run(&self, call: QueryCall, at: Timestamp) -> Result<QueryOutcome>;
}

/// Queries are answered, all else is refused.
pub struct OnlyQueries<Q>(pub Arc<Q>);

/// A query that ran well and logged nothing.
pub fn answered(at: Timestamp, value: String, read_set: ReadSet) -> QueryOutcome {
    QueryOutcome {
        timestamp: at,
        result: Ok(value.into()),
        log_lines: Vec::new(),
        journal: None,
        read_set: Arc::new(read_set),
        observed: Observed::default(),
    }
}

#[async_trait]
impl<Q: Queries + 'static> Runner for OnlyQueries<Q> {
    async fn query(&self, call: QueryCall) -> Result<QueryOutcome> {
        let ReadMoment::At(at) = call.at else { panic!("a live query runs at an exact moment") };
        self.0.run(call, at).await
    }

    async fn mutation(&self, _: MutationCall) -> Result<MutationOutcome> {
        Err(Error::internal("live queries run no mutation"))
    }

    async fn action(&self, _: FunctionCall) -> Result<ActionOutcome> {
        Err(Error::internal("live queries run no action"))
    }

    async fn http_action(&self, _: HttpCall) -> Result<HttpAnswer> {
        Err(Error::internal("live queries answer no request"))
    }

    async fn kind(&self, _: &FunctionCall) -> Result<Option<FunctionKind>> {
        Err(Error::internal("live queries ask for no kind"))
    }

    async fn inline_query(&self, _: QueryCall, _: Arc<str>) -> Result<QueryOutcome> {
        unreachable!("sessions ask for deployed queries")
    }

    async fn evaluate(&self, _: EvaluationRequest) -> Result<Evaluation> {
        Err(Error::internal("live queries evaluate nothing"))
    }

    async fn evaluate_node(&self, _: NodeEvaluationRequest) -> Result<NodeEvaluation> {
        Err(Error::internal("live queries evaluate nothing"))
    }

    async fn function_log(&self, _: DeploymentRef, _: u64, _: Duration) -> Result<FunctionLogPage> {
        Err(Error::internal("live queries read no log"))
    }
}
