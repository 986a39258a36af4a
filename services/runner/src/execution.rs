//! One tree of calls: a function, those that it calls, and the transaction that they share.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use contract::{Error, Identity, Observed};
use isolate::{
    AsyncOperation, CallLimits, ConsoleLine, FunctionKind, Invocation, KillReason, Observations, Slot, Step,
    SyncHost, SyscallError,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use schema::TableLookup;
use transaction::{Catalog, NestedLimits, NestedOutcome, Transaction};
use value::{FunctionPath, TableName, TableNumber, Value};

use crate::{
    arguments,
    failure::{NEVER_RESOLVES, Stop, Thrown},
    functions::Function,
    log_lines::LogLines,
    service::Shared,
    slots::{NumberedImage, Slots},
};

/// What a function's end means to whoever called it.
pub(crate) type Outcome = Result<Result<String, Thrown>, Stop>;

/// A tree of calls that runs on one thread.
pub(crate) struct Execution {
    pub(crate) shared: Arc<Shared>,
    pub(crate) transaction: Transaction,
    pub(crate) image: NumberedImage,
    pub(crate) identity: Identity,
    pub(crate) request_id: String,
    pub(crate) observed: Observed,
    pub(crate) log: LogLines,
    /// What the clock shows, in milliseconds since the Unix epoch.
    pub(crate) now_ms: u64,
    random: StdRng,
    /// The function that runs and those that have called it, outermost first.
    pub(crate) frames: Vec<Frame>,
    /// How deep the running function is nested in other transactions' functions.
    user_time: Duration,
    host_time: Duration,
    /// What a synchronous call could not say to the function, because it ends everything.
    pub(crate) stop: Option<Stop>,
}

/// A function that runs.
pub(crate) struct Frame {
    pub(crate) function: Arc<Function>,
}

/// What a tree of calls begins with.
pub(crate) struct Start {
    pub(crate) shared: Arc<Shared>,
    pub(crate) transaction: Transaction,
    pub(crate) image: NumberedImage,
    pub(crate) identity: Identity,
    pub(crate) request_id: String,
    pub(crate) now_ms: u64,
    /// All randomness in the tree comes from here.
    pub(crate) seed: [u8; 32],
}

/// Where a function is called from, which decides who may call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// By a client without special rights.
    Public,
    /// By a function, or by an administrator.
    Internal,
}

impl Execution {
    pub(crate) fn new(start: Start) -> Execution {
        let log = LogLines::new(start.shared.options.limits.function.log_lines_max);
        Execution {
            shared: start.shared,
            transaction: start.transaction,
            image: start.image,
            identity: start.identity,
            request_id: start.request_id,
            observed: Observed::default(),
            log,
            now_ms: start.now_ms,
            random: StdRng::from_seed(start.seed),
            frames: Vec::new(),
            user_time: Duration::ZERO,
            host_time: Duration::ZERO,
            stop: None,
        }
    }

    /// Runs the outermost function. `arguments` is convex JSON: an array with the arguments object.
    pub(crate) async fn run(
        &mut self,
        slots: &mut Slots,
        path: &FunctionPath,
        kind: FunctionKind,
        door: Door,
        arguments: &str,
    ) -> Outcome {
        match self.resolve(path, kind, door)? {
            Ok(function) => self.call(slots, function, arguments).await,
            Err(thrown) => Ok(Err(thrown)),
        }
    }

    /// Finds a function. What was looked at, found or not, is in the read set.
    pub(crate) fn resolve(
        &mut self,
        path: &FunctionPath,
        kind: FunctionKind,
        door: Door,
    ) -> Result<Result<Arc<Function>, Thrown>, Error> {
        let function = find(&self.shared, &mut self.transaction, path, door)?;
        Ok(match function {
            None => Err(not_found(path)),
            Some(function) if function.kind != kind => Err(Thrown::new(format!(
                "InvalidFunctionCall: `{path}` is {} and can't be called as {}.",
                kind_with_article(function.kind),
                kind_with_article(kind),
            ))),
            Some(function) => Ok(function),
        })
    }

    /// Runs a function with all checks. Boxed, because functions call each other.
    pub(crate) fn call<'e>(
        &'e mut self,
        slots: &'e mut Slots,
        function: Arc<Function>,
        arguments: &'e str,
    ) -> Pin<Box<dyn Future<Output = Outcome> + 'e>> {
        Box::pin(async move {
            let limits = self.shared.options.limits.function;
            let tables = self.transaction.catalog().clone();
            self.rely_on_tables(&function);
            if let Err(thrown) =
                arguments::check(arguments, &function.arguments, &Tables(&tables), limits.arguments_bytes_max)
            {
                return Ok(Err(thrown));
            }
            let result = self.step(slots, Arc::clone(&function), arguments).await?;
            let text = match result {
                Ok(text) => text,
                Err(thrown) => return Ok(Err(thrown)),
            };
            let tables = self.transaction.catalog().clone();
            let checked =
                check_result(&text, function.returns.as_ref(), &Tables(&tables), limits.result_bytes_max);
            Ok(checked.map(|()| text))
        })
    }

    /// Calls a function within this transaction, or within a snapshot of its beginning.
    pub(crate) async fn call_nested(
        &mut self,
        slots: &mut Slots,
        function: Arc<Function>,
        arguments: &str,
        limits: &NestedLimits,
    ) -> Outcome {
        if let Err(error) = self.transaction.begin_nested(limits) {
            return crate::failure::split(error).map(Err);
        }
        let result = self.call(slots, function, arguments).await?;
        let outcome = if result.is_ok() { NestedOutcome::Keep } else { NestedOutcome::RollBack };
        self.transaction.end_nested(outcome);
        Ok(result)
    }

    /// Steps the guest until it ends, answering its calls one after another in the order of their issue.
    async fn step(&mut self, slots: &mut Slots, function: Arc<Function>, arguments: &str) -> Outcome {
        let mut slot = slots.take(&self.image).map_err(engine_failed)?;
        self.frames.push(Frame { function: Arc::clone(&function) });
        let outcome = self.step_in(slots, &mut slot, &function, arguments).await;
        self.frames.pop();
        slots.put_back(self.image.number, slot);
        outcome
    }

    async fn step_in(
        &mut self,
        slots: &mut Slots,
        slot: &mut Slot,
        function: &Function,
        arguments: &str,
    ) -> Outcome {
        let limits = self.shared.options.limits.function;
        let user_time_max = Duration::from_millis(limits.user_time_ms_max);
        let time_left = user_time_max.saturating_sub(self.user_time);
        let module = function.path.module.with_extension();
        let invocation = Invocation {
            module: &module,
            export: function.path.export.as_str(),
            kind: function.kind,
            arguments,
            seed: self.new_seed(),
            now_ms: self.now_ms,
            request_id: "",
            limits: CallLimits {
                user_time_ms_max: u64::try_from(time_left.as_millis()).unwrap_or(u64::MAX).max(1),
                ..CallLimits::from(&limits)
            },
        };
        let mut waiting: VecDeque<AsyncOperation> = VecDeque::new();
        let mut counted = Duration::ZERO;
        let mut step = slot.start(&invocation, self).map_err(engine_failed)?;
        loop {
            let Observations { time, user_time, .. } = slot.observations();
            self.observed.time |= time;
            self.user_time += user_time.saturating_sub(counted);
            counted = user_time;
            if let Some(stop) = self.stop.take() {
                return Err(stop);
            }
            match step {
                Step::Done(result) => return Ok(result.map_err(|error| Thrown::from(*error))),
                Step::Killed(KillReason::NeverResolves) => return Ok(Err(Thrown::new(NEVER_RESOLVES))),
                // The call had what its callers left of the tree's time; the limit is the tree's.
                Step::Killed(KillReason::TimedOut { .. }) => return Err(timed_out(limits.user_time_ms_max)),
                Step::Killed(reason) => return Err(Stop::Killed(reason)),
                Step::NeedsHost { operations } => waiting.extend(operations),
            }
            if self.user_time > user_time_max {
                return Err(timed_out(limits.user_time_ms_max));
            }
            let Some(operation) = waiting.pop_front() else {
                return Err(Error::internal("an isolate waits for an answer to nothing").into());
            };
            // What is too much is refused at once; all else is answered in the order of issue.
            let surplus = waiting.split_off(waiting.len().min(limits.host_calls_in_flight_max));
            let mut answers = vec![(operation.id, self.answer(slots, &operation).await?)];
            answers.extend(surplus.into_iter().map(|operation| {
                let error = SyscallError::new(format!(
                    "TooManyConcurrentOperations: a function may have at most {} operations under way at the same time",
                    limits.host_calls_in_flight_max
                ));
                (operation.id, Err(error))
            }));
            step = slot.resume(answers, self).map_err(engine_failed)?;
        }
    }

    /// Counts the time that a host call took.
    pub(crate) fn count_host_time(&mut self, since: Instant) -> Result<(), Stop> {
        self.host_time += since.elapsed();
        let limit_ms = self.shared.options.limits.function.system_time_ms_max;
        if self.host_time > Duration::from_millis(limit_ms) {
            return Err(Stop::HostCallsTookTooLong { limit_ms });
        }
        Ok(())
    }

    pub(crate) fn new_seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.random.fill_bytes(&mut seed);
        seed
    }

    /// The function that runs.
    pub(crate) fn frame(&self) -> &Frame {
        self.frames.last().expect("host calls come from a function that runs")
    }

    /// Whether ids fit a validator depends on which tables there are.
    fn rely_on_tables(&mut self, function: &Function) {
        let arguments = function.arguments.referenced_tables();
        let returns = function.returns.iter().flat_map(|returns| returns.referenced_tables());
        for table in arguments.into_iter().chain(returns) {
            self.transaction.table(table);
        }
    }
}

/// Finds a function, whatever its kind. What was looked at is in the read set: the module with all that it imports, and
/// the environment, because code may look at both while it is imported.
pub(crate) fn find(
    shared: &Shared,
    transaction: &mut Transaction,
    path: &FunctionPath,
    door: Door,
) -> Result<Option<Arc<Function>>, Error> {
    let module = path.module.with_extension();
    let modules = transaction.module_with_imports(&module);
    let Some(module) = modules.first() else { return Ok(None) };
    transaction.rely_on_environment();
    let functions = shared.functions.of(module)?;
    let function = functions.get(path.export.as_str()).cloned();
    Ok(function.filter(|function| function.is_public || door == Door::Internal))
}

/// The command line tool looks for the first four words.
pub(crate) fn not_found(path: impl std::fmt::Display) -> Thrown {
    Thrown::new(format!(
        "Could not find function `{path}`. Is its name spelt right, is it public, and has it been pushed with `npx \
         convex dev` or `npx convex deploy`?"
    ))
}

pub(crate) fn kind_with_article(kind: FunctionKind) -> &'static str {
    match kind {
        FunctionKind::Query => "a query",
        FunctionKind::Mutation => "a mutation",
        FunctionKind::Action => "an action",
    }
}

fn timed_out(limit_ms: u64) -> Stop {
    Stop::Killed(KillReason::TimedOut { limit_ms })
}

fn engine_failed(error: isolate::EngineError) -> Stop {
    Stop::Service(Error::internal(format!("running a function: {error}")))
}

fn check_result(
    text: &str,
    validator: Option<&schema::Validator>,
    tables: &dyn TableLookup,
    bytes_max: usize,
) -> Result<(), Thrown> {
    if text.len() > bytes_max {
        return Err(Thrown::new(format!(
            "FunctionResultTooLarge: the function returned {} bytes, more than the {bytes_max} that are allowed.",
            text.len()
        )));
    }
    let invalid = |reason: &dyn std::fmt::Display| {
        Thrown::new(format!("InvalidReturnValue: the function did not return a Convex value: {reason}"))
    };
    match validator {
        // Large results are not worth a second look; that it is JSON must be certain, for it goes into messages.
        None => {
            serde_json::from_str::<serde::de::IgnoredAny>(text).map(|_| ()).map_err(|error| invalid(&error))
        }
        Some(validator) => {
            let value = Value::from_json(text).map_err(|error| invalid(&error))?;
            let fits = validator.check(&value, tables);
            fits.map_err(|failure| Thrown::new(format!("ReturnsValidationError: {failure}")))
        }
    }
}

/// The tables of a catalog, for validators of ids.
pub(crate) struct Tables<'c>(pub(crate) &'c Catalog);

impl TableLookup for Tables<'_> {
    fn number_of(&self, table: &TableName) -> Option<TableNumber> {
        self.0.table(table.as_str()).map(|table| table.number)
    }

    fn name_of(&self, number: TableNumber) -> Option<TableName> {
        self.0.table_by_number(number).map(|table| table.name.clone())
    }
}

impl SyncHost for Execution {
    fn syscall(&mut self, operation: &str, arguments: &str) -> Result<String, SyscallError> {
        self.answer_sync(operation, arguments)
    }

    fn log(&mut self, line: ConsoleLine) {
        self.log.push_console(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_tables(_: &TableName) -> Option<TableNumber> {
        None
    }

    #[test]
    fn results_are_held_to_their_size_and_validator() {
        let message = |result: Result<(), Thrown>| result.expect_err("it is refused").to_log_text("");
        assert!(
            message(check_result("\"abcdef\"", None, &no_tables, 4)).starts_with("FunctionResultTooLarge")
        );
        assert!(message(check_result("{", None, &no_tables, 10)).starts_with("InvalidReturnValue"));
        let null = schema::Validator::Null;
        assert!(
            message(check_result("1", Some(&null), &no_tables, 10)).starts_with("ReturnsValidationError: ")
        );
        assert!(check_result("null", Some(&null), &no_tables, 10).is_ok());
        assert!(check_result("1", None, &no_tables, 10).is_ok());
    }

    #[test]
    fn the_command_line_tool_recognises_an_unknown_function() {
        let path: FunctionPath = "messages:lst".parse().expect("a path");
        assert!(not_found(&path).to_log_text("").contains("Could not find function"));
    }
}
