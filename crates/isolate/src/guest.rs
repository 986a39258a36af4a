//! The guest: one instance of the engine, and the calls into it.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Global, Instance, Memory, Store, Trap, TypedFunc, UpdateDeadline, WasmParams, WasmResults};

use crate::call::KillReason;
use crate::engine::Shared;
use crate::error::{EngineError, JsError};
use crate::memory::{PreparedMemory, with_memory};
use crate::outside::{HostState, Outcome, Outside, Stop};

/// Heap limit, kind, address of the texts, and their lengths.
type InvokeParameters = (u32, i32, u32, u32, u32, u32, u32);

/// One instance of the engine with its store.
pub struct Guest {
    store: Store<HostState>,
    instance: Instance,
    memory: Memory,
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
    fn from_error(error: &wasmtime::Error) -> Ended {
        match (error.downcast_ref::<Stop>(), error.downcast_ref::<Trap>()) {
            (Some(Stop::TimedOut), _) => Ended::TimedOut,
            (Some(Stop::OutOfMemory), _) => Ended::OutOfMemory,
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
        store.set_epoch_deadline(1);
        let limit = Arc::clone(&shared.clock);
        store.epoch_deadline_callback(move |context| {
            let state = context.data();
            let used = state.observations.user_time + limit.since_entry();
            match state.user_time_max.checked_sub(used) {
                Some(left) if !left.is_zero() => Ok(UpdateDeadline::Continue(limit.ticks(left))),
                _ => Err(Stop::TimedOut.into()),
            }
        });
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

    /// Runs `enter` with the clock running and with `outside` behind the guest's requests.
    pub fn enter<T>(
        &mut self,
        shared: &Shared,
        outside: &mut dyn Outside,
        enter: impl FnOnce(&mut Guest) -> wasmtime::Result<T>,
    ) -> Result<T, Ended> {
        let state = self.store.data_mut();
        let left = state.user_time_max.saturating_sub(state.observations.user_time);
        self.store.set_epoch_deadline(shared.clock.ticks(left));
        // SAFETY: taken back below, before `outside` can be used again. A panic on the way drops the store unused.
        unsafe { self.store.data_mut().lend(outside) };
        let entry = shared.clock.enter();
        let result = enter(self);
        let used: Duration = shared.clock.leave(entry);
        let state = self.store.data_mut();
        state.take_back();
        state.observations.user_time += used;
        result.map_err(|error| Ended::from_error(&error))
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

    /// Answers an operation.
    pub fn resolve(&mut self, id: u32, succeeded: bool, text: &[u8]) -> wasmtime::Result<i32> {
        let block = self.put(&[text])?;
        self.resolve.call(&mut self.store, (id, i32::from(succeeded), block, text.len() as u32))
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
