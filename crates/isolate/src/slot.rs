//! A slot: a place where calls of one image run, one after another.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::call::{
    Answer, CallLimits, ConsoleLine, FunctionKind, Invocation, KillReason, Observations, OperationId, Step,
    SyncHost, SyscallError,
};
use crate::engine::{Engine, check_thread_stack};
use crate::error::{EngineError, ImportError};
use crate::guest::{Ended, Guest, parse_error};
use crate::image::{Image, NoHost};
use crate::outside::{HostState, Outside};
use crate::slot_memory::SlotMemory;

/// After so many calls, the memory is compared with the image once.
const CALLS_PER_CHECK: u64 = 1000;

/// A private mapping of an image with an engine instance in it. Each step may be taken on another thread.
pub struct Slot {
    image: Arc<Image>,
    /// Gone only while a reset fails.
    guest: Option<Guest>,
    /// Whether the guest was ended in the middle of an instruction: then its instance is not used again.
    has_trapped: bool,
    memory: SlotMemory,
    state: State,
    limits: CallLimits,
    /// Operations that the host has not answered yet.
    outstanding: Vec<OperationId>,
    resets: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// As the image.
    Clean,
    /// A call waits for the host.
    Waiting,
    /// A call ended.
    Used,
}

impl Slot {
    /// Maps the image. Some 20 microseconds; the first call in a new slot is slower than later ones.
    pub fn new(image: &Arc<Image>) -> Result<Slot, EngineError> {
        check_thread_stack()?;
        let memory = SlotMemory::new(image).map_err(system("mapping an image"))?;
        let mut slot = Slot {
            image: Arc::clone(image),
            guest: None,
            has_trapped: false,
            memory,
            state: State::Clean,
            limits: CallLimits::default(),
            outstanding: Vec::new(),
            resets: 0,
        };
        slot.guest = Some(slot.new_guest()?);
        Ok(slot)
    }

    /// The image whose functions it runs.
    pub fn image(&self) -> &Arc<Image> {
        &self.image
    }

    /// Starts a call. Resets the slot first if that is due.
    pub fn start(
        &mut self,
        invocation: &Invocation<'_>,
        host: &mut dyn SyncHost,
    ) -> Result<Step, EngineError> {
        self.enter_thread()?;
        if self.state != State::Clean {
            self.reset()?;
        }
        assert!(self.outstanding.is_empty(), "a clean slot waits for nothing");
        let mut limits = invocation.limits;
        limits.heap_bytes_max = limits.heap_bytes_max.min(Engine::HEAP_BYTES_MAX);
        self.limits = limits;
        let guest = self.guest.as_mut().expect("a clean slot has an instance");
        guest.set_state(HostState::of_call(invocation.seed, invocation.now_ms, &limits));
        let kind = match invocation.kind {
            FunctionKind::Query => 0,
            FunctionKind::Mutation => 1,
            FunctionKind::Action => 2,
            FunctionKind::HttpAction => 3,
        };
        let texts = [invocation.module, invocation.export, invocation.arguments, invocation.request_id];
        let heap_bytes_max = u32::try_from(limits.heap_bytes_max).expect("at most HEAP_BYTES_MAX");
        let entered = guest.enter(&mut CallHost { host }, |guest| guest.invoke(heap_bytes_max, kind, texts));
        Ok(self.after(entered.map(|_| ())))
    }

    /// Shows a call that waits for answers another time from now on.
    pub fn set_now_ms(&mut self, now_ms: u64) {
        if let Some(guest) = &mut self.guest {
            guest.state_mut().set_now_ms(now_ms);
        }
    }

    /// Answers operations, in the given order, and runs the guest on.
    pub fn resume(
        &mut self,
        answers: Vec<(OperationId, Answer)>,
        host: &mut dyn SyncHost,
    ) -> Result<Step, EngineError> {
        if self.state != State::Waiting {
            return Err(EngineError::WrongState("not waiting for answers"));
        }
        for (id, _) in &answers {
            let at = self.outstanding.iter().position(|outstanding| outstanding == id);
            self.outstanding.remove(at.ok_or(EngineError::WrongState("not waiting for this answer"))?);
        }
        self.enter_thread()?;
        let guest = self.guest.as_mut().expect("a waiting slot has an instance");
        let entered = guest.enter(&mut CallHost { host }, |guest| {
            for (id, answer) in answers {
                guest.resolve(id.0, &answer)?;
            }
            guest.run()
        });
        Ok(self.after(entered.map(|_| ())))
    }

    /// What the guest's return means.
    fn after(&mut self, entered: Result<(), Ended>) -> Step {
        let guest = self.guest.as_mut().expect("it has just run");
        if let Err(ended) = entered {
            self.state = State::Used;
            self.has_trapped = true;
            self.outstanding.clear();
            return Step::Killed(ended.kill_reason(self.limits.user_time_ms_max, self.limits.heap_bytes_max));
        }
        let operations = std::mem::take(&mut guest.state_mut().operations);
        for operation in &operations {
            // The guest gives an id again only after it was answered (guest.c); an answer would reach the wrong promise.
            assert!(!self.outstanding.contains(&operation.id), "an operation's id is given once at a time");
            self.outstanding.push(operation.id);
        }
        let heap_bytes = u64::from(guest.heap_bytes());
        guest.state_mut().observations.heap_bytes = heap_bytes;
        if !self.outstanding.is_empty() {
            self.state = State::Waiting;
            return Step::NeedsHost { operations };
        }
        self.ended()
    }

    /// Whether what comes of the call is known, although it waits for answers.
    pub fn has_outcome(&self) -> bool {
        self.state == State::Waiting
            && self.guest.as_ref().is_some_and(|guest| guest.state().outcome.is_some())
    }

    /// Ends a call that has its outcome. What it waits for is not answered any more.
    pub fn finish(&mut self) -> Result<Step, EngineError> {
        if !self.has_outcome() {
            return Err(EngineError::WrongState("not waiting with an outcome"));
        }
        self.outstanding.clear();
        Ok(self.ended())
    }

    fn ended(&mut self) -> Step {
        let guest = self.guest.as_mut().expect("it has run");
        self.state = State::Used;
        match guest.take_outcome() {
            Some(outcome) if outcome.succeeded => Step::Done(Ok(outcome.text())),
            failed @ Some(_) => Step::Done(Err(parse_error(failed))),
            None => Step::Killed(KillReason::NeverResolves),
        }
    }

    /// Notes that the guest runs on this thread now.
    fn enter_thread(&mut self) -> Result<(), EngineError> {
        check_thread_stack()?;
        self.memory.enter_thread();
        Ok(())
    }

    /// What the call did so far; valid until the next reset.
    pub fn observations(&self) -> Observations {
        let Some(guest) = &self.guest else { return Observations::default() };
        guest.state().observations
    }

    /// Gives the slot the memory of its image back. A call that has not ended is dropped.
    ///
    /// It takes a few microseconds, and belongs after the answer to the caller.
    pub fn reset(&mut self) -> Result<(), EngineError> {
        self.memory.enter_thread();
        let failed = system("resetting a slot");
        let layout = self.image.layout();
        // An instance is used on only if nothing in it differs from a new one. Its one mutable global is the stack
        // pointer, which a trap leaves where it was; and its memory can't shrink.
        let is_reusable = !self.has_trapped
            && self.guest.as_mut().is_some_and(|guest| {
                guest.stack_pointer() == layout.stack_end && guest.memory_bytes() == layout.spare_end
            });
        if !is_reusable {
            self.guest = None;
            self.memory.drop_growth().map_err(failed)?;
        }
        let failed = system("resetting a slot");
        self.memory.restore(&self.image).map_err(failed)?;
        if self.guest.is_none() {
            self.guest = Some(self.new_guest()?);
            self.has_trapped = false;
        }
        let guest = self.guest.as_mut().expect("made above, if it was gone");
        assert!(
            guest.memory_bytes() == layout.spare_end && guest.stack_pointer() == layout.stack_end,
            "a reset slot has the memory and the stack of its image"
        );
        self.outstanding.clear();
        self.state = State::Clean;
        self.resets += 1;
        if self.resets.is_multiple_of(CALLS_PER_CHECK) {
            let failed = system("checking a slot");
            assert!(
                self.memory.equals_image(&self.image).map_err(failed)?,
                "a slot differs from its image after a reset"
            );
        }
        Ok(())
    }

    fn new_guest(&self) -> Result<Guest, EngineError> {
        let memory = self.memory.prepare(Engine::HEAP_BYTES_MAX as usize);
        Guest::new(self.image.shared(), memory, HostState::new([0; 32], 0, Duration::ZERO))
    }

    /// Asks the platform about the modules; the outcome is JSON text.
    pub(crate) fn examine(
        &mut self,
        export: &str,
        question: Option<(i32, &str)>,
    ) -> Result<String, ImportError> {
        let guest = self.guest.as_mut().expect("a new slot has an instance");
        let limit_ms = self.image.shared().limits.analysis_time_ms_max;
        let time_max = Duration::from_millis(limit_ms);
        guest.set_state(HostState::new([0; 32], self.image.import_time_ms(), time_max));
        self.state = State::Used;
        let status = guest.enter(&mut CallHost { host: &mut NoHost }, |guest| match question {
            Some((kind, module)) => {
                let text = guest.put(&[module.as_bytes()])?;
                guest.call::<(i32, u32, u32), i32>(export, (kind, text, module.len() as u32))
            }
            None => guest.call::<(), i32>(export, ()),
        });
        self.has_trapped = status.is_err();
        let module = question.map_or(String::new(), |(_, module)| module.to_string());
        match status {
            Err(ended) => Err(ImportError::Killed {
                module,
                reason: ended.kill_reason(limit_ms, Engine::HEAP_BYTES_MAX),
            }),
            Ok(_) => match guest.take_outcome() {
                Some(outcome) if outcome.succeeded => Ok(outcome.text()),
                failed => Err(ImportError::Threw { module, error: parse_error(failed) }),
            },
        }
    }

    /// Whether every byte of the memory is the image's.
    #[cfg(test)]
    pub(crate) fn wholly_equals_image(&mut self) -> bool {
        self.memory.wholly_equals_image(&self.image)
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Slot").field("state", &self.state).finish_non_exhaustive()
    }
}

fn system(action: &'static str) -> impl FnOnce(io::Error) -> EngineError {
    move |source| EngineError::System { action, source }
}

/// A call's host, as the guest's requests see it.
pub(crate) struct CallHost<'a> {
    pub host: &'a mut dyn SyncHost,
}

impl Outside for CallHost<'_> {
    fn syscall(&mut self, operation: &str, arguments: &str) -> Result<String, SyscallError> {
        self.host.syscall(operation, arguments)
    }

    fn now_ms(&mut self) -> Option<f64> {
        self.host.now_ms()
    }

    fn log(&mut self, line: ConsoleLine) {
        self.host.log(line);
    }

    fn map_frames(&mut self, frames: String) -> String {
        self.host.map_frames(frames)
    }

    fn variable_is_read(&mut self, name: &str) {
        self.host.variable_is_read(name);
    }

    fn module(&mut self, _path: &str) -> Option<Vec<u8>> {
        None
    }
}
