//! The calls themselves.

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use bytes::Bytes;
use contract::{
    Caller, DeploymentRef, FunctionError, Identity, MutationCall, QueryCall, QueryOutcome, ReadMoment,
    SessionRequest, Timestamp,
};
use futures::{Stream, StreamExt as _, future::try_join_all};
use prost::Message as _;
use proto::deployment::v1::{
    self as wire, deployment_server::Deployment, function_result::Result as FunctionResult,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;
use value::{Object, Value};

use super::{
    calls::Long,
    failure::{Failure, Result},
    subscription::Subscription,
    values,
};
use crate::{
    audit,
    authentication::{self, Sender},
    edge::{Addressed, SharedEdge},
    functions,
    metrics::OfTheApp,
};

/// A query of the system that reads one document at most, and its arguments.
const READS_LITTLE: (&str, &str) = ("_system/frontend/scheduler:upcomingJobs", r#"[{"limit":1}]"#);

/// The public service of every deployment.
pub(super) struct Service {
    edge: SharedEdge,
}

/// A call whose sender is known.
struct Called<T> {
    addressed: Addressed,
    sender: Sender,
    /// Until when the sender is who it says: milliseconds since the Unix epoch. `None` without an end.
    valid_until_ms: Option<u64>,
    message: T,
}

impl Service {
    pub(super) fn new(edge: SharedEdge) -> Service {
        Service { edge }
    }

    /// Finds out who calls.
    async fn called<T>(&self, request: Request<T>) -> std::result::Result<Called<T>, Status> {
        let addressed = request.extensions().get::<Addressed>();
        let addressed = addressed.expect("no call passes before it is addressed").clone();
        let (metadata, _, message) = request.into_parts();
        let sender = authentication::sender_until(&self.edge, &addressed.deployment, metadata.as_ref());
        match sender.await {
            Ok((sender, valid_until_ms)) => Ok(Called { addressed, sender, valid_until_ms, message }),
            Err(error) => Err(Failure::from(error).into_status(&addressed.request_id)),
        }
    }

    async fn run_query(&self, function: contract::FunctionCall, at: ReadMoment) -> Result<QueryOutcome> {
        Ok(self.edge.services.runner.query(QueryCall { function, at, journal: None }).await?)
    }

    /// Waits for room for an answer, which it keeps until the client has taken it. `threw`: a function has failed.
    async fn delivered<A: prost::Message>(
        &self,
        deployment: DeploymentRef,
        answer: A,
        threw: bool,
    ) -> Result<Response<A>> {
        let held = self.edge.answers.take(deployment, answer.encoded_len()).await;
        let mut response = Response::new(answer);
        if held.is_some() {
            response.extensions_mut().insert(Long { held: held.map(Arc::new) });
        }
        if threw {
            response.extensions_mut().insert(OfTheApp::Failure);
        }
        Ok(response)
    }

    async fn answer_query(
        &self,
        called: Called<wire::QueryRequest>,
    ) -> Result<Response<wire::QueryResponse>> {
        let deployment = called.addressed.deployment.reference;
        let at = moment(called.message.at_timestamp)?;
        let function = called.function(called.message.call.as_ref())?;
        let _place = functions::place_for(&self.edge, deployment, 1).await?;
        let outcome = self.run_query(function, at).await?;
        let threw = outcome.result.is_err();
        let answer = wire::QueryResponse {
            timestamp: outcome.timestamp.as_nanoseconds(),
            result: Some(result_of(outcome.result, outcome.log_lines)?),
        };
        self.delivered(deployment, answer, threw).await
    }

    async fn answer_batch(
        &self,
        called: Called<wire::QueryBatchRequest>,
    ) -> Result<Response<wire::QueryBatchResponse>> {
        let limits = &self.edge.limits.grpc;
        let deployment = called.addressed.deployment.reference;
        let calls = &called.message.calls;
        if calls.len() > limits.batch_queries_max {
            let message = format!("A batch may have {} queries.", limits.batch_queries_max);
            return Err(Failure::bad_request("BatchTooLarge", message));
        }
        let asked = moment(called.message.at_timestamp)?;
        let calls = calls.iter().map(|call| called.function(Some(call))).collect::<Result<Vec<_>>>()?;
        let _places = functions::place_for(&self.edge, deployment, calls.len().max(1)).await?;
        if calls.is_empty() && asked != ReadMoment::Latest {
            self.check_moment(&called, asked).await?;
        }
        let timestamp = match asked {
            ReadMoment::At(timestamp) => timestamp,
            ReadMoment::Latest => self.edge.services.sequencer.latest(deployment.group).await?.published,
        };
        let outcomes =
            try_join_all(calls.into_iter().map(|call| self.run_query(call, ReadMoment::At(timestamp))))
                .await?;
        let threw = outcomes.iter().any(|outcome| outcome.result.is_err());
        let results = outcomes.into_iter().map(|outcome| result_of(outcome.result, outcome.log_lines));
        let answer = wire::QueryBatchResponse {
            timestamp: timestamp.as_nanoseconds(),
            results: results.collect::<Result<_>>()?,
        };
        if answer.encoded_len() > limits.batch_bytes_max {
            let message = format!("The results of a batch may have {} bytes.", limits.batch_bytes_max);
            return Err(Failure::bad_request("BatchTooLarge", message));
        }
        self.delivered(deployment, answer, threw).await
    }

    /// Whether a moment can be read, as any query would find out. Errors: `NotYet`, `OutOfRetention`.
    async fn check_moment<T>(&self, called: &Called<T>, at: ReadMoment) -> Result<()> {
        let (path, arguments) = READS_LITTLE;
        let identity = Identity::Admin { key_name: "the server".to_owned(), acting_as: None };
        let function = contract::FunctionCall { identity, ..called.call_of(path, arguments.into()) };
        let read = self.run_query(function, at).await?.result;
        read.map(|_| ()).map_err(|error| contract::Error::internal(error.message).into())
    }

    async fn answer_mutation(
        &self,
        called: Called<wire::MutationRequest>,
    ) -> Result<Response<wire::MutationResponse>> {
        let deployment = called.addressed.deployment.reference;
        let session = called.message.idempotency_key.as_ref().map(session_request).transpose()?;
        let function = called.function(called.message.call.as_ref())?;
        let _place = functions::place_for(&self.edge, deployment, 1).await?;
        let call = MutationCall { function, session, not_before: Timestamp::ZERO };
        let outcome = audit::run_mutation(&self.edge, call).await?;
        let threw = outcome.result.is_err();
        let answer = wire::MutationResponse {
            timestamp: outcome.timestamp.map(Timestamp::as_nanoseconds),
            result: Some(result_of(outcome.result, outcome.log_lines)?),
        };
        self.delivered(deployment, answer, threw).await
    }

    async fn answer_action(
        &self,
        called: Called<wire::ActionRequest>,
    ) -> Result<Response<wire::ActionResponse>> {
        let deployment = called.addressed.deployment.reference;
        let function = called.function(called.message.call.as_ref())?;
        let outcome = functions::run_action(&self.edge, function).await?;
        let threw = outcome.result.is_err();
        let answer = wire::ActionResponse { result: Some(result_of(outcome.result, outcome.log_lines)?) };
        self.delivered(deployment, answer, threw).await
    }

    async fn open_subscription(&self, called: Called<wire::SubscribeRequest>) -> Result<Response<Responses>> {
        let from = called.message.from_timestamp.map(timestamp).transpose()?.unwrap_or_default();
        let function = called.function(called.message.call.as_ref())?;
        let Called { addressed, valid_until_ms, message, .. } = called;
        let (edge, gone) = (&self.edge, addressed.deployment.gone.clone());
        let subscription =
            Subscription::open(edge, gone, function, from, message.journal, valid_until_ms).await?;
        let request_id = addressed.request_id;
        let responses = subscription.into_responses();
        let responses = responses.map(move |response| response.map_err(|it| it.into_status(&request_id)));
        let mut response = Response::new(Box::pin(responses) as Responses);
        response.extensions_mut().insert(Long { held: None });
        Ok(response)
    }
}

type Responses = Pin<Box<dyn Stream<Item = std::result::Result<wire::SubscribeResponse, Status>> + Send>>;
type Answer<T> = std::result::Result<Response<T>, Status>;

#[tonic::async_trait]
impl Deployment for Service {
    type SubscribeStream = Responses;

    async fn query(&self, request: Request<wire::QueryRequest>) -> Answer<wire::QueryResponse> {
        let called = self.called(request).await?;
        let refused = called.refused();
        self.answer_query(called).await.map_err(refused)
    }

    async fn query_batch(
        &self,
        request: Request<wire::QueryBatchRequest>,
    ) -> Answer<wire::QueryBatchResponse> {
        let called = self.called(request).await?;
        let refused = called.refused();
        self.answer_batch(called).await.map_err(refused)
    }

    async fn mutation(&self, request: Request<wire::MutationRequest>) -> Answer<wire::MutationResponse> {
        let called = self.called(request).await?;
        let refused = called.refused();
        self.answer_mutation(called).await.map_err(refused)
    }

    async fn action(&self, request: Request<wire::ActionRequest>) -> Answer<wire::ActionResponse> {
        let called = self.called(request).await?;
        let refused = called.refused();
        self.answer_action(called).await.map_err(refused)
    }

    async fn subscribe(&self, request: Request<wire::SubscribeRequest>) -> Answer<Responses> {
        let called = self.called(request).await?;
        let refused = called.refused();
        self.open_subscription(called).await.map_err(refused)
    }
}

impl<T> Called<T> {
    /// How the caller learns of a failure.
    fn refused(&self) -> impl FnOnce(Failure) -> Status + use<T> {
        let request_id = self.addressed.request_id.clone();
        move |failure| failure.into_status(&request_id)
    }

    /// A call as the runners take it.
    fn function(&self, call: Option<&wire::FunctionCall>) -> Result<contract::FunctionCall> {
        let call = call.filter(|call| !call.path.is_empty()).ok_or_else(|| {
            Failure::bad_request("MissingPath", "The field `call.path` is missing: the function's name.")
        })?;
        functions::check_component(&call.component, &self.sender.identity)?;
        let function = self.call_of(&call.path, arguments_of(&call.arguments)?);
        Ok(contract::FunctionCall { component: call.component.clone(), ..function })
    }

    fn call_of(&self, path: &str, arguments: Arc<str>) -> contract::FunctionCall {
        contract::FunctionCall {
            deployment: self.addressed.deployment.reference,
            component: String::new(),
            path: path.to_owned(),
            arguments,
            identity: self.sender.identity.clone(),
            caller: Caller::HttpApi,
            requester: self.addressed.requester_with(self.sender.token.clone()),
            request_id: self.addressed.request_id.to_string(),
        }
    }
}

fn arguments_of(arguments: &BTreeMap<String, Bytes>) -> Result<Arc<str>> {
    let field = |(name, message): (&String, &Bytes)| Ok((name.clone(), values::decode(message)?));
    let object = arguments.iter().map(field).collect::<Result<Object>>()?;
    let arguments = Value::Array(vec![Value::Object(object)]);
    arguments.check()?;
    Ok(arguments.to_json().into())
}

/// What came of a function, as a message. Both are given as Convex JSON.
pub(super) fn result_of(
    result: std::result::Result<Arc<str>, FunctionError>,
    log_lines: Vec<String>,
) -> Result<wire::FunctionResult> {
    let result = match result {
        Ok(value) => FunctionResult::Value(message_of(&value)?),
        Err(FunctionError { message, data }) => {
            // Nothing, where there is none: the message of a value always has bytes.
            let data = data.map(|data| message_of(&data)).transpose()?.unwrap_or_default();
            FunctionResult::Error(wire::FunctionError { message, data })
        }
    };
    Ok(wire::FunctionResult { result: Some(result), log_lines })
}

fn message_of(json: &str) -> Result<Bytes> {
    let value = Value::from_json(json)
        .map_err(|error| contract::Error::internal(format!("a function's result is not a value: {error}")))?;
    Ok(values::encode(&value))
}

fn session_request(key: &wire::IdempotencyKey) -> Result<SessionRequest> {
    let session = Uuid::try_parse(&key.session_id).map_err(|_| {
        Failure::bad_request("InvalidIdempotencyKey", "The field `session_id` must be a UUID.")
    })?;
    Ok(SessionRequest { session: session.hyphenated().to_string(), request: key.request_id })
}

fn moment(at: Option<u64>) -> Result<ReadMoment> {
    Ok(match at {
        Some(at) => ReadMoment::At(timestamp(at)?),
        None => ReadMoment::Latest,
    })
}

fn timestamp(nanoseconds: u64) -> Result<Timestamp> {
    Timestamp::new(nanoseconds)
        .ok_or_else(|| Failure::bad_request("InvalidTimestamp", "A timestamp is at most 2^63 - 1."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T>(result: Result<T>) -> String {
        use tonic_types::StatusExt as _;
        let Err(failure) = result else { panic!("it is refused") };
        let details = failure.into_status("abc").get_error_details();
        details.error_info().expect("it has one").reason.clone()
    }

    #[test]
    fn arguments_are_checked_as_a_whole() {
        let arguments = |name: &str, value: &Value| {
            arguments_of(&BTreeMap::from([(name.to_owned(), values::encode(value))]))
        };
        let nested = |levels| (0..levels).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
        assert_eq!(
            &*arguments("a", &Value::Int64(1)).expect("legal"),
            r#"[{"a":{"$integer":"AQAAAAAAAAA="}}]"#
        );
        // The object of the arguments and the array around it count, too.
        assert!(arguments("a", &nested(62)).is_ok());
        assert_eq!(code(arguments("a", &nested(63))), "TooNestedError");
        assert_eq!(code(arguments("$a", &Value::Null)), "InvalidFieldName");
        let inner = Value::Object(Object::from_iter([("é".to_owned(), Value::Null)]));
        assert_eq!(code(arguments("a", &inner)), "InvalidFieldName");
        assert_eq!(
            code(arguments_of(&BTreeMap::from([("a".to_owned(), Bytes::new())]))),
            "InvalidValueEncoding"
        );
        let many = (0..1_025).map(|number| (format!("f{number}"), values::encode(&Value::Null)));
        assert_eq!(code(arguments_of(&many.collect())), "TooManyFieldsError");
        assert_eq!(&*arguments_of(&BTreeMap::new()).expect("legal"), "[{}]");
    }

    #[test]
    fn a_key_is_a_uuid_however_it_is_written() {
        let key = |session: &str| wire::IdempotencyKey { session_id: session.to_owned(), request_id: 7 };
        for session in ["EEB94F97-40D8-452F-A084-186FA8178E4E", "eeb94f9740d8452fa084186fa8178e4e"] {
            let request = session_request(&key(session)).expect("a UUID");
            assert_eq!(request.session, "eeb94f97-40d8-452f-a084-186fa8178e4e");
            assert_eq!(request.request, 7);
        }
        for session in ["", "7", "eeb94f97-40d8-452f-a084-186fa8178e4"] {
            assert_eq!(code(session_request(&key(session))), "InvalidIdempotencyKey");
        }
    }

    #[test]
    fn data_is_absent_unless_there_is_some() {
        let failed = |data: Option<&str>| {
            let error = FunctionError { message: "why".to_owned(), data: data.map(Into::into) };
            match result_of(Err(error), Vec::new()).expect("a message").result {
                Some(FunctionResult::Error(error)) => error.data,
                other => panic!("{other:?}"),
            }
        };
        assert!(failed(None).is_empty());
        assert_eq!(values::decode(&failed(Some("null"))).expect("legal"), Value::Null);
    }

    #[test]
    fn moments_are_those_that_clients_can_read() {
        assert_eq!(moment(None).ok(), Some(ReadMoment::Latest));
        assert_eq!(code(moment(Some(u64::MAX))), "InvalidTimestamp");
        assert!(moment(Some(i64::MAX as u64)).is_ok());
    }
}
