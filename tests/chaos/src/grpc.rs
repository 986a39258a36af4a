//! Calls over the public gRPC API.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value as Json, json};
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use crate::world::Place;

pub mod deployment {
    tonic::include_proto!("tidemark.deployment.v1");
}

use deployment::{
    FunctionCall, FunctionResult, Object, Value, deployment_client::DeploymentClient, function_result,
    value::Kind,
};

const CONNECT_TIME_MAX: Duration = Duration::from_secs(1);
const ALIVE: Duration = Duration::from_secs(2);
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Connections to nodes, made when they are needed.
#[derive(Default)]
pub struct Connections {
    channels: HashMap<u64, Channel>,
}

impl Connections {
    pub fn client(&mut self, place: Place) -> DeploymentClient<Channel> {
        let channel = self.channels.entry(place.node).or_insert_with(|| {
            Endpoint::from_shared(place.grpc())
                .expect("an address and a port")
                .connect_timeout(CONNECT_TIME_MAX)
                .http2_keep_alive_interval(ALIVE)
                .keep_alive_timeout(ALIVE)
                .keep_alive_while_idle(true)
                .connect_lazy()
        });
        DeploymentClient::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// The next call connects anew.
    pub fn forget(&mut self, place: Place) {
        self.channels.remove(&place.node);
    }
}

pub fn call(path: &str, args: Json) -> Option<FunctionCall> {
    let Json::Object(fields) = args else { panic!("arguments are an object") };
    let arguments = fields.into_iter().map(|(name, json)| (name, value(json))).collect();
    Some(FunctionCall { path: path.to_owned(), arguments, component: String::new() })
}

pub fn in_time<T>(message: T, time_max: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(time_max);
    request
}

/// Whether the server says that the call had no effect.
pub fn is_without_effect(status: &Status) -> bool {
    status.get_details_retry_info().is_some()
}

/// Whether the same request may be answered when it is sent again.
pub fn is_temporary(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
            | Code::Aborted
            | Code::ResourceExhausted
    )
}

/// What a function returned, or `Err` with what it threw.
pub fn returned(result: Option<FunctionResult>) -> Result<Result<Json, String>> {
    match result.and_then(|result| result.result).context("an answer without a result")? {
        function_result::Result::Value(value) => Ok(Ok(json_of(value)?)),
        function_result::Result::Error(error) => Ok(Err(error.message)),
    }
}

fn value(json: Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(deployment::Null {}),
        Json::Bool(boolean) => Kind::BooleanValue(boolean),
        Json::Number(number) => Kind::Float64Value(number.as_f64().expect("a number")),
        Json::String(text) => Kind::StringValue(text),
        Json::Array(values) => {
            Kind::ArrayValue(deployment::Array { values: values.into_iter().map(value).collect() })
        }
        Json::Object(fields) => Kind::ObjectValue(Object {
            fields: fields.into_iter().map(|(name, json)| (name, value(json))).collect(),
        }),
    };
    Value { kind: Some(kind) }
}

fn json_of(value: Value) -> Result<Json> {
    Ok(match value.kind.context("a value without a kind")? {
        Kind::NullValue(_) => Json::Null,
        Kind::BooleanValue(boolean) => json!(boolean),
        Kind::Float64Value(number) => json!(number),
        Kind::StringValue(text) => json!(text),
        Kind::ArrayValue(array) => Json::Array(array.values.into_iter().map(json_of).collect::<Result<_>>()?),
        Kind::ObjectValue(object) => Json::Object(
            object
                .fields
                .into_iter()
                .map(|(name, value)| Ok((name, json_of(value)?)))
                .collect::<Result<_>>()?,
        ),
        other => bail!("a value that the app has none of: {other:?}"),
    })
}
