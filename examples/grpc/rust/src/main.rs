//! Calls the chat's functions over gRPC: `cargo run -- AUTHOR TEXT`.

mod values;

use std::{env, time::Duration};

use anyhow::{Context as _, Result, bail};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

use values::{FunctionFailed, object, shown, text};

mod deployment {
    tonic::include_proto!("tidemark.deployment.v1");
}

use deployment::{
    FunctionCall, FunctionResult, IdempotencyKey, MutationRequest, QueryBatchRequest, SubscribeRequest,
    deployment_client::DeploymentClient, function_result, subscribe_response::Event, value::Kind,
};

const CALL_TIME_MAX: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Sends a user's token with each call.
#[derive(Clone)]
struct Token(Option<MetadataValue<Ascii>>);

impl tonic::service::Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

struct Caller {
    client: DeploymentClient<InterceptedService<Channel, Token>>,
    session: Uuid,
    requests: u32,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut words = env::args().skip(1);
    let (author, body) = (words.next().context("who writes?")?, words.next().context("what?")?);
    let mut caller = Caller::connect().await?;

    let (channel, _) = caller.mutate("channels:open", vec![("name", text("grpc"))]).await?;
    let named = text(&channel);
    let in_channel = || call("messages:authors", vec![("channel", named.clone())]);
    let subscribe = SubscribeRequest { call: Some(in_channel()), ..SubscribeRequest::default() };
    let mut responses = caller.client.subscribe(subscribe).await?.into_inner();
    let mut sent = None;
    while let Some(response) = responses.message().await? {
        // A heartbeat has no result.
        let Some(Event::Result(result)) = response.event else { continue };
        if sent.is_some_and(|moment| response.timestamp < moment) {
            continue;
        }
        let authors = shown(result)?;
        let authors = if authors.is_empty() { "nobody" } else { &authors };
        println!("channel {channel}: {authors} has written");
        if sent.is_some() {
            break;
        }
        let message = vec![("channel", named.clone()), ("author", text(&author)), ("body", text(&body))];
        let (message, moment) = caller.mutate("messages:send", message).await?;
        println!("sent {message} at {moment}");
        sent = Some(moment);
    }

    let calls = vec![call("channels:list", vec![]), in_channel()];
    let batch = caller.client.query_batch(in_time(QueryBatchRequest { calls, at_timestamp: sent })).await?;
    let lengths = batch.into_inner().results.into_iter().map(length).collect::<Result<Vec<_>>>()?;
    let [channels, writers] = lengths[..] else { bail!("{} answers to two queries", lengths.len()) };
    println!("at that moment: {channels} channels, {writers} authors");

    let empty = vec![("channel", named), ("author", text(&author)), ("body", text(""))];
    if let Err(error) = caller.mutate("messages:send", empty).await {
        let FunctionFailed { data, .. } = error.downcast()?;
        println!("refused: {:?}", data.context("it throws a ConvexError")?);
    }
    Ok(())
}

impl Caller {
    async fn connect() -> Result<Caller> {
        let url = env::var("TIDEMARK_GRPC_URL").unwrap_or_else(|_| "http://127.0.0.1:3212".to_owned());
        let token =
            env::var("TIDEMARK_TOKEN").ok().map(|token| format!("Bearer {token}").parse()).transpose()?;
        let channel = Endpoint::from_shared(url)?.connect().await?;
        let client = DeploymentClient::with_interceptor(channel, Token(token))
            .max_decoding_message_size(ANSWER_BYTES_MAX);
        Ok(Caller { client, session: Uuid::new_v4(), requests: 0 })
    }

    /// What it returned, as a text, and the moment of its commit. A mutation whose answer is lost is sent again: its key
    /// lets it take effect once.
    async fn mutate(
        &mut self,
        path: &str,
        arguments: Vec<(&str, deployment::Value)>,
    ) -> Result<(String, u64)> {
        let key = IdempotencyKey { session_id: self.session.to_string(), request_id: self.requests };
        self.requests += 1;
        let request = MutationRequest { call: Some(call(path, arguments)), idempotency_key: Some(key) };
        loop {
            match self.client.mutation(in_time(request.clone())).await {
                Ok(answer) => {
                    let answer = answer.into_inner();
                    let value = shown(answer.result.context("there is always a result")?)?;
                    return Ok((value, answer.timestamp.unwrap_or_default()));
                }
                Err(status) if matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded) => {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                Err(status) => return Err(status.into()),
            }
        }
    }
}

fn call(path: &str, arguments: Vec<(&str, deployment::Value)>) -> FunctionCall {
    FunctionCall { path: path.to_owned(), arguments: object(arguments), component: String::new() }
}

fn in_time<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_TIME_MAX);
    request
}

/// Of an array.
fn length(result: FunctionResult) -> Result<usize> {
    match result.result {
        Some(function_result::Result::Value(deployment::Value { kind: Some(Kind::ArrayValue(array)) })) => {
            Ok(array.values.len())
        }
        other => bail!("no array: {other:?}"),
    }
}
