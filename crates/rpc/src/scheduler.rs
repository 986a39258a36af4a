//! The scheduler over gRPC, and what it asks of function runners: servers over any [`Schedules`] and any [`DueRunner`], and clients
//! which are one.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use contract::{DueCall, DueOutcome, DueRunner, JobsOf, Result, Schedules};
use futures::future::BoxFuture;
use prost::Message;
use proto::{
    common::v1::{Nothing, Piece},
    scheduler::v1::{
        self as wire, due_reply, due_runner_client::DueRunnerClient, due_runner_server,
        schedules_client::SchedulesClient, schedules_reply, schedules_request::Call, schedules_server,
    },
};
use tonic::{Request, Response, Status, Streaming, transport::Channel};

use crate::{
    calls::{Answers, Caller, Opened, opened, serve},
    convert::{self, Decoded, Malformed, decoded, present},
    errors,
    limits::RpcLimits,
    version::{self, Checked},
};

/// The gRPC service of a scheduler in this process.
pub struct SchedulesServer {
    schedules: Arc<dyn Schedules>,
    limits: RpcLimits,
}

impl SchedulesServer {
    /// The service, with the limits that clients have as well.
    pub fn service(
        schedules: Arc<dyn Schedules>,
        limits: RpcLimits,
    ) -> Checked<schedules_server::SchedulesServer<SchedulesServer>> {
        let bytes_max = limits.message_bytes_max;
        let service = schedules_server::SchedulesServer::new(SchedulesServer { schedules, limits })
            .max_decoding_message_size(bytes_max)
            .max_encoding_message_size(bytes_max);
        version::checked(service)
    }
}

fn jobs_to_wire(jobs: JobsOf) -> wire::JobsOf {
    wire::JobsOf { deployment: Some(convert::deployment_to_wire(jobs.deployment)), component: jobs.component }
}

fn jobs(jobs: Option<wire::JobsOf>) -> Decoded<JobsOf> {
    let jobs = present(jobs, "whose jobs")?;
    Ok(JobsOf { deployment: convert::deployment(jobs.deployment)?, component: jobs.component })
}

async fn change(schedules: Arc<dyn Schedules>, content: Bytes) -> Result<schedules_reply::Reply> {
    let request: wire::SchedulesRequest = decoded(content).map_err(Malformed::request)?;
    let jobs = jobs(request.jobs).map_err(Malformed::request)?;
    Ok(match present(request.call, "the call").map_err(Malformed::request)? {
        Call::Cancel(id) => {
            schedules.cancel(jobs, &id).await?;
            schedules_reply::Reply::Cancelled(Nothing {})
        }
        Call::CancelAll(wire::CancelAll { function }) => {
            let count = schedules.cancel_all(jobs, function.as_deref()).await?;
            schedules_reply::Reply::AllCancelled(count)
        }
    })
}

#[tonic::async_trait]
impl schedules_server::Schedules for SchedulesServer {
    type CallStream = Answers;

    async fn call(&self, calls: Request<Streaming<Piece>>) -> Result<Response<Self::CallStream>, Status> {
        let schedules = self.schedules.clone();
        let work = move |content| change(schedules.clone(), content);
        let answers = serve(calls.into_inner(), self.limits.of_pushes(), work, |result| {
            let failed = |error| schedules_reply::Reply::Error(errors::to_wire(error));
            wire::SchedulesReply { reply: Some(result.unwrap_or_else(failed)) }.encode_to_vec().into()
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// Calls a scheduler over a channel. Its stream ends with it.
pub struct GrpcSchedules {
    calls: Caller,
}

impl GrpcSchedules {
    pub fn new(channel: Channel, limits: RpcLimits) -> GrpcSchedules {
        let client = SchedulesClient::new(version::line(channel))
            .max_decoding_message_size(limits.message_bytes_max)
            .max_encoding_message_size(limits.message_bytes_max);
        let open = move |calls| -> BoxFuture<'static, Opened> {
            let mut client = client.clone();
            Box::pin(async move { opened(client.call(calls).await) })
        };
        // To cancel all jobs takes one commit after another.
        GrpcSchedules { calls: Caller::new(Box::new(open), limits.of_pushes()) }
    }

    async fn ask(&self, jobs: JobsOf, call: Call) -> Result<schedules_reply::Reply> {
        let request = wire::SchedulesRequest { jobs: Some(jobs_to_wire(jobs)), call: Some(call) };
        let answer = self.calls.call(request.encode_to_vec().into()).await?;
        let reply: wire::SchedulesReply = decoded(answer).map_err(Malformed::answer)?;
        match present(reply.reply, "the answer").map_err(Malformed::answer)? {
            schedules_reply::Reply::Error(error) => Err(errors::from_wire(error)),
            reply => Ok(reply),
        }
    }
}

#[async_trait]
impl Schedules for GrpcSchedules {
    async fn cancel(&self, jobs: JobsOf, id: &str) -> Result<()> {
        match self.ask(jobs, Call::Cancel(id.to_owned())).await? {
            schedules_reply::Reply::Cancelled(_) => Ok(()),
            _ => Err(errors::of_another_call()),
        }
    }

    async fn cancel_all(&self, jobs: JobsOf, function: Option<&str>) -> Result<u64> {
        let call = Call::CancelAll(wire::CancelAll { function: function.map(str::to_owned) });
        match self.ask(jobs, call).await? {
            schedules_reply::Reply::AllCancelled(count) => Ok(count),
            _ => Err(errors::of_another_call()),
        }
    }
}

/// The gRPC service of what the runner of this process does for schedulers.
pub struct DueRunnerServer {
    runner: Arc<dyn DueRunner>,
    limits: RpcLimits,
}

impl DueRunnerServer {
    /// The service, with the limits that clients have as well.
    pub fn service(
        runner: Arc<dyn DueRunner>,
        limits: RpcLimits,
    ) -> Checked<due_runner_server::DueRunnerServer<DueRunnerServer>> {
        let bytes_max = limits.message_bytes_max;
        let service = due_runner_server::DueRunnerServer::new(DueRunnerServer { runner, limits })
            .max_decoding_message_size(bytes_max)
            .max_encoding_message_size(bytes_max);
        version::checked(service)
    }
}

fn due_call(call: wire::DueCall) -> Decoded<DueCall> {
    Ok(DueCall {
        deployment: convert::deployment(call.deployment)?,
        entry: call.entry,
        not_before: convert::timestamp(call.not_before)?,
        request_id: call.request_id,
    })
}

async fn run_due(runner: Arc<dyn DueRunner>, content: Bytes) -> Result<due_reply::Reply> {
    let call = decoded(content).and_then(due_call).map_err(Malformed::request)?;
    let outcome = match runner.run_due(call).await? {
        DueOutcome::Ran => wire::DueOutcome::Ran,
        DueOutcome::Begun => wire::DueOutcome::Begun,
        DueOutcome::Gone => wire::DueOutcome::Gone,
    };
    Ok(due_reply::Reply::Outcome(outcome.into()))
}

#[tonic::async_trait]
impl due_runner_server::DueRunner for DueRunnerServer {
    type RunDueStream = Answers;

    async fn run_due(
        &self,
        calls: Request<Streaming<Piece>>,
    ) -> Result<Response<Self::RunDueStream>, Status> {
        let runner = self.runner.clone();
        let work = move |content| run_due(runner.clone(), content);
        let answers = serve(calls.into_inner(), self.limits.of_functions(), work, |result| {
            let failed = |error| due_reply::Reply::Error(errors::to_wire(error));
            wire::DueReply { reply: Some(result.unwrap_or_else(failed)) }.encode_to_vec().into()
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// Has what is due run over a channel. Its stream ends with it.
pub struct GrpcDueRunner {
    calls: Caller,
}

impl GrpcDueRunner {
    pub fn new(channel: Channel, limits: RpcLimits) -> GrpcDueRunner {
        let client = DueRunnerClient::new(version::line(channel))
            .max_decoding_message_size(limits.message_bytes_max)
            .max_encoding_message_size(limits.message_bytes_max);
        let open = move |calls| -> BoxFuture<'static, Opened> {
            let mut client = client.clone();
            Box::pin(async move { opened(client.run_due(calls).await) })
        };
        GrpcDueRunner { calls: Caller::new(Box::new(open), limits.of_functions()) }
    }
}

#[async_trait]
impl DueRunner for GrpcDueRunner {
    async fn run_due(&self, call: DueCall) -> Result<DueOutcome> {
        let call = wire::DueCall {
            deployment: Some(convert::deployment_to_wire(call.deployment)),
            entry: call.entry,
            not_before: call.not_before.as_nanoseconds(),
            request_id: call.request_id,
        };
        let answer = self.calls.call(call.encode_to_vec().into()).await?;
        let reply: wire::DueReply = decoded(answer).map_err(Malformed::answer)?;
        match present(reply.reply, "the answer").map_err(Malformed::answer)? {
            due_reply::Reply::Error(error) => Err(errors::from_wire(error)),
            due_reply::Reply::Outcome(outcome) => match wire::DueOutcome::try_from(outcome) {
                Ok(wire::DueOutcome::Ran) => Ok(DueOutcome::Ran),
                Ok(wire::DueOutcome::Begun) => Ok(DueOutcome::Begun),
                Ok(wire::DueOutcome::Gone) => Ok(DueOutcome::Gone),
                Ok(wire::DueOutcome::Unspecified) | Err(_) => {
                    Err(errors::answer_not_understood("what came of it is not known"))
                }
            },
        }
    }
}
