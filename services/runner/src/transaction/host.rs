//! The host of a transaction: guests work on one transaction, nested calls included.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use contract::{Caller, Error, FunctionCall};
use isolate::{Answer, AsyncOperation, ConsoleLine, FunctionKind, SyncHost, SyscallError, VariablesRead};
use transaction::{Catalog, NestedLimits, NestedOutcome, Transaction};
use value::{ComponentId, DocumentId, FunctionPath};

use super::{
    snapshot::Snapshot,
    syscalls::{Target, answered},
};
use crate::{
    calls::{self, Ground, Host, NumberedImage, Outcome, Slots, Stop, Thrown, Tree, split},
    functions::{AllowedVisibility, Function},
    service::{Shared, clock_for},
};

/// A transaction, and what its functions are told besides what is in it. It answers one operation after another, in the
/// order of their issue, so that a run can be repeated.
pub(crate) struct TransactionHost {
    pub(crate) shared: Arc<Shared>,
    pub(crate) transaction: Transaction,
    pub(crate) tree: Tree,
    /// Of the components whose functions have run.
    pub(super) images: HashMap<ComponentId, NumberedImage>,
    pub(super) call: Arc<FunctionCall>,
    /// The document of `_scheduled_functions` that runs.
    pub(super) scheduled_as: Option<DocumentId>,
    /// What the transaction reads, if that can move forward.
    pub(super) snapshot: Option<Arc<Snapshot>>,
    pub(super) host_time: Duration,
    /// How often functions have read an environment variable for the first time.
    pub(super) variables_read: usize,
}

impl TransactionHost {
    /// The document of `_scheduled_functions` whose action has called the function: it may be cancelled meanwhile.
    pub(super) fn parent(&self) -> Option<DocumentId> {
        self.scheduled_as.filter(|_| self.call.caller == Caller::Action)
    }

    /// Runs the outermost function. `arguments` is convex JSON: an array with the arguments object.
    pub(crate) async fn run(
        &mut self,
        slots: &mut Slots,
        path: &FunctionPath,
        kind: FunctionKind,
        allowed: AllowedVisibility,
        arguments: &str,
    ) -> Outcome {
        match self.resolve(path, kind, allowed)? {
            Ok(function) => self.call(slots, function, arguments).await,
            Err(thrown) => Ok(Err(thrown)),
        }
    }

    /// Whether it is an action, which no transaction can run.
    pub(super) fn is_action(&mut self, path: &FunctionPath) -> Result<bool, Error> {
        let function = self.shared.functions.find(&mut self.transaction, path, AllowedVisibility::All)?;
        Ok(function.is_some_and(|function| function.kind == FunctionKind::Action))
    }

    /// Calls a function of the component in which the transaction is.
    async fn call(&mut self, slots: &mut Slots, function: Arc<Function>, arguments: &str) -> Outcome {
        let image = match self.image().await? {
            Ok(image) => image,
            Err(thrown) => return Ok(Err(thrown)),
        };
        // Modules share what they have made of the environment while they were imported: that counts for each function.
        match image.image.variables_read() {
            VariablesRead::Named(names) => {
                names.iter().for_each(|name| self.transaction.rely_on_environment_variable(name));
            }
            VariablesRead::All => self.transaction.rely_on_environment(),
        }
        calls::call(self, slots, &image, function, arguments).await
    }

    /// The image of the component in which the transaction is.
    async fn image(&mut self) -> Result<Result<NumberedImage, Thrown>, Stop> {
        let component = self.transaction.component();
        if let Some(image) = self.images.get(&component) {
            return Ok(Ok(image.clone()));
        }
        let deployment = self.shared.deployment(self.call.deployment)?;
        let catalogs = Arc::clone(self.transaction.deployment_catalog());
        match self.shared.images.of_component(component, &catalogs, &deployment).await? {
            Some(Ok(image)) => {
                self.images.insert(component, image.clone());
                Ok(Ok(image))
            }
            Some(Err(error)) => {
                // Whatever changes may mend it.
                self.transaction.modules();
                self.transaction.rely_on_environment();
                Ok(Err(Thrown::new(format!("The deployed code can't be loaded: {error}"))))
            }
            // Its functions were found, so there is code.
            None => Err(Error::internal("functions without code").into()),
        }
    }

    /// Finds a function of the component in which the transaction is. What was looked at, found or not, is in the read set.
    pub(super) fn resolve(
        &mut self,
        path: &FunctionPath,
        kind: FunctionKind,
        allowed: AllowedVisibility,
    ) -> Result<Result<Arc<Function>, Thrown>, Error> {
        let function = self.shared.functions.find(&mut self.transaction, path, allowed)?;
        Ok(match function {
            None => Err(Thrown::no_function(path)),
            Some(function) if function.kind != kind => Err(Thrown::wrong_kind(path, function.kind, kind)),
            Some(function) => Ok(function),
        })
    }

    /// Calls a function within this transaction, or within a snapshot of its beginning.
    pub(super) async fn call_nested(
        &mut self,
        slots: &mut Slots,
        target: &Target,
        kind: FunctionKind,
        arguments: &str,
        limits: &NestedLimits,
    ) -> Outcome {
        if let Err(error) = self.transaction.begin_nested(target.component, limits) {
            return split(error).map(Err);
        }
        let result = match self.resolve(&target.function, kind, target.allowed)? {
            Ok(function) => self.call(slots, function, arguments).await?,
            Err(thrown) => Err(thrown),
        };
        let outcome = if result.is_ok() { NestedOutcome::Keep } else { NestedOutcome::RollBack };
        self.transaction.end_nested(outcome);
        Ok(result)
    }

    /// Takes note of it if the snapshot has moved; whether the operation has waited for another call, which is not the
    /// function's time.
    fn follow_snapshot(&mut self) -> bool {
        let Some(snapshot) = &self.snapshot else { return false };
        if let Some(at) = snapshot.moved() {
            let now_ns = clock_for(at.timestamp, self.shared.clock.now_ns());
            self.transaction.move_to(at, now_ns);
            self.tree.now_ms = self.tree.now_ms.max(now_ns / 1_000_000);
        }
        snapshot.waited()
    }

    /// Counts the time that a host call took.
    fn count_host_time(&mut self, since: Instant) -> Result<(), Stop> {
        self.host_time += since.elapsed();
        let limit_ms = self.tree.limits.function.system_time_ms_max;
        if self.host_time > Duration::from_millis(limit_ms) {
            return Err(Stop::HostCallsTookTooLong { limit_ms });
        }
        Ok(())
    }
}

impl Ground for TransactionHost {
    fn tree(&mut self) -> &mut Tree {
        &mut self.tree
    }
}

impl Host for TransactionHost {
    /// Whether ids fit a validator depends on which tables there are.
    fn tables(&mut self, function: &Function) -> Arc<Catalog> {
        let arguments = function.arguments.referenced_tables();
        let returns = function.returns.iter().flat_map(|returns| returns.referenced_tables());
        for table in arguments.into_iter().chain(returns) {
            self.transaction.table(table);
        }
        Arc::clone(self.transaction.catalog())
    }

    async fn answer(&mut self, slots: &mut Slots, operation: &AsyncOperation) -> Result<Answer, Stop> {
        let AsyncOperation { name, arguments, .. } = operation;
        if name == "1.0/runUdf" {
            // Its time is that of the function that runs, and of its own operations.
            return answered(self.run_udf(slots, arguments).await);
        }
        if let Some(snapshot) = &self.snapshot
            && self.tree.observed.time
        {
            snapshot.time_is_seen();
        }
        let since = Instant::now();
        let answer = answered(self.operation(name, arguments).await);
        if !self.follow_snapshot() {
            self.count_host_time(since)?;
        }
        answer
    }
}

impl SyncHost for TransactionHost {
    fn syscall(&mut self, operation: &str, arguments: &str) -> Result<String, SyscallError> {
        self.answer_sync(operation, arguments)
    }

    fn log(&mut self, line: ConsoleLine) {
        self.tree.log.push_console(line);
    }

    fn variable_is_read(&mut self, name: &str) {
        self.variables_read += 1;
        if VariablesRead::is_one(name) && self.variables_read <= VariablesRead::NAMES_MAX {
            self.transaction.rely_on_environment_variable(name);
        } else {
            self.transaction.rely_on_environment();
        }
    }

    /// The maps may have to be fetched, for which this thread waits: the function is in the middle of an expression. If they
    /// can't be had in the time that is left, everything ends: a function that saw other frames would not be the same again.
    fn map_frames(&mut self, frames: String) -> String {
        let since = Instant::now();
        let (sender, receiver) = mpsc::sync_channel(1);
        let (shared, catalog) = (Arc::clone(&self.shared), Arc::clone(self.transaction.catalog()));
        let stack = frames.clone();
        let mapping = self.shared.runtime.spawn(async move {
            let maps = shared.source_maps.for_functions(&stack, &catalog, &*shared.blobs).await;
            let _ = sender.send(maps.map(|maps| maps.map_stack(&stack)));
        });
        let limit_ms = self.tree.limits.function.system_time_ms_max;
        let left = Duration::from_millis(limit_ms).saturating_sub(self.host_time);
        let mapped = receiver.recv_timeout(left);
        mapping.abort();
        let counted = self.count_host_time(since);
        match mapped.map_err(|_| Stop::HostCallsTookTooLong { limit_ms }) {
            Ok(Ok(mapped)) if counted.is_ok() => return mapped,
            Ok(Ok(_)) => self.tree.stop = counted.err(),
            Ok(Err(error)) => self.tree.stop = Some(Stop::Service(error)),
            Err(stop) => self.tree.stop = Some(stop),
        }
        frames
    }
}
