//! The contract's suites against the runner in this process, and against the same runner over gRPC on loopback.

use std::sync::Arc;

use conformance::{DueRunnerSubject, RunnerSubject};
use contract::{DueRunner, Runner};
use rpc::{DueRunnerServer, GrpcDueRunner, GrpcRunner, RpcLimits, RunnerServer};
use serde_json::json;
use tokio::task::JoinSet;
use transaction::DueRow;

use crate::{
    harness::{DEPLOYMENT, Harness},
    loopback::channel_to,
};

const LIMITS: RpcLimits = RpcLimits::DEFAULT;

/// Schedules a mutation; the id of its entry.
async fn schedule(harness: Arc<Harness>) -> String {
    harness.result_of("schedules:later", json!({"args": {"body": "x"}})).await;
    let (mut transaction, _) = harness.transaction().await;
    let rows = transaction.rows::<DueRow>("by_due", &[]).await.expect("they can be read");
    rows[0].id.into()
}

fn runner_subject(runner: Arc<dyn Runner>, harness: Harness, servers: JoinSet<()>) -> RunnerSubject {
    let kept = Box::new((servers, harness.ends(), harness));
    RunnerSubject { runner, deployment: DEPLOYMENT, kept }
}

fn due_subject(runner: Arc<dyn DueRunner>, harness: Harness, servers: JoinSet<()>) -> DueRunnerSubject {
    let (ends, harness) = (harness.ends(), Arc::new(harness));
    let scheduling = harness.clone();
    let schedule = Box::new(move || Box::pin(schedule(scheduling.clone())) as _);
    DueRunnerSubject { runner, deployment: DEPLOYMENT, schedule, kept: Box::new((servers, ends, harness)) }
}

mod direct {
    use super::*;

    async fn runner() -> RunnerSubject {
        let harness = Harness::start().await;
        runner_subject(Arc::new(harness.runner.clone()), harness, JoinSet::new())
    }

    async fn due_runner() -> DueRunnerSubject {
        let harness = Harness::start().await;
        due_subject(Arc::new(harness.runner.clone()), harness, JoinSet::new())
    }

    conformance::runner!(runner);
    conformance::due_runner!(due_runner);
}

mod over_grpc {
    use super::*;

    async fn runner() -> RunnerSubject {
        let harness = Harness::start().await;
        let mut servers = JoinSet::new();
        let service = RunnerServer::service(Arc::new(harness.runner.clone()), LIMITS);
        let channel = channel_to(rpc::server(&LIMITS).add_service(service), &LIMITS, &mut servers).await;
        runner_subject(Arc::new(GrpcRunner::new(channel, LIMITS)), harness, servers)
    }

    async fn due_runner() -> DueRunnerSubject {
        let harness = Harness::start().await;
        let mut servers = JoinSet::new();
        let service = DueRunnerServer::service(Arc::new(harness.runner.clone()), LIMITS);
        let channel = channel_to(rpc::server(&LIMITS).add_service(service), &LIMITS, &mut servers).await;
        due_subject(Arc::new(GrpcDueRunner::new(channel, LIMITS)), harness, servers)
    }

    conformance::runner!(runner);
    conformance::due_runner!(due_runner);
}
