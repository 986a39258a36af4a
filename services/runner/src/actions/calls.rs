//! Functions that an action calls, and what it asks about itself.

use std::sync::Arc;

use contract::{Caller, FunctionCall, FunctionError, MutationCall, QueryCall, ReadMoment, Timestamp};
use isolate::{AsyncOperation, FunctionKind, SyscallError};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio::sync::Semaphore;
use transaction::Transaction;
use value::{ComponentId, FunctionPath};

use super::run::Descent;
use crate::{
    calls::Thrown,
    functions::Function,
    service::Handle,
    transaction::{
        Address, Attempt, Failure, Target, caught, find, handle_of, identity_json, not_yet, parse,
        request_json, target,
    },
};

/// An action, as far as others are called in its name.
pub(super) struct Calls {
    pub(super) handle: Handle,
    pub(super) call: Arc<FunctionCall>,
    function: Arc<Function>,
    pub(super) component: ComponentId,
    pub(super) descent: Descent,
    /// One for each call, or file, that may be under way.
    pub(super) permits: Arc<Semaphore>,
}

#[derive(Deserialize)]
struct CallArguments<'a> {
    #[serde(borrow)]
    args: Option<&'a RawValue>,
}

impl Calls {
    pub(super) fn new(
        handle: Handle,
        call: Arc<FunctionCall>,
        function: Arc<Function>,
        component: ComponentId,
        descent: Descent,
    ) -> Calls {
        let permits = Arc::new(Semaphore::new(handle.actions.limits.calls_in_flight_max));
        Calls { handle, call, function, component, descent, permits }
    }

    /// What the isolate of the action may take of memory.
    pub(super) fn heap_bytes_max(&self) -> u64 {
        self.handle.shared.options.limits.function.heap_bytes_max as u64
    }

    pub(super) async fn answer(&self, operation: &AsyncOperation) -> Attempt {
        let AsyncOperation { name, arguments, .. } = operation;
        match name.as_str() {
            "1.0/actions/query" => self.call(FunctionKind::Query, name, arguments).await,
            "1.0/actions/mutation" => self.call(FunctionKind::Mutation, name, arguments).await,
            "1.0/actions/action" => self.call(FunctionKind::Action, name, arguments).await,
            // The user is the app's: it passes on what its components are to know.
            "1.0/getUserIdentity" if !self.component.is_root() => Ok("null".to_owned()),
            "1.0/getUserIdentity" => identity_json(&self.call.identity),
            "1.0/getFunctionMetadata" => {
                let name = self.function.path.to_string();
                Ok(json!({"name": name, "componentPath": self.call.component}).to_string())
            }
            "1.0/getDeploymentMetadata" => {
                let deployment = self.handle.shared.deployment(self.call.deployment)?;
                Ok(json!({"name": deployment.name, "class": "s16"}).to_string())
            }
            "1.0/getRequestMetadata" => Ok(request_json(&self.call, self.descent.job)),
            "1.0/actions/vectorSearch" => self.vector_search(name, arguments).await,
            "1.0/createFunctionHandle" => {
                let (mut transaction, target) = self.look_up(parse(name, arguments)?).await?;
                handle_of(&self.handle.shared, &mut transaction, target)
            }
            "1.0/actions/schedule"
            | "1.0/actions/cancel_job"
            | "1.0/storageDelete"
            | "1.0/storageGenerateUploadUrl"
            | "1.0/storageGetMetadata"
            | "1.0/storageGetUrl" => self.alone(name, arguments).await,
            "1.0/auditLog" => {
                tracing::info!(function = %self.function.path, body = arguments, "audit log");
                Ok("null".to_owned())
            }
            _ => Err(match not_yet(name) {
                Some(feature) => caught(
                    "NotSupportedYet",
                    format_args!("{feature} ({name}) are not supported by this version of Tidemark yet"),
                ),
                None => Failure::Caught(SyscallError::new(format!("Unknown async operation: {name}"))),
            }),
        }
    }

    /// Each call is an execution of its own, in the name of the action's caller. Whatever becomes of it, the action may go on.
    async fn call(&self, kind: FunctionKind, operation: &str, arguments: &str) -> Attempt {
        let CallArguments { args } = parse(operation, arguments)?;
        let (component, path) = self.function_at(parse(operation, arguments)?).await?;
        let function = FunctionCall {
            deployment: self.call.deployment,
            component,
            path,
            arguments: format!("[{}]", args.map_or("{}", RawValue::get)).into(),
            identity: self.call.identity.clone(),
            caller: Caller::Action,
            requester: self.call.requester.clone(),
            request_id: self.call.request_id.clone(),
        };
        let _permit = self.permits.acquire().await.expect("it is never closed");
        let result = match kind {
            FunctionKind::Query => {
                let call = QueryCall { function, at: ReadMoment::Latest, journal: None };
                self.handle.run_query(call, None).await.map(|outcome| outcome.result)
            }
            FunctionKind::Mutation => {
                let call = MutationCall { function, session: None, not_before: Timestamp::ZERO };
                self.handle.run_mutation(call, self.descent.job).await.map(|outcome| outcome.result)
            }
            // An HTTP action has no name to be called by.
            FunctionKind::Action | FunctionKind::HttpAction => {
                let depth_max = self.handle.actions.limits.call_depth_max;
                let Descent { depth, job } = self.descent;
                if depth >= depth_max {
                    return Err(caught(
                        "MaximumCallDepthExceeded",
                        format_args!("actions call each other more than {depth_max} levels deep"),
                    ));
                }
                let descent = Descent { depth: depth + 1, job };
                self.handle.run_called_action(function, descent).await.map(|acted| acted.result)
            }
        };
        match result {
            Ok(Ok(value)) => Ok(value.to_string()),
            Ok(Err(FunctionError { message, data })) => {
                Err(Failure::Caught(SyscallError { message, data: data.as_deref().map(str::to_owned) }))
            }
            Err(error) => Err(caught(&error.code, error.message)),
        }
    }

    /// The component and the path of a function that is to be called. One of this component is looked for when it is called.
    async fn function_at(&self, address: Address) -> Attempt<(String, String)> {
        if let Some(name) = address.name() {
            return Ok((self.call.component.clone(), name.parse::<FunctionPath>()?.to_string()));
        }
        let (mut transaction, target) = self.look_up(address).await?;
        if find(&self.handle.shared, &mut transaction, &target)?.is_none() {
            return Err(Failure::Caught(Thrown::no_function(&target.function).into()));
        }
        let component = transaction.deployment_catalog().component_path(target.component);
        Ok((component.unwrap_or_default().to_string(), target.function.to_string()))
    }

    /// Which function an operation names, and the newest state that says so.
    async fn look_up(&self, address: Address) -> Attempt<(Transaction, Target)> {
        let mut transaction = self.handle.shared.transactions.snapshot(self.call.deployment).await?;
        transaction.enter(self.component);
        let target = target(&mut transaction, address)?;
        Ok((transaction, target))
    }
}
