//! Function runners over gRPC: a server over any [`Runner`], and a client which is one.

pub mod convert;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    ActionOutcome, DeploymentRef, Evaluation, EvaluationRequest, FunctionCall, FunctionKind, FunctionLogPage,
    HttpAnswer, HttpCall, MutationCall, MutationOutcome, NodeEvaluation, NodeEvaluationRequest, QueryCall,
    QueryOutcome, Result, Runner,
};
use futures::future::BoxFuture;
use prost::Message;
use proto::{
    common::v1::{Piece, Transfer},
    runner::v1::{
        self as wire, call_reply::Reply, call_request::Call, runner_client::RunnerClient, runner_server,
    },
};
use tonic::{Request, Response, Status, Streaming, transport::Channel};
use tracing::Instrument as _;

use crate::{
    calls::{Answers, Caller, Calls, Opened, opened, serve, within},
    convert::{Malformed, decoded, present},
    errors,
    limits::RpcLimits,
    traces,
    transfer::{Body, Content, Pumps, answer_of, exchange, served},
    version::{self, Checked, Line},
};

/// The gRPC service of a runner in this process.
pub struct RunnerServer {
    runner: Arc<dyn Runner>,
    limits: RpcLimits,
}

impl RunnerServer {
    /// The service, with the limits that clients have as well.
    pub fn service(
        runner: Arc<dyn Runner>,
        limits: RpcLimits,
    ) -> Checked<runner_server::RunnerServer<RunnerServer>> {
        let bytes_max = limits.message_bytes_max;
        let service = runner_server::RunnerServer::new(RunnerServer { runner, limits })
            .max_decoding_message_size(bytes_max)
            .max_encoding_message_size(bytes_max);
        version::checked(service)
    }

    fn served(&self, calls: Streaming<Piece>, limits: RpcLimits) -> Answers<Piece> {
        let runner = self.runner.clone();
        let work = move |content| answer(runner.clone(), content, limits);
        Box::pin(serve(calls, limits, work, encode))
    }
}

async fn answer(runner: Arc<dyn Runner>, content: Bytes, limits: RpcLimits) -> Result<Reply> {
    let request: wire::CallRequest = decoded(content).map_err(Malformed::request)?;
    Ok(match present(request.call, "the call").map_err(Malformed::request)? {
        Call::Query(call) => {
            let outcome = runner.query(convert::query(call).map_err(Malformed::request)?).await?;
            Reply::Query(convert::query_outcome_to_wire(outcome, &limits))
        }
        Call::InlineQuery(wire::InlineQuery { query, source }) => {
            let query = present(query, "the query").and_then(convert::query).map_err(Malformed::request)?;
            let outcome = runner.inline_query(query, source.into()).await?;
            Reply::Query(convert::query_outcome_to_wire(outcome, &limits))
        }
        Call::Mutation(call) => {
            let outcome = runner.mutation(convert::mutation(call).map_err(Malformed::request)?).await?;
            Reply::Mutation(convert::mutation_outcome_to_wire(outcome))
        }
        Call::Action(call) => {
            let outcome = runner.action(convert::function(call).map_err(Malformed::request)?).await?;
            Reply::Action(convert::action_outcome_to_wire(outcome))
        }
        Call::Kind(call) => {
            let kind = runner.kind(&convert::function(call).map_err(Malformed::request)?).await?;
            Reply::Kind(wire::KindReply { kind: kind.map(convert::kind_to_wire) })
        }
        Call::Evaluate(request) => {
            let request = convert::evaluation_request(request).map_err(Malformed::request)?;
            Reply::Evaluation(convert::evaluation_to_wire(runner.evaluate(request).await?))
        }
        Call::EvaluateNode(request) => {
            let request = convert::node_evaluation_request(request).map_err(Malformed::request)?;
            Reply::NodeEvaluation(convert::node_evaluation_to_wire(runner.evaluate_node(request).await?))
        }
        Call::FunctionLog(wire::FunctionLogRequest { deployment, cursor, wait_ms }) => {
            let deployment = crate::convert::deployment(deployment).map_err(Malformed::request)?;
            let wait = Duration::from_millis(wait_ms.min(limits.long_call_ms_max / 2));
            Reply::FunctionLog(convert::function_log_to_wire(
                runner.function_log(deployment, cursor, wait).await?,
            ))
        }
    })
}

fn encode(result: Result<Reply>) -> Bytes {
    let reply = result.unwrap_or_else(|error| Reply::Error(errors::to_wire(error)));
    wire::CallReply { reply: Some(reply) }.encode_to_vec().into()
}

async fn http_action(runner: Arc<dyn Runner>, head: Bytes, body: Body) -> Result<Content> {
    let call = decoded(head).and_then(|head| convert::http_call(head, body)).map_err(Malformed::request)?;
    let (head, body) = convert::http_answer_to_wire(runner.http_action(call).await?);
    Ok(Content { head: head.encode_to_vec().into(), body })
}

#[tonic::async_trait]
impl runner_server::Runner for RunnerServer {
    type CallStream = Answers<Piece>;
    type LongCallStream = Answers<Piece>;
    type EvaluateStream = Answers<Piece>;
    type HttpActionStream = Answers<Transfer>;

    async fn call(&self, calls: Request<Streaming<Piece>>) -> Result<Response<Self::CallStream>, Status> {
        Ok(Response::new(self.served(calls.into_inner(), self.limits.of_functions())))
    }

    async fn long_call(
        &self,
        calls: Request<Streaming<Piece>>,
    ) -> Result<Response<Self::LongCallStream>, Status> {
        Ok(Response::new(self.served(calls.into_inner(), self.limits.of_long_calls())))
    }

    async fn evaluate(
        &self,
        calls: Request<Streaming<Piece>>,
    ) -> Result<Response<Self::EvaluateStream>, Status> {
        Ok(Response::new(self.served(calls.into_inner(), self.limits.of_pushes())))
    }

    async fn http_action(
        &self,
        request: Request<Streaming<Transfer>>,
    ) -> Result<Response<Self::HttpActionStream>, Status> {
        let runner = self.runner.clone();
        let span = traces::span_of(&request);
        let handle = move |head, body| http_action(runner, head, body).instrument(span);
        Ok(Response::new(Box::pin(served(request.into_inner(), self.limits, handle))))
    }
}

/// Calls a runner over a channel. Its streams end with it.
///
/// A query whose answer is lost may be sent again, and so may a mutation of a session, which takes effect once. Of any other call the
/// error says that it must not be, since it may have taken effect.
pub struct GrpcRunner {
    client: RunnerClient<Line>,
    calls: Caller,
    long_calls: Caller,
    evaluations: Caller,
    pumps: Pumps,
    limits: RpcLimits,
}

impl GrpcRunner {
    pub fn new(channel: Channel, limits: RpcLimits) -> GrpcRunner {
        let client = RunnerClient::new(version::line(channel))
            .max_decoding_message_size(limits.message_bytes_max)
            .max_encoding_message_size(limits.message_bytes_max);
        let (of_calls, of_long_calls, of_evaluations) = (client.clone(), client.clone(), client.clone());
        let open_calls = move |calls: Calls| -> BoxFuture<'static, Opened> {
            let mut client = of_calls.clone();
            Box::pin(async move { opened(client.call(calls).await) })
        };
        let open_long_calls = move |calls: Calls| -> BoxFuture<'static, Opened> {
            let mut client = of_long_calls.clone();
            Box::pin(async move { opened(client.long_call(calls).await) })
        };
        let open_evaluations = move |calls: Calls| -> BoxFuture<'static, Opened> {
            let mut client = of_evaluations.clone();
            Box::pin(async move { opened(client.evaluate(calls).await) })
        };
        GrpcRunner {
            client,
            calls: Caller::new(Box::new(open_calls), limits.of_functions()),
            long_calls: Caller::new(Box::new(open_long_calls), limits.of_long_calls()),
            evaluations: Caller::new(Box::new(open_evaluations), limits.of_pushes()),
            pumps: Pumps::new(),
            limits,
        }
    }
}

async fn ask(caller: &Caller, call: Call) -> Result<Reply> {
    let request = wire::CallRequest { call: Some(call) };
    let answer = caller.call(request.encode_to_vec().into()).await?;
    let reply: wire::CallReply = decoded(answer).map_err(Malformed::answer)?;
    match present(reply.reply, "the answer").map_err(Malformed::answer)? {
        Reply::Error(error) => Err(errors::from_wire(error)),
        reply => Ok(reply),
    }
}

#[async_trait]
impl Runner for GrpcRunner {
    async fn query(&self, call: QueryCall) -> Result<QueryOutcome> {
        match ask(&self.calls, Call::Query(convert::query_to_wire(call))).await? {
            Reply::Query(outcome) => convert::query_outcome(outcome).map_err(Malformed::answer),
            _ => Err(errors::of_another_call()),
        }
    }

    async fn inline_query(&self, call: QueryCall, source: Arc<str>) -> Result<QueryOutcome> {
        let query = Some(convert::query_to_wire(call));
        let call = Call::InlineQuery(wire::InlineQuery { query, source: source.to_string() });
        match ask(&self.calls, call).await? {
            Reply::Query(outcome) => convert::query_outcome(outcome).map_err(Malformed::answer),
            _ => Err(errors::of_another_call()),
        }
    }

    async fn mutation(&self, call: MutationCall) -> Result<MutationOutcome> {
        let takes_effect_once = call.session.is_some();
        let reply = ask(&self.calls, Call::Mutation(convert::mutation_to_wire(call))).await;
        match reply.map_err(|error| if takes_effect_once { error } else { errors::not_again(error) })? {
            Reply::Mutation(outcome) => convert::mutation_outcome(outcome).map_err(Malformed::answer),
            _ => Err(errors::of_another_call()),
        }
    }

    async fn action(&self, call: FunctionCall) -> Result<ActionOutcome> {
        let reply = ask(&self.long_calls, Call::Action(convert::function_to_wire(call))).await;
        match reply.map_err(errors::not_again)? {
            Reply::Action(outcome) => convert::action_outcome(outcome).map_err(Malformed::answer),
            _ => Err(errors::of_another_call()),
        }
    }

    async fn http_action(&self, call: HttpCall) -> Result<HttpAnswer> {
        let (head, body) = convert::http_call_to_wire(call);
        let content = Content { head: head.encode_to_vec().into(), body };
        let mut client = self.client.clone();
        let open = move |sent| async move { client.http_action(sent).await };
        let answered = exchange(&self.pumps, &self.limits, open, content).await;
        let answered = answered.map_err(errors::not_again)?;
        let answer = within(&self.limits.of_long_calls(), answer_of(answered)).await;
        let (head, body) = answer.and_then(|answer| answer).map_err(errors::not_again)?;
        decoded(head).and_then(|head| convert::http_answer(head, body)).map_err(Malformed::answer)
    }

    async fn kind(&self, call: &FunctionCall) -> Result<Option<FunctionKind>> {
        match ask(&self.calls, Call::Kind(convert::function_to_wire(call.clone()))).await? {
            Reply::Kind(reply) => reply.kind.map(convert::kind).transpose().map_err(Malformed::answer),
            _ => Err(errors::of_another_call()),
        }
    }

    async fn evaluate(&self, request: EvaluationRequest) -> Result<Evaluation> {
        let call = Call::Evaluate(convert::evaluation_request_to_wire(request));
        match ask(&self.evaluations, call).await? {
            Reply::Evaluation(evaluation) => convert::evaluation(evaluation).map_err(Malformed::answer),
            _ => Err(errors::of_another_call()),
        }
    }

    async fn evaluate_node(&self, request: NodeEvaluationRequest) -> Result<NodeEvaluation> {
        let call = Call::EvaluateNode(convert::node_evaluation_request_to_wire(request));
        match ask(&self.evaluations, call).await? {
            Reply::NodeEvaluation(evaluation) => Ok(convert::node_evaluation(evaluation)),
            _ => Err(errors::of_another_call()),
        }
    }

    async fn function_log(
        &self,
        deployment: DeploymentRef,
        cursor: u64,
        wait: Duration,
    ) -> Result<FunctionLogPage> {
        let deployment = Some(crate::convert::deployment_to_wire(deployment));
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let call = Call::FunctionLog(wire::FunctionLogRequest { deployment, cursor, wait_ms });
        match ask(&self.long_calls, call).await? {
            Reply::FunctionLog(page) => convert::function_log(page).map_err(Malformed::answer),
            _ => Err(errors::of_another_call()),
        }
    }
}
