//! A function on its way.

use std::{collections::VecDeque, time::Duration};

use contract::Error;
use isolate::{
    Answer, AsyncOperation, CallLimits, Invocation, KillReason, OperationId, Slot, Step, SyscallError,
};

use super::{Ground, Stop, Thrown, failure::NEVER_RESOLVES};
use crate::functions::Function;

/// A function that was started and has not ended: the memory of its isolate, and what it waits for.
///
/// It runs only while [`Guest::start`] and [`Guest::resume`] do. In between it needs no thread.
pub(crate) struct Guest {
    slot: Slot,
    /// Operations that nobody has taken yet, in the order of their issue.
    waiting: VecDeque<AsyncOperation>,
    /// How many were taken and have no answer yet.
    taken: usize,
    /// The processor time that its tree knows of.
    counted: Duration,
}

/// Where a guest stands after a step.
pub(crate) enum Progress {
    /// It waits for an answer: to an operation that was taken, or to one that is there to be taken.
    Waits,
    /// Its result as convex JSON, or what it threw.
    Ended(Result<String, Thrown>),
}

impl Guest {
    pub(crate) fn new(slot: Slot) -> Guest {
        Guest { slot, waiting: VecDeque::new(), taken: 0, counted: Duration::ZERO }
    }

    pub(crate) fn into_slot(self) -> Slot {
        self.slot
    }

    pub(crate) fn start(
        &mut self,
        function: &Function,
        arguments: &str,
        host: &mut impl Ground,
    ) -> Result<Progress, Stop> {
        let tree = host.tree();
        let module = function.path.module.with_extension();
        let invocation = Invocation {
            module: &module,
            export: function.path.export.as_str(),
            kind: function.kind,
            arguments,
            seed: tree.new_seed(),
            now_ms: tree.now_ms,
            request_id: "",
            limits: CallLimits {
                user_time_ms_max: u64::try_from(tree.user_time_left().as_millis()).unwrap_or(u64::MAX).max(1),
                ..tree.limits.function.call()
            },
        };
        let step = self.slot.start(&invocation, host).map_err(engine_failed)?;
        self.after(step, host)
    }

    /// The next operation that waits, if any. It is to be answered by [`Guest::resume`].
    pub(super) fn take_operation(&mut self) -> Result<AsyncOperation, Stop> {
        let operation = self.waiting.pop_front();
        let operation =
            operation.ok_or_else(|| Error::internal("an isolate waits for an answer to nothing"))?;
        self.taken += 1;
        Ok(operation)
    }

    /// All operations that wait. They are to be answered as those of [`Guest::take_operation`].
    pub(crate) fn take_operations(&mut self) -> Vec<AsyncOperation> {
        self.taken += self.waiting.len();
        self.waiting.drain(..).collect()
    }

    /// Ends the guest if what comes of it is known, and nothing that `holds` it waits to be taken. What was taken is not
    /// answered any more.
    pub(crate) fn finish(
        &mut self,
        holds: impl Fn(&AsyncOperation) -> bool,
        host: &mut impl Ground,
    ) -> Result<Option<Progress>, Stop> {
        if !self.slot.has_outcome() || self.waiting.iter().any(holds) {
            return Ok(None);
        }
        self.waiting.clear();
        self.taken = 0;
        let step = self.slot.finish().map_err(engine_failed)?;
        self.after(step, host).map(Some)
    }

    /// Memory that it has taken on top of its image.
    pub(crate) fn heap_bytes(&self) -> u64 {
        self.slot.observations().heap_bytes
    }

    /// Whether operations wait that nobody has taken yet.
    pub(super) fn has_operations(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Runs the guest on with answers to operations that were taken, in any order.
    pub(crate) fn resume(
        &mut self,
        answers: Vec<(OperationId, Answer)>,
        host: &mut impl Ground,
    ) -> Result<Progress, Stop> {
        assert!(answers.len() <= self.taken, "only operations that were taken are answered");
        self.slot.set_now_ms(host.tree().now_ms);
        self.taken -= answers.len();
        let step = self.slot.resume(answers, host).map_err(engine_failed)?;
        self.after(step, host)
    }

    fn after(&mut self, mut step: Step, host: &mut impl Ground) -> Result<Progress, Stop> {
        loop {
            let observations = self.slot.observations();
            let tree = host.tree();
            tree.observe(observations, self.counted);
            self.counted = observations.user_time;
            if let Some(stop) = tree.stop.take() {
                return Err(stop);
            }
            let limits = tree.limits.function;
            match step {
                Step::Done(result) => {
                    assert!(
                        self.taken == 0 && self.waiting.is_empty(),
                        "a call ends when all its operations are answered"
                    );
                    return Ok(Progress::Ended(result.map_err(|error| Thrown::from(*error))));
                }
                Step::Killed(KillReason::NeverResolves) => {
                    return Ok(Progress::Ended(Err(Thrown::new(NEVER_RESOLVES))));
                }
                // The call had what its callers left of the tree's time; the limit is the tree's.
                Step::Killed(KillReason::TimedOut { .. }) => return Err(timed_out(limits.user_time_ms_max)),
                Step::Killed(reason) => return Err(Stop::Killed(reason)),
                Step::NeedsHost { operations } => self.waiting.extend(operations),
            }
            if tree.user_time_left().is_zero() {
                return Err(timed_out(limits.user_time_ms_max));
            }
            // What is too much is refused at once; all else is answered in the order of issue.
            let in_flight = limits.host_calls_in_flight_max.saturating_sub(self.taken).max(1);
            let surplus = self.waiting.split_off(self.waiting.len().min(in_flight));
            if surplus.is_empty() {
                return Ok(Progress::Waits);
            }
            let refused = surplus.into_iter().map(|operation| {
                let error = SyscallError::new(format!(
                    "TooManyConcurrentOperations: a function may have at most {} operations under way at the same time",
                    limits.host_calls_in_flight_max
                ));
                (operation.id, Err(error))
            });
            step = self.slot.resume(refused.collect(), host).map_err(engine_failed)?;
        }
    }
}

fn timed_out(limit_ms: u64) -> Stop {
    Stop::Killed(KillReason::TimedOut { limit_ms })
}

pub(crate) fn engine_failed(error: isolate::EngineError) -> Stop {
    Stop::Service(Error::internal(format!("running a function: {error}")))
}
