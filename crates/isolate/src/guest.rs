//! The guest: one instance of the engine, and the calls into it.

use std::sync::Arc;

use wasmtime::{Global, Instance, Memory, Store, Trap, TypedFunc, WasmParams, WasmResults};

use crate::call::{Answer, KillReason, Reply};
use crate::clock::Entry;
use crate::engine::Shared;
use crate::error::{EngineError, JsError};
use crate::memory::{PreparedMemory, Reservation, with_memory};
use crate::outside::{HostState, Outcome, Outside, Stop, error_text};

/// Heap limit, kind, address of the texts, and their lengths.
type InvokeParameters = (u32, i32, u32, u32, u32, u32, u32);

/// One instance of the engine with its store.
pub struct Guest {
    store: Store<HostState>,
    instance: Instance,
    memory: Memory,
    /// Where the memory lies.
    reservation: Arc<Reservation>,
    stack_pointer: Global,
    allocate: TypedFunc<u32, u32>,
    invoke: TypedFunc<InvokeParameters, i32>,
    resolve: TypedFunc<(u32, i32, u32, u32), i32>,
    run: TypedFunc<(), i32>,
    heap_bytes: TypedFunc<(), u32>,
}

/// Why the guest did not return.
#[derive(Debug)]
pub enum Ended {
    TimedOut,
    OutOfMemory,
    StackOverflow,
    Trap(String),
}

impl Ended {
    /// A guest that was told to stop does so at its next poll, whose write then is out of bounds.
    fn from_error(error: &wasmtime::Error, was_stopped: bool) -> Ended {
        match (error.downcast_ref::<Stop>(), error.downcast_ref::<Trap>()) {
            (Some(Stop::OutOfMemory), _) => Ended::OutOfMemory,
            (Some(Stop::OutOfTime), _) => Ended::TimedOut,
            (_, Some(Trap::MemoryOutOfBounds)) if was_stopped => Ended::TimedOut,
            (_, Some(Trap::StackOverflow)) => Ended::StackOverflow,
            _ => Ended::Trap(format!("{error:#}")),
        }
    }

    /// As a caller sees it, under the limits that held.
    pub fn kill_reason(self, limit_ms: u64, limit_bytes: u64) -> KillReason {
        match self {
            Ended::TimedOut => KillReason::TimedOut { limit_ms },
            Ended::OutOfMemory => KillReason::OutOfMemory { limit_bytes },
            Ended::StackOverflow => KillReason::StackOverflow,
            Ended::Trap(text) => KillReason::Trap(text),
        }
    }
}

impl Guest {
    /// An instance over `memory`, which holds what an earlier instance left in it. Some 20 microseconds.
    pub fn new(shared: &Shared, memory: PreparedMemory, state: HostState) -> Result<Guest, EngineError> {
        let mut store = Store::new(&shared.wasmtime, state);
        let reservation = Arc::clone(&memory.reservation);
        let error = |error: wasmtime::Error| EngineError::Instantiate(format!("{error:#}"));
        let instance =
            with_memory(memory, || shared.instance_template.instantiate(&mut store)).map_err(error)?;
        let memory = instance
            .get_memory(&mut store, "memory")
            .ok_or_else(|| EngineError::Instantiate("the engine exports no memory".into()))?;
        store.data_mut().memory = Some(memory);
        let stack_pointer = instance
            .get_global(&mut store, "__stack_pointer")
            .ok_or_else(|| EngineError::Instantiate("the engine exports no stack pointer".into()))?;
        Ok(Guest {
            allocate: instance.get_typed_func(&mut store, "guest_allocate").map_err(error)?,
            invoke: instance.get_typed_func(&mut store, "guest_invoke").map_err(error)?,
            resolve: instance.get_typed_func(&mut store, "guest_resolve").map_err(error)?,
            heap_bytes: instance.get_typed_func(&mut store, "guest_heap_bytes").map_err(error)?,
            run: instance.get_typed_func(&mut store, "guest_run").map_err(error)?,
            store,
            instance,
            memory,
            reservation,
            stack_pointer,
        })
    }

    pub fn state(&self) -> &HostState {
        self.store.data()
    }

    pub fn state_mut(&mut self) -> &mut HostState {
        self.store.data_mut()
    }

    /// Replaces what belongs to a call.
    pub fn set_state(&mut self, mut state: HostState) {
        state.memory = Some(self.memory);
        *self.store.data_mut() = state;
    }

    /// The address that the stack grows down from while nothing runs.
    pub fn stack_pointer(&mut self) -> usize {
        self.stack_pointer.get(&mut self.store).i32().unwrap_or(-1) as u32 as usize
    }

    pub fn memory_bytes(&self) -> usize {
        self.memory.data_size(&self.store)
    }

    pub fn memory(&self) -> &[u8] {
        self.memory.data(&self.store)
    }

    pub fn write_memory(&mut self, address: usize, bytes: &[u8]) -> Result<(), EngineError> {
        self.memory
            .write(&mut self.store, address, bytes)
            .map_err(|error| EngineError::Instantiate(format!("filling the memory: {error}")))
    }

    /// Runs `enter` with the clock running and with `outside` behind the guest's requests. Only here may the guest run
    /// for long.
    pub fn enter<T>(
        &mut self,
        outside: &mut dyn Outside,
        enter: impl FnOnce(&mut Guest) -> wasmtime::Result<T>,
    ) -> Result<T, Ended> {
        let state = self.store.data_mut();
        let left = state.user_time_max.saturating_sub(state.observations.user_time);
        if left.is_zero() {
            return Err(Ended::TimedOut);
        }
        // SAFETY: taken back below, before `outside` can be used again. A panic on the way drops the store unused.
        unsafe { self.store.data_mut().lend(outside) };
        let entry = Entry::new(&self.reservation, left);
        let result = enter(self);
        let left = entry.leave();
        let state = self.store.data_mut();
        state.take_back();
        state.observations.user_time += left.used;
        left.can_run.map_err(|error| Ended::Trap(format!("letting the memory be used again: {error}")))?;
        result.map_err(|error| Ended::from_error(&error, left.was_stopped))
    }

    /// Copies bytes into a block of the guest's, followed by a zero.
    pub fn put(&mut self, parts: &[&[u8]]) -> wasmtime::Result<u32> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let length = u32::try_from(length).map_err(|_| Stop::OutOfMemory)?;
        let block = self.allocate.call(&mut self.store, length)?;
        let mut address = block as usize;
        for part in parts {
            self.memory.write(&mut self.store, address, part)?;
            address += part.len();
        }
        Ok(block)
    }

    /// Starts a call; `parts` are module, export, arguments and request id.
    pub fn invoke(&mut self, heap_bytes_max: u32, kind: i32, parts: [&str; 4]) -> wasmtime::Result<i32> {
        let block = self.put(&parts.map(str::as_bytes))?;
        let [module, export, arguments, request_id] = parts.map(|part| part.len() as u32);
        self.invoke
            .call(&mut self.store, (heap_bytes_max, kind, block, module, export, arguments, request_id))
    }

    /// Answers an operation; the numbers are those that guest/guest.c knows.
    pub fn resolve(&mut self, id: u32, answer: &Answer) -> wasmtime::Result<i32> {
        let error;
        let (kind, bytes) = match answer {
            Err(failure) => {
                error = error_text(failure);
                (0, error.as_bytes())
            }
            Ok(Reply::Text(text)) => (1, text.as_bytes()),
            Ok(Reply::Bytes(bytes)) => (2, bytes.as_slice()),
        };
        let block = self.put(&[bytes])?;
        self.resolve.call(&mut self.store, (id, kind, block, bytes.len() as u32))
    }

    /// Runs the jobs that are due.
    pub fn run(&mut self) -> wasmtime::Result<i32> {
        self.run.call(&mut self.store, ())
    }

    /// What the call's own region has taken, in bytes; 0 after a trap.
    pub fn heap_bytes(&mut self) -> u32 {
        self.heap_bytes.call(&mut self.store, ()).unwrap_or(0)
    }

    /// Calls one of the exports that calls don't need.
    pub fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        export: &str,
        parameters: P,
    ) -> wasmtime::Result<R> {
        let function = self.instance.get_typed_func::<P, R>(&mut self.store, export)?;
        function.call(&mut self.store, parameters)
    }

    /// The outcome of what was called last.
    pub fn take_outcome(&mut self) -> Option<Outcome> {
        self.store.data_mut().outcome.take()
    }

    /// The error that was the outcome.
    pub fn take_error(&mut self) -> Box<JsError> {
        parse_error(self.take_outcome())
    }
}

/// The error in a failed outcome.
pub fn parse_error(outcome: Option<Outcome>) -> Box<JsError> {
    let text = outcome.map(|outcome| outcome.text()).unwrap_or_default();
    Box::new(serde_json::from_str(&text).unwrap_or_else(|_| JsError {
        name: "Error".into(),
        message: text,
        stack: String::new(),
        code: None,
        convex_error_data: None,
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::on_guest_thread;
    use crate::error::ImportError;
    use crate::image::NoHost;
    use crate::slot::CallHost;

    #[test]
    fn an_access_out_of_bounds_is_no_timeout() {
        let engine = crate::Engine::new().expect("it loads");
        let ended = on_guest_thread(|| {
            let failed = |error: EngineError| ImportError::Internal(error.to_string());
            let start = &engine.shared().starting_points().map_err(failed)?.engine;
            let state = HostState::new([0; 32], 0, Duration::from_secs(10));
            let mut guest = start.resume(engine.shared(), 64 << 20, state).map_err(failed)?;
            // It reads the path, far beyond the memory's end.
            let ended = guest.enter(&mut CallHost { host: &mut NoHost }, |guest| {
                guest.call::<(u32, i32), i32>("guest_import", (0xC000_0000, 0))
            });
            Ok(ended)
        });
        let Ok(Err(Ended::Trap(text))) = ended else { panic!("{ended:?}") };
        assert!(text.contains("out of bounds"), "{text}");
    }
}
