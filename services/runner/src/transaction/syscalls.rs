//! What functions ask of a transaction: the operations of the function library.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use contract::{FunctionCall, Requester};
use isolate::{Answer, FunctionKind, SyscallError};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use transaction::{GetRequest, NestedLimits, PageRequest, Query, QueryId, Transaction};
use value::{ComponentId, DocumentId, FunctionHandle, FunctionPath, Patch, Value, ValueError};

use super::host::TransactionHost;
use crate::{
    calls::{Slots, Stop, Thrown, split},
    functions::{AllowedVisibility, Function},
    service::Shared,
};

/// What is left of what has no limit: the largest integer that functions have no doubt about.
const UNLIMITED: usize = (1 << 53) - 1;

/// What an operation comes to: JSON text, a failure that the function can catch, or the end of everything.
type Answered = Result<Answer, Stop>;

/// Makes `?` work on failures that the function can catch: `Ok(Err(…))` of [`Answered`].
pub(crate) enum Failure {
    Caught(SyscallError),
    Stop(Stop),
}

pub(crate) type Attempt<T = String> = Result<T, Failure>;

impl From<SyscallError> for Failure {
    fn from(error: SyscallError) -> Failure {
        Failure::Caught(error)
    }
}

impl From<transaction::Error> for Failure {
    fn from(error: transaction::Error) -> Failure {
        match split(error) {
            Ok(thrown) => Failure::Caught(thrown.into()),
            Err(stop) => Failure::Stop(stop),
        }
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Failure {
        Failure::Stop(stop)
    }
}

impl From<contract::Error> for Failure {
    fn from(error: contract::Error) -> Failure {
        Failure::Stop(error.into())
    }
}

impl From<value::ValueError> for Failure {
    fn from(error: value::ValueError) -> Failure {
        transaction::Error::from(error).into()
    }
}

pub(crate) fn answered(attempt: Attempt) -> Answered {
    match attempt {
        Ok(json) => Ok(Ok(json.into())),
        Err(Failure::Caught(error)) => Ok(Err(error)),
        Err(Failure::Stop(stop)) => Err(stop),
    }
}

pub(crate) fn caught(code: &str, message: impl std::fmt::Display) -> Failure {
    Failure::Caught(SyscallError::new(format!("{code}: {message}")))
}

pub(crate) fn parse<'a, T: Deserialize<'a>>(operation: &str, arguments: &'a str) -> Attempt<T> {
    serde_json::from_str(arguments).map_err(|error| {
        let why = match ValueError::of_json(&error) {
            fault @ ValueError::LoneSurrogate => fault.to_string(),
            _ => error.to_string(),
        };
        caught("InvalidOperationArguments", format_args!("`{operation}` can't read its arguments: {why}"))
    })
}

/// What operations of documents are given. Values stay text until they are needed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DocumentArguments<'a> {
    id: Option<String>,
    table: Option<String>,
    #[serde(default)]
    is_system: bool,
    /// `null` is one.
    #[serde(default, borrow, deserialize_with = "given")]
    value: Option<&'a RawValue>,
}

fn given<'a, D: Deserializer<'a>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NormalizeArguments {
    table: String,
    id_string: String,
}

#[derive(Deserialize)]
struct QueryStreamArguments {
    query: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QueryIdArguments {
    query_id: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageArguments {
    query: serde_json::Value,
    cursor: Option<String>,
    end_cursor: Option<String>,
    page_size: f64,
    maximum_rows_read: Option<f64>,
    maximum_bytes_read: Option<f64>,
}

#[derive(Deserialize)]
struct CountArguments {
    table: String,
}

/// How operations name a function: exactly one of these.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Address {
    name: Option<String>,
    function_handle: Option<String>,
    reference: Option<String>,
}

impl Address {
    /// The name of a function of the caller's own component, if that is how it is named.
    pub(crate) fn name(&self) -> Option<&str> {
        let is_alone = self.function_handle.is_none() && self.reference.is_none();
        self.name.as_deref().filter(|_| is_alone)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunArguments<'a> {
    udf_type: String,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
    transaction_limits: Option<NestedLimits>,
}

/// What one answer holds of a query whose documents are all read; the last document may go beyond the bytes.
const PAGE_DOCUMENTS_MAX: usize = 512;
const PAGE_BYTES_MAX: usize = 256 << 10;

impl TransactionHost {
    pub(super) async fn operation(&mut self, name: &str, arguments: &str) -> Attempt {
        let is_mutation = self.tree.function().kind == FunctionKind::Mutation;
        match name {
            "1.0/get" => self.get(parse(name, arguments)?).await,
            "1.0/queryStreamNext" => self.query_stream_next(parse(name, arguments)?).await,
            "tidemark/queryStreamPage" => self.query_stream_page(parse(name, arguments)?).await,
            "1.0/queryPage" => self.query_page(parse(name, arguments)?).await,
            "1.0/count" => {
                let CountArguments { table } = parse(name, arguments)?;
                Ok(Value::Float64(self.transaction.count(&table).await? as f64).to_json())
            }
            // The user is the app's: it passes on what its components are to know.
            "1.0/getUserIdentity" if !self.transaction.component().is_root() => Ok("null".to_owned()),
            "1.0/getUserIdentity" => {
                self.tree.observed.identity = true;
                identity_json(&self.call.identity)
            }
            "1.0/getFunctionMetadata" => {
                let name = self.tree.function().path.to_string();
                let component = self.transaction.component();
                let path =
                    self.transaction.deployment_catalog().component_path(component).unwrap_or_default();
                Ok(serde_json::json!({"name": name, "componentPath": path.as_str()}).to_string())
            }
            "1.0/getDeploymentMetadata" => {
                let deployment = self.shared.deployment(self.call.deployment)?;
                Ok(serde_json::json!({"name": deployment.name, "class": "s16"}).to_string())
            }
            "1.0/getTransactionMetrics" => Ok(self.transaction_metrics()),
            "1.0/createFunctionHandle" => {
                let target = target(&mut self.transaction, parse(name, arguments)?)?;
                handle_of(&self.shared, &mut self.transaction, target)
            }
            "1.0/auditLog" => {
                tracing::info!(function = %self.tree.function().path, body = arguments, "audit log");
                Ok("null".to_owned())
            }
            "1.0/getRequestMetadata" if is_mutation => Ok(request_json(&self.call, self.scheduled_as)),
            "1.0/insert" | "1.0/shallowMerge" | "1.0/replace" | "1.0/remove" => {
                if !is_mutation {
                    return Err(caught("ReadOnly", "a query can't change documents; only mutations can"));
                }
                self.write(name, parse(name, arguments)?).await
            }
            "1.0/schedule" | "1.0/cancel_job" if !is_mutation => {
                Err(caught("ReadOnly", "a query can't schedule functions or cancel them; only mutations can"))
            }
            "1.0/schedule" | "1.0/cancel_job" => self.schedule_operation(name, arguments).await,
            "1.0/storageGetUrl"
            | "1.0/storageGetMetadata"
            | "1.0/storageGenerateUploadUrl"
            | "1.0/storageDelete" => self.file_operation(name, arguments).await,
            _ => Err(match not_yet(name) {
                Some(feature) => caught(
                    "NotSupportedYet",
                    format_args!("{feature} ({name}) are not supported by this version of Tidemark yet"),
                ),
                None => Failure::Caught(SyscallError::new(format!("Unknown async operation: {name}"))),
            }),
        }
    }

    async fn get(&mut self, arguments: DocumentArguments<'_>) -> Attempt {
        let id = required("1.0/get", "id", arguments.id)?;
        let request =
            GetRequest { id: &id, table: arguments.table.as_deref(), is_system: arguments.is_system };
        let document = self.transaction.get(request).await?;
        Ok(document.map_or_else(|| "null".to_owned(), |document| document.json().to_owned()))
    }

    async fn write(&mut self, operation: &str, arguments: DocumentArguments<'_>) -> Attempt {
        let DocumentArguments { id, table, value, .. } = arguments;
        if operation == "1.0/insert" {
            let table = required(operation, "table", table)?;
            let value = Value::from_json_with_placeholder(required(operation, "value", value)?.get())?;
            let id = self.transaction.insert(&table, value).await?;
            return Ok(serde_json::json!({"_id": String::from(id)}).to_string());
        }
        let id = required(operation, "id", id)?;
        let table = table.as_deref();
        match operation {
            "1.0/shallowMerge" => {
                let patch = Patch::from_json(required(operation, "value", value)?.get())?;
                self.transaction.patch(&id, table, patch).await?;
            }
            "1.0/replace" => {
                let value = Value::from_json_with_placeholder(required(operation, "value", value)?.get())?;
                self.transaction.replace(&id, table, value).await?;
            }
            _ => self.transaction.delete(&id, table).await?,
        }
        Ok("null".to_owned())
    }

    async fn query_stream_next(&mut self, arguments: QueryIdArguments) -> Attempt {
        Ok(match self.transaction.next_document(QueryId(arguments.query_id)).await? {
            Some(document) => format!(r#"{{"value":{},"done":false}}"#, document.json()),
            None => r#"{"value":null,"done":true}"#.to_owned(),
        })
    }

    /// The next documents of a query, for a function that wants them all (`crates/isolate/src/platform/query.js`).
    ///
    /// It reads as the same number of `queryStreamNext` would: where other operations of the function wait, only one, so
    /// that they keep their turn; what fails after the first is left for the next.
    async fn query_stream_page(&mut self, arguments: QueryIdArguments) -> Attempt {
        let query = QueryId(arguments.query_id);
        let documents_max = if self.tree.others_wait { 1 } else { PAGE_DOCUMENTS_MAX };
        let (mut json, mut documents, mut is_done) = (String::from(r#"{"documents":["#), 0, false);
        while documents < documents_max && json.len() < PAGE_BYTES_MAX {
            match self.transaction.next_document(query).await {
                Ok(Some(document)) => {
                    if documents > 0 {
                        json.push(',');
                    }
                    json.push_str(document.json());
                    documents += 1;
                }
                Ok(None) => {
                    is_done = true;
                    break;
                }
                Err(error) if documents == 0 => return Err(error.into()),
                Err(_) => break,
            }
        }
        json.push_str(if is_done { r#"],"done":true}"# } else { r#"],"done":false}"# });
        Ok(json)
    }

    async fn query_page(&mut self, arguments: PageArguments) -> Attempt {
        let limits = self.shared.limits.transaction;
        let page = self.transaction.page(PageRequest {
            query: Query::from_serde_json(arguments.query, &limits)?,
            cursor: arguments.cursor,
            end_cursor: arguments.end_cursor,
            page_size: arguments.page_size,
            maximum_rows_read: arguments.maximum_rows_read,
            maximum_bytes_read: arguments.maximum_bytes_read,
        });
        Ok(page.await?.to_json())
    }

    fn transaction_metrics(&self) -> String {
        // The bytes of files are for actions: transactions use none, and are held to no limit of them.
        let files = ["filesWritten", "fileWriteBytes", "filesRead", "fileReadBytes"];
        let mut metrics: BTreeMap<&str, (usize, usize)> =
            files.into_iter().map(|name| (name, (0, UNLIMITED))).collect();
        metrics.extend(
            self.transaction.metrics().iter().map(|metric| (metric.name, (metric.used, metric.remaining))),
        );
        let mut json = String::from("{");
        for (name, (used, remaining)) in metrics {
            let separator = if json.len() > 1 { "," } else { "" };
            let _ = write!(json, r#"{separator}"{name}":{{"used":{used},"remaining":{remaining}}}"#);
        }
        json.push('}');
        json
    }

    pub(super) async fn run_udf(&mut self, slots: &mut Slots, arguments: &str) -> Attempt {
        let operation = "1.0/runUdf";
        let RunArguments { udf_type, args, transaction_limits } = parse(operation, arguments)?;
        let address: Address = parse(operation, arguments)?;
        let caller = self.tree.function().kind;
        let kind = match udf_type.as_str() {
            "query" | "snapshotQuery" => FunctionKind::Query,
            "mutation" => FunctionKind::Mutation,
            _ => {
                return Err(caught(
                    "InvalidFunctionCall",
                    format_args!("`{udf_type}` is no kind of function"),
                ));
            }
        };
        if caller == FunctionKind::Query && udf_type != "query" {
            return Err(caught("InvalidFunctionCall", "a query can call queries only"));
        }
        if self.tree.depth() > self.shared.limits.transaction.call_depth_max {
            return Err(caught(
                "MaximumCallDepthExceeded",
                format_args!(
                    "functions call each other more than {} levels deep",
                    self.shared.limits.transaction.call_depth_max
                ),
            ));
        }
        let target = target(&mut self.transaction, address)?;
        let arguments = format!("[{}]", args.map_or("{}", RawValue::get));
        let limits = transaction_limits.unwrap_or_default();
        let result = if udf_type == "snapshotQuery" {
            self.run_snapshot_query(slots, &target, &arguments, &limits).await?
        } else {
            self.call_nested(slots, &target, kind, &arguments, &limits).await?
        };
        match result {
            Ok(text) => Ok(text),
            Err(thrown) => {
                let catalog = self.transaction.deployment_catalog().of(target.component);
                let maps =
                    self.shared.source_maps.for_functions(&thrown.stack, catalog, &*self.shared.blobs).await;
                let stack = maps.map_err(Stop::from)?.map_stack(&thrown.stack);
                Err(Failure::Caught(thrown.to_error_of_callee(&stack)))
            }
        }
    }

    /// Runs a query on what the transaction began with: it sees none of its writes, and adds nothing to what it has
    /// read, so nothing that it sees can make the mutation conflict.
    async fn run_snapshot_query(
        &mut self,
        slots: &mut Slots,
        target: &Target,
        arguments: &str,
        limits: &NestedLimits,
    ) -> Result<Result<String, Thrown>, Failure> {
        let (deployment, at) = (self.transaction.deployment(), self.transaction.begin_at());
        let now_ns = self.tree.now_ms.saturating_mul(1_000_000);
        let mut snapshot = self.shared.begin(deployment, at, now_ns, None).await?;
        // What it reads counts, although it does not conflict.
        snapshot.count_for(&self.transaction);
        let own = std::mem::replace(&mut self.transaction, snapshot);
        let result = self.call_nested(slots, target, FunctionKind::Query, arguments, limits).await;
        let snapshot = std::mem::replace(&mut self.transaction, own);
        self.transaction.take_count(&snapshot);
        Ok(result?)
    }

    /// Answers an operation at once.
    pub(super) fn answer_sync(&mut self, name: &str, arguments: &str) -> Result<String, SyscallError> {
        let attempt = match name {
            "1.0/queryStream" => self.query_stream(name, arguments),
            "1.0/queryCleanup" => parse(name, arguments).map(|QueryIdArguments { query_id }| {
                self.transaction.close_query(QueryId(query_id)).to_string()
            }),
            "1.0/db/normalizeId" => self.normalize_id(name, arguments),
            "1.0/getSnapshotTs" => {
                self.tree.observed.time = true;
                let timestamp = self.transaction.begin_at().timestamp.as_nanoseconds();
                Ok(Value::Int64(i64::try_from(timestamp).unwrap_or(i64::MAX)).to_json())
            }
            // What bundles of older libraries ask for: a push gives no component any (`services/deploy/src/definitions.rs`).
            "1.0/componentArgument" => Ok("{}".to_owned()),
            _ => Err(Failure::Caught(SyscallError::new(format!("Unknown sync operation: {name}")))),
        };
        attempt.map_err(|failure| match failure {
            Failure::Caught(error) => error,
            Failure::Stop(stop) => {
                // The function is stopped as soon as it comes back to its host.
                self.tree.stop = Some(stop);
                SyscallError::new("the function is being stopped")
            }
        })
    }

    fn query_stream(&mut self, name: &str, arguments: &str) -> Attempt {
        let QueryStreamArguments { query } = parse(name, arguments)?;
        let query = Query::from_serde_json(query, &self.shared.limits.transaction)?;
        let QueryId(id) = self.transaction.open_query(query)?;
        Ok(format!(r#"{{"queryId":{id}}}"#))
    }

    fn normalize_id(&mut self, name: &str, arguments: &str) -> Attempt {
        let NormalizeArguments { table, id_string } = parse(name, arguments)?;
        let id = self.transaction.normalize_id(&table, &id_string)?;
        Ok(serde_json::json!({ "id": id }).to_string())
    }
}

/// A function that an operation names.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) component: ComponentId,
    pub(crate) function: FunctionPath,
    /// By a reference a component reaches what another one shows.
    pub(crate) allowed: AllowedVisibility,
}

/// How references name what is within a child of the component.
const CHILD_REFERENCE: &str = "_reference/childComponent/";

/// The function that an operation names, where functions of the transaction's component run. Whether there is such a function
/// is not looked at.
pub(crate) fn target(transaction: &mut Transaction, address: Address) -> Attempt<Target> {
    match (address.name, address.function_handle, address.reference) {
        (Some(name), None, None) => Ok(Target {
            component: transaction.component(),
            function: name.parse()?,
            allowed: AllowedVisibility::All,
        }),
        (None, Some(text), None) => {
            let FunctionHandle { component, function } = text.parse().map_err(|_| {
                caught("InvalidFunctionHandle", format_args!("`{text}` is no function's handle"))
            })?;
            transaction.check_mounted(component)?;
            Ok(Target { component, function, allowed: AllowedVisibility::All })
        }
        (None, None, Some(reference)) => {
            let invalid =
                || caught("InvalidReference", format_args!("`{reference}` names no function of a component"));
            let path = reference.strip_prefix(CHILD_REFERENCE).ok_or_else(invalid)?;
            let (child, path) = path.split_once('/').ok_or_else(invalid)?;
            let component = transaction.child_component(child)?;
            let function = FunctionPath::from_url_path(path)?;
            Ok(Target { component, function, allowed: AllowedVisibility::PublicOnly })
        }
        _ => Err(caught("InvalidFunctionCall", "a call names exactly one function")),
    }
}

/// Finds the function that an operation names.
pub(crate) fn find(
    shared: &Shared,
    transaction: &mut Transaction,
    target: &Target,
) -> Attempt<Option<Arc<Function>>> {
    let find =
        |transaction: &mut Transaction| shared.functions.find(transaction, &target.function, target.allowed);
    Ok(transaction.looking_into(target.component, find)?)
}

/// JSON text of the handle of the function that an operation names.
pub(crate) fn handle_of(shared: &Shared, transaction: &mut Transaction, target: Target) -> Attempt {
    let function = find(shared, transaction, &target)?;
    let function = function.ok_or_else(|| Failure::Caught(Thrown::no_function(&target.function).into()))?;
    let handle = FunctionHandle { component: target.component, function: function.path.clone() };
    Ok(serde_json::Value::from(handle.to_string()).to_string())
}

pub(super) fn required<T>(operation: &str, name: &str, value: Option<T>) -> Attempt<T> {
    value.ok_or_else(|| caught("InvalidOperationArguments", format_args!("`{operation}` needs `{name}`")))
}

/// The user's attributes, which are JSON texts already.
pub(crate) fn identity_json(identity: &contract::Identity) -> Attempt {
    if let contract::Identity::Unverified(error) = identity {
        return Err(caught(&error.code, &error.message));
    }
    let Some(user) = identity.user() else { return Ok("null".to_owned()) };
    let mut json = String::from("{");
    for (name, value) in &user.attributes {
        let separator = if json.len() > 1 { "," } else { "" };
        let _ = write!(json, "{separator}{}:{value}", serde_json::Value::from(name.as_str()));
    }
    json.push('}');
    Ok(json)
}

/// The request that a call is for. `job` is the document of `_scheduled_functions` that runs.
pub(crate) fn request_json(call: &FunctionCall, job: Option<DocumentId>) -> String {
    let Requester { ip, user_agent, token } = &call.requester;
    serde_json::json!({
        "ip": ip.map(|ip| ip.to_string()),
        "userAgent": user_agent.as_deref(),
        "requestId": call.request_id,
        "scheduledFunctionId": job.map(String::from),
        "authToken": token.as_ref().map(|token| &*token.0),
    })
    .to_string()
}

/// The feature that a known operation belongs to, if it is one of those that are still to come.
pub(crate) fn not_yet(operation: &str) -> Option<&'static str> {
    Some(match operation {
        "1.0/storageStore" | "1.0/storageGet" | "storage/storeBlob" | "storage/getBlob" => {
            "files whose bytes a function has"
        }
        "1.0/signJwt" => "signed tokens",
        "1.0/createServiceToken" | "1.0/getServiceUrl" => "managed services",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use contract::{Identity, UserIdentity};

    use super::*;

    #[test]
    fn an_identity_is_an_object_of_its_attributes() {
        let attributes = BTreeMap::from([
            ("subject".to_owned(), "\"bob\"".to_owned()),
            ("properties.\"x\"".to_owned(), "{\"a\":[1]}".to_owned()),
        ]);
        let json = identity_json(&Identity::User(UserIdentity { attributes })).ok().expect("there is one");
        let parsed: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        assert_eq!(parsed, serde_json::json!({"subject": "bob", "properties.\"x\"": {"a": [1]}}));
        assert_eq!(identity_json(&Identity::Anonymous).ok().as_deref(), Some("null"));
        let error = contract::Error::bad_request("InvalidAuthHeader", "no");
        match identity_json(&Identity::Unverified(Box::new(error))) {
            Err(Failure::Caught(error)) => assert_eq!(error.message, "InvalidAuthHeader: no"),
            _ => panic!("whoever asks gets the error"),
        }
    }

    #[test]
    fn null_is_a_value_and_nothing_is_none() {
        let value = |arguments| {
            let arguments: DocumentArguments<'_> =
                parse("1.0/insert", arguments).ok().expect("it can be read");
            arguments.value.map(RawValue::get)
        };
        assert_eq!(value(r#"{"table":"t","value":null}"#), Some("null"));
        assert_eq!(value(r#"{"table":"t","value":{"a":1}}"#), Some(r#"{"a":1}"#));
        assert_eq!(value(r#"{"table":"t"}"#), None);
    }

    #[test]
    fn arguments_that_no_text_can_hold_are_called_so() {
        let Err(Failure::Caught(error)) = parse::<CountArguments>("1.0/count", r#"{"table":"\ud800"}"#)
        else {
            panic!("it is refused")
        };
        assert!(error.message.contains("lone surrogate"), "{}", error.message);
    }

    #[test]
    fn operations_of_coming_features_are_told_from_unknown_ones() {
        assert_eq!(not_yet("1.0/signJwt"), Some("signed tokens"));
        assert_eq!(not_yet("1.0/getSomething"), None);
    }
}
