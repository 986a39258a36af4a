//! Actions whose modules begin with `"use node"`: they run in a process of Node.js, and what they ask of the server is answered
//! as it is to all others.

use std::{collections::BTreeMap, io, sync::Arc};

use async_trait::async_trait;
use contract::{BlobDigest, BlobStore, DeploymentRef, Error, FunctionCall, ModuleSource, Result};
use fair_queue::Place;
use futures::{StreamExt as _, stream};
use isolate::{AsyncOperation, JsError, OperationId, Reply, SyscallError};
use nodejs::{Answer, Body, Call, CodeId, ConsoleLine, Failure, Operation, OperationError, Standing};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use transaction::{Catalog, ModuleEnvironment, NodeConfig};
use value::ComponentId;

use super::{blobs::Transfer, calls::Calls, run::Descent};
use crate::{
    calls::{LogLines, Outcome, Stop, Thrown, Tree, check_result},
    functions::Function,
    metrics::Kill,
    service::Handle,
    transaction::{Attempt, Failure as OperationFailure, parse},
};

/// What is run.
#[derive(Clone, Copy)]
pub(super) struct NodeAction<'a> {
    pub call: &'a Arc<FunctionCall>,
    pub function: &'a Arc<Function>,
    pub component: ComponentId,
    /// The code, the environment variables, the tables.
    pub catalog: &'a Catalog,
    pub arguments: &'a str,
    /// As a value.
    pub arguments_bytes: usize,
    pub descent: Descent,
}

/// A module that is deployed.
struct Deployed {
    path: String,
    source: BlobDigest,
    source_map: Option<BlobDigest>,
}

/// Answers the process.
struct Host {
    calls: Calls,
    blobs: Arc<dyn BlobStore>,
    modules: Vec<Deployed>,
    log: Mutex<LogLines>,
    /// What the function could not be told, because it ends everything.
    stop: Mutex<Option<Stop>>,
    stopped: CancellationToken,
}

impl Handle {
    /// Waits for a place for an action that begins later. There is none where nothing can run in Node.js: the action will say why.
    pub(super) async fn reserve_in_node(&self, deployment: DeploymentRef) -> Result<Option<Place>> {
        match self.node.executor().await {
            Ok(executor) => executor.reserve(deployment).await.map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Runs an action to its end, in the place that was reserved for it, if there is one. Its lines come with its outcome.
    pub(super) async fn perform_in_node(
        &self,
        action: NodeAction<'_>,
        place: Option<Place>,
        mut tree: Tree,
    ) -> (Outcome, LogLines) {
        let NodeAction { call, function, component, catalog, arguments_bytes, descent, .. } = action;
        let new_log =
            || LogLines::new(self.shared.options.limits.function.log_lines_max, self.shared.clock.clone());
        let host = Arc::new(Host {
            calls: Calls::new(self.clone(), Arc::clone(call), Arc::clone(function), component, descent),
            blobs: Arc::clone(&self.shared.blobs),
            modules: deployed(catalog),
            log: Mutex::new(new_log()),
            stop: Mutex::new(None),
            stopped: CancellationToken::new(),
        });
        let outcome = tokio::select! {
            biased;
            () = self.ending.cancelled() => Err(self.cancelled_by_shutdown()),
            () = host.stopped.cancelled() => Err(host.stop.lock().take().expect("it was put there before")),
            ended = self.call_node(&action, &host, place) => match ended {
                Ok(Ok(text)) => Ok(Ok(text)),
                Ok(Err(failure)) => Ok(Err(self.thrown(failure, function))),
                Err(error) => Err(error.into()),
            },
        };
        tree.log = std::mem::replace(&mut *host.log.lock(), new_log());
        let checked = outcome.map(|result| {
            let text = result?;
            check_result(function, &text, catalog, arguments_bytes, &mut tree)?;
            Ok(text)
        });
        (checked, tree.log)
    }

    async fn call_node(
        &self,
        action: &NodeAction<'_>,
        host: &Arc<Host>,
        place: Option<Place>,
    ) -> Result<nodejs::Outcome> {
        let NodeAction { call, function, catalog, arguments, descent, .. } = *action;
        let executor = self.node.executor().await?;
        let none = NodeConfig::default();
        let config = catalog.udf_config().map_or(&none, |config| &config.row.node);
        let version = executor.version(config.version.as_deref())?;
        let packages = match config.lock {
            Some(lock) => Some(self.node.packages(lock, version, &*self.shared.blobs).await?),
            None => None,
        };
        let mut environment: BTreeMap<String, String> = catalog
            .environment_variables()
            .map(|variable| (variable.row.name.clone(), variable.row.value.clone()))
            .collect();
        environment.extend(self.shared.deployment(call.deployment)?.platform_variables());
        let modules = host
            .modules
            .iter()
            .map(|module| (module.path.as_str(), module.source.0, module.source_map.map(|digest| digest.0)));
        let call = Call {
            deployment: call.deployment,
            component: call.component.clone(),
            code: CodeId::of_digests(modules),
            packages,
            version,
            environment: Arc::new(environment),
            module: function.path.module.with_extension(),
            name: function.path.export.as_str().to_owned(),
            arguments: Arc::from(arguments),
            request_id: call.request_id.clone(),
            standing: if descent.depth > 1 { Standing::Called } else { Standing::Outermost },
        };
        executor.run(&call, Arc::clone(host) as _, place).await
    }

    fn killed(&self, kill: Kill, text: String) -> Thrown {
        self.shared.metrics.count_kill(kill);
        Thrown::new(text)
    }

    fn thrown(&self, failure: Failure, function: &Function) -> Thrown {
        let text = failure.to_string();
        match failure {
            Failure::Threw(error) => {
                let nodejs::JsError { name, message, stack, data } = *error;
                JsError { name, message, stack, code: None, convex_error_data: data }.into()
            }
            Failure::ThrewElsewhere(error) => {
                let mut thrown = Thrown::new(text);
                thrown.stack = error.stack;
                thrown
            }
            Failure::Missing { .. } => Thrown::no_function(&function.path),
            Failure::ArgumentsTooLarge { .. }
            | Failure::ResultTooLarge { .. }
            | Failure::ProcessEnded { .. }
            | Failure::Broken { .. } => Thrown::new(text),
            Failure::TimedOut { .. } => self.killed(Kill::TotalTime, text),
            Failure::OutOfMemory { .. } => self.killed(Kill::Memory, text),
            Failure::TooManyProcesses { .. } => self.killed(Kill::Processes, text),
        }
    }
}

/// The modules for Node.js.
fn deployed(catalog: &Catalog) -> Vec<Deployed> {
    let modules = catalog.modules().filter(|module| module.row.environment == ModuleEnvironment::Node);
    let deployed = modules.map(|module| Deployed {
        path: module.row.path.clone(),
        source: module.row.source,
        source_map: module.row.source_map,
    });
    deployed.collect()
}

impl Host {
    async fn text_of(&self, digest: BlobDigest, path: &str) -> Result<Arc<str>> {
        let bytes = self.blobs.get(digest).await?;
        let text = bytes.and_then(|bytes| String::from_utf8(bytes.into()).ok());
        text.map(Arc::from)
            .ok_or_else(|| Error::internal(format!("the text of module {path} is missing or not UTF-8")))
    }
}

/// Files, piece by piece both ways.
impl Host {
    async fn store(&self, operation: &str, arguments: &str, body: Option<Body>) -> Attempt<Answer> {
        let transfer = Transfer::default();
        text(transfer.begin(&self.calls, parse(operation, arguments)?).await)?;
        let mut body = body.unwrap_or_else(|| stream::empty().boxed());
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| SyscallError::new(error.to_string()));
            text(transfer.write(piece.map_err(OperationFailure::Caught)?.into()).await)?;
        }
        Ok(Answer { json: text(transfer.finish().await)?, body: None })
    }

    async fn get(&self, operation: &str, arguments: &str) -> Attempt<Answer> {
        let transfer = Transfer::default();
        let bytes_max = self.calls.heap_bytes_max();
        let json = text(transfer.open(&self.calls, operation, arguments, bytes_max).await?)?;
        let pieces = stream::unfold(Some(transfer), async |transfer| {
            let transfer = transfer?;
            match transfer.read().await {
                Ok(Reply::Bytes(piece)) => Some((Ok(piece.into()), Some(transfer))),
                Ok(Reply::Text(_)) => None,
                Err(error) => Some((Err(io::Error::other(error.message)), None)),
            }
        });
        let body = (json != "null").then(|| pieces.boxed());
        Ok(Answer { json, body })
    }
}

fn text(answer: isolate::Answer) -> Attempt<String> {
    match answer {
        Ok(Reply::Text(text)) => Ok(text),
        Ok(Reply::Bytes(_)) => unreachable!("only `read` answers with bytes"),
        Err(error) => Err(OperationFailure::Caught(error)),
    }
}

#[async_trait]
impl nodejs::ActionHost for Host {
    async fn modules(&self) -> Result<Vec<ModuleSource>> {
        let mut modules = Vec::with_capacity(self.modules.len());
        for Deployed { path, source, source_map } in &self.modules {
            let source_map = match source_map {
                Some(digest) => Some(self.text_of(*digest, path).await?),
                None => None,
            };
            let source = self.text_of(*source, path).await?;
            modules.push(ModuleSource { path: path.clone(), source, source_map });
        }
        Ok(modules)
    }

    async fn answer(&self, operation: Operation) -> Result<Answer, OperationError> {
        let Operation { name, arguments, body } = operation;
        let answered = match name.as_str() {
            "storage/storeBlob" => self.store(&name, &arguments, body).await,
            "storage/getBlob" => self.get(&name, &arguments).await,
            _ => {
                // Named by the channel that it came by.
                let operation = AsyncOperation { id: OperationId(0), name, arguments, body: Vec::new() };
                self.calls.answer(&operation).await.map(|json| Answer { json, body: None })
            }
        };
        match answered {
            Ok(answer) => Ok(answer),
            Err(OperationFailure::Caught(error)) => {
                Err(OperationError { message: error.message, data: error.data })
            }
            Err(OperationFailure::Stop(stop)) => {
                *self.stop.lock() = Some(stop);
                self.stopped.cancel();
                // The action ends, and this with it.
                std::future::pending().await
            }
        }
    }

    fn log(&self, line: ConsoleLine) {
        self.log.lock().push(line.level, line.messages, line.is_truncated);
    }
}
