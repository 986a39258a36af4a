//! Pushes over gRPC: a server over any [`Deploy`], and a client which is one.

mod convert;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    Deploy, DeployedCode, DeploymentRef, FinishPush, Push, PushDifference, Result, SchemaDifference,
    SchemaEvaluation, SchemaId, SchemaProgress, StartedPush, VariableChange,
};
use futures::future::BoxFuture;
use prost::Message;
use proto::{
    common::v1::{Nothing, Piece},
    deploy::v1::{
        self as wire, deploy_client::DeployClient, deploy_reply::Reply, deploy_request::Call, deploy_server,
    },
};
use tonic::{Request, Response, Status, Streaming, transport::Channel};

use crate::{
    calls::{Answers, Caller, Calls, Opened, opened, serve},
    convert::{Malformed, decoded, deployment, deployment_to_wire, present},
    errors,
    limits::RpcLimits,
    version::{self, Checked},
};

/// The gRPC service of the deploy service in this process.
pub struct DeployServer {
    deploy: Arc<dyn Deploy>,
    limits: RpcLimits,
}

impl DeployServer {
    /// The service, with the limits that clients have as well.
    pub fn service(
        deploy: Arc<dyn Deploy>,
        limits: RpcLimits,
    ) -> Checked<deploy_server::DeployServer<DeployServer>> {
        let bytes_max = limits.message_bytes_max;
        let service = deploy_server::DeployServer::new(DeployServer { deploy, limits })
            .max_decoding_message_size(bytes_max)
            .max_encoding_message_size(bytes_max);
        version::checked(service)
    }

    fn served(&self, calls: Streaming<Piece>, limits: RpcLimits) -> Answers {
        let deploy = self.deploy.clone();
        let work = move |content| answer(deploy.clone(), content, limits);
        Box::pin(serve(calls, limits, work, |result| {
            let reply = result.unwrap_or_else(|error| Reply::Error(errors::to_wire(error)));
            wire::DeployReply { reply: Some(reply) }.encode_to_vec().into()
        }))
    }
}

async fn answer(deploy: Arc<dyn Deploy>, content: Bytes, limits: RpcLimits) -> Result<Reply> {
    let request: wire::DeployRequest = decoded(content).map_err(Malformed::request)?;
    let of = deployment(request.deployment).map_err(Malformed::request)?;
    let push = |push| convert::push(push).map_err(Malformed::request);
    Ok(match present(request.call, "the call").map_err(Malformed::request)? {
        Call::DeployedCode(_) => {
            Reply::DeployedCode(convert::deployed_code_to_wire(deploy.deployed_code(of).await?))
        }
        Call::AuthProviders(_) => Reply::AuthProviders(deploy.auth_providers(of).await?.to_string()),
        Call::EnvironmentVariables(_) => {
            let variables = deploy.environment_variables(of).await?;
            Reply::EnvironmentVariables(wire::EnvironmentVariables { variables })
        }
        Call::UpdateEnvironmentVariables(changes) => {
            let changes = changes.changes.into_iter().map(convert::variable_change).collect();
            deploy.update_environment_variables(of, changes).await?;
            Reply::EnvironmentVariablesUpdated(Nothing {})
        }
        Call::EvaluatePush(code) => {
            let difference = deploy.evaluate_push(of, push(code)?).await?;
            Reply::PushEvaluated(convert::schema_difference_to_wire(difference))
        }
        Call::EvaluateSchema(code) => {
            let evaluation = deploy.evaluate_schema(of, push(code)?).await?;
            Reply::SchemaEvaluated(convert::schema_evaluation_to_wire(evaluation))
        }
        Call::StartPush(code) => {
            Reply::PushStarted(convert::started_push_to_wire(deploy.start_push(of, push(code)?).await?))
        }
        Call::WaitForSchema(wire::WaitForSchema { schemas, wait_ms }) => {
            let wait = Duration::from_millis(wait_ms.min(limits.push_ms_max / 2));
            let progress = deploy.wait_for_schema(of, convert::schema_ids(schemas), wait).await?;
            Reply::SchemaProgress(convert::schema_progress_to_wire(progress))
        }
        Call::FinishPush(finish) => {
            let difference = deploy.finish_push(of, convert::finish_push(finish)).await?;
            Reply::PushFinished(convert::push_difference_to_wire(difference))
        }
        Call::DeleteComponent(path) => {
            deploy.delete_component(of, &path).await?;
            Reply::ComponentDeleted(Nothing {})
        }
    })
}

#[tonic::async_trait]
impl deploy_server::Deploy for DeployServer {
    type CallStream = Answers;
    type PushStream = Answers;

    async fn call(&self, calls: Request<Streaming<Piece>>) -> Result<Response<Self::CallStream>, Status> {
        Ok(Response::new(self.served(calls.into_inner(), self.limits)))
    }

    async fn push(&self, calls: Request<Streaming<Piece>>) -> Result<Response<Self::PushStream>, Status> {
        Ok(Response::new(self.served(calls.into_inner(), self.limits.of_pushes())))
    }
}

/// Calls the deploy service over a channel. Its streams end with it.
pub struct GrpcDeploy {
    calls: Caller,
    pushes: Caller,
}

impl GrpcDeploy {
    pub fn new(channel: Channel, limits: RpcLimits) -> GrpcDeploy {
        let client = DeployClient::new(version::line(channel))
            .max_decoding_message_size(limits.message_bytes_max)
            .max_encoding_message_size(limits.message_bytes_max);
        let of_pushes = client.clone();
        let open_calls = move |calls: Calls| -> BoxFuture<'static, Opened> {
            let mut client = client.clone();
            Box::pin(async move { opened(client.call(calls).await) })
        };
        let open_pushes = move |calls: Calls| -> BoxFuture<'static, Opened> {
            let mut client = of_pushes.clone();
            Box::pin(async move { opened(client.push(calls).await) })
        };
        GrpcDeploy {
            calls: Caller::new(Box::new(open_calls), limits),
            pushes: Caller::new(Box::new(open_pushes), limits.of_pushes()),
        }
    }
}

async fn ask(caller: &Caller, of: DeploymentRef, call: Call) -> Result<Reply> {
    let request = wire::DeployRequest { deployment: Some(deployment_to_wire(of)), call: Some(call) };
    let answer = caller.call(request.encode_to_vec().into()).await?;
    let reply: wire::DeployReply = decoded(answer).map_err(Malformed::answer)?;
    match present(reply.reply, "the answer").map_err(Malformed::answer)? {
        Reply::Error(error) => Err(errors::from_wire(error)),
        reply => Ok(reply),
    }
}

#[async_trait]
impl Deploy for GrpcDeploy {
    async fn deployed_code(&self, deployment: DeploymentRef) -> Result<DeployedCode> {
        match ask(&self.pushes, deployment, Call::DeployedCode(Nothing {})).await? {
            Reply::DeployedCode(code) => Ok(convert::deployed_code(code)),
            _ => Err(errors::of_another_call()),
        }
    }

    async fn auth_providers(&self, deployment: DeploymentRef) -> Result<Arc<str>> {
        match ask(&self.calls, deployment, Call::AuthProviders(Nothing {})).await? {
            Reply::AuthProviders(providers) => Ok(providers.into()),
            _ => Err(errors::of_another_call()),
        }
    }

    async fn environment_variables(&self, deployment: DeploymentRef) -> Result<BTreeMap<String, String>> {
        match ask(&self.calls, deployment, Call::EnvironmentVariables(Nothing {})).await? {
            Reply::EnvironmentVariables(reply) => Ok(reply.variables),
            _ => Err(errors::of_another_call()),
        }
    }

    async fn update_environment_variables(
        &self,
        deployment: DeploymentRef,
        changes: Vec<VariableChange>,
    ) -> Result<()> {
        let changes = changes.into_iter().map(convert::variable_change_to_wire).collect();
        let call = Call::UpdateEnvironmentVariables(wire::VariableChanges { changes });
        // What is deployed is evaluated anew.
        match ask(&self.pushes, deployment, call).await.map_err(errors::not_again)? {
            Reply::EnvironmentVariablesUpdated(_) => Ok(()),
            _ => Err(errors::of_another_call()),
        }
    }

    async fn evaluate_push(&self, deployment: DeploymentRef, push: Push) -> Result<SchemaDifference> {
        match ask(&self.pushes, deployment, Call::EvaluatePush(convert::push_to_wire(push))).await? {
            Reply::PushEvaluated(difference) => {
                convert::schema_difference(difference).map_err(Malformed::answer)
            }
            _ => Err(errors::of_another_call()),
        }
    }

    async fn evaluate_schema(&self, deployment: DeploymentRef, push: Push) -> Result<SchemaEvaluation> {
        match ask(&self.pushes, deployment, Call::EvaluateSchema(convert::push_to_wire(push))).await? {
            Reply::SchemaEvaluated(evaluation) => {
                convert::schema_evaluation(evaluation).map_err(Malformed::answer)
            }
            _ => Err(errors::of_another_call()),
        }
    }

    async fn start_push(&self, deployment: DeploymentRef, push: Push) -> Result<StartedPush> {
        match ask(&self.pushes, deployment, Call::StartPush(convert::push_to_wire(push))).await? {
            Reply::PushStarted(started) => convert::started_push(started).map_err(Malformed::answer),
            _ => Err(errors::of_another_call()),
        }
    }

    async fn wait_for_schema(
        &self,
        deployment: DeploymentRef,
        schemas: BTreeMap<String, SchemaId>,
        wait: Duration,
    ) -> Result<SchemaProgress> {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let schemas = convert::schema_ids_to_wire(schemas);
        let call = Call::WaitForSchema(wire::WaitForSchema { schemas, wait_ms });
        match ask(&self.pushes, deployment, call).await? {
            Reply::SchemaProgress(progress) => convert::schema_progress(progress).map_err(Malformed::answer),
            _ => Err(errors::of_another_call()),
        }
    }

    async fn finish_push(&self, deployment: DeploymentRef, finish: FinishPush) -> Result<PushDifference> {
        // Finishing the same push again changes nothing.
        match ask(&self.pushes, deployment, Call::FinishPush(convert::finish_push_to_wire(finish))).await? {
            Reply::PushFinished(difference) => {
                convert::push_difference(difference).map_err(Malformed::answer)
            }
            _ => Err(errors::of_another_call()),
        }
    }

    async fn delete_component(&self, deployment: DeploymentRef, path: &str) -> Result<()> {
        let call = Call::DeleteComponent(path.to_owned());
        match ask(&self.pushes, deployment, call).await.map_err(errors::not_again)? {
            Reply::ComponentDeleted(_) => Ok(()),
            _ => Err(errors::of_another_call()),
        }
    }
}
