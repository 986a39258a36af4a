//! What the guest can reach while it runs: the imports of its module.

use std::ptr::NonNull;
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use wasmtime::{Caller, Linker, Memory};

use crate::call::{AsyncOperation, CallLimits, ConsoleLine, Observations, OperationId, SyscallError};
use crate::console::Console;
use crate::{clock, collation, library, url};

/// What stands behind the guest's requests: a call's host, or the importer of modules.
pub trait Outside {
    /// Answers a synchronous syscall.
    fn syscall(&mut self, operation: &str, arguments: &str) -> Result<String, SyscallError>;
    /// The time, if it passes.
    fn now_ms(&mut self) -> Option<f64> {
        None
    }
    /// Takes a line of the console.
    fn log(&mut self, line: ConsoleLine);
    /// Frames of a stack in terms of the files that people wrote.
    fn map_frames(&mut self, frames: String) -> String {
        frames
    }
    /// Takes note that an environment variable is read, set or not; all of them if the name is empty.
    fn variable_is_read(&mut self, name: &str);
    /// The bytecode of a module that the guest imports.
    fn module(&mut self, path: &str) -> Option<Vec<u8>>;
}

/// The data of a store: what one call has produced and may use. Made anew for each call.
pub struct HostState {
    /// Set right after instantiation.
    pub memory: Option<Memory>,
    /// Operations that were issued and not yet handed to the host.
    pub operations: Vec<AsyncOperation>,
    /// What the guest handed over. A failure is never replaced by a success.
    pub outcome: Option<Outcome>,
    /// What the guest handed over of an outcome that is not complete yet.
    outcome_parts: Vec<u8>,
    pub observations: Observations,
    /// Ends the guest, when it has used that much processor time.
    pub user_time_max: Duration,
    console: Console,
    random: ChaCha12Rng,
    now_ms: u64,
    /// The answer that `take` copies next.
    answer: Vec<u8>,
    outside: Option<OutsidePointer>,
}

/// What a run of the guest ends with.
#[derive(Debug)]
pub struct Outcome {
    pub succeeded: bool,
    pub bytes: Vec<u8>,
}

impl Outcome {
    pub fn text(self) -> String {
        String::from_utf8(self.bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

/// Why the host ends the guest in the middle of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    #[error("out of memory")]
    OutOfMemory,
    #[error("out of time")]
    OutOfTime,
}

/// Points to whoever waits for the guest to return.
struct OutsidePointer(NonNull<dyn Outside>);

// SAFETY: it is set and used only while `HostState::lend` is on the stack of the one thread that runs the guest.
unsafe impl Send for OutsidePointer {}
// SAFETY: as above.
unsafe impl Sync for OutsidePointer {}

impl HostState {
    pub fn new(seed: [u8; 32], now_ms: u64, user_time_max: Duration) -> HostState {
        HostState {
            memory: None,
            operations: Vec::new(),
            outcome: None,
            outcome_parts: Vec::new(),
            observations: Observations::default(),
            user_time_max,
            console: Console::new(&CallLimits::default()),
            random: ChaCha12Rng::from_seed(seed),
            now_ms,
            answer: Vec::new(),
            outside: None,
        }
    }

    pub fn set_now_ms(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// For a call.
    pub fn of_call(seed: [u8; 32], now_ms: u64, limits: &CallLimits) -> HostState {
        let time_max = Duration::from_millis(limits.user_time_ms_max);
        HostState { console: Console::new(limits), ..HostState::new(seed, now_ms, time_max) }
    }

    /// Makes `outside` answer the guest until [`HostState::take_back`].
    ///
    /// # Safety
    /// The caller must call `take_back` before `outside` goes away or is used otherwise.
    pub unsafe fn lend(&mut self, outside: &mut (dyn Outside + '_)) {
        let pointer: NonNull<dyn Outside + '_> = NonNull::from(outside);
        // SAFETY: only the lifetime changes; the caller keeps to it.
        let pointer = unsafe {
            std::mem::transmute::<NonNull<dyn Outside + '_>, NonNull<dyn Outside + 'static>>(pointer)
        };
        self.outside = Some(OutsidePointer(pointer));
    }

    pub fn take_back(&mut self) {
        self.outside = None;
    }

    fn outside(&mut self) -> wasmtime::Result<&mut (dyn Outside + 'static)> {
        let pointer = self.outside.as_mut().ok_or_else(|| wasmtime::Error::msg("nobody runs the guest"))?;
        // SAFETY: lent, so alive, and the guest runs on the only thread that could use it.
        Ok(unsafe { pointer.0.as_mut() })
    }

    /// What `crypto.subtle` needs computed. On this thread, so that it counts as the call's own time, and ends with it.
    fn cryptography(&mut self, operation: &[u8], data: Vec<u8>) -> wasmtime::Result<Result<String, String>> {
        let failure = |name: &str, message: String| {
            Ok(Err(serde_json::json!({ "message": message, "name": name }).to_string()))
        };
        let request = match web_crypto::Request::parse(operation, data) {
            Ok(request) => request,
            // A script that teaches all objects `toJSON` can spoil what the platform asks for.
            Err(error) => return failure("TypeError", error.to_string()),
        };
        self.observations.randomness |= request.operation.is_randomised();
        match request.run(&mut self.random, &clock::is_over) {
            Ok(answer) => Ok(Ok(answer.to_text())),
            Err(web_crypto::Error::OutOfTime) => Err(Stop::OutOfTime.into()),
            Err(error) => failure(error.name(), error.to_string()),
        }
    }

    /// Answers a request of the platform's scripts; the numbers are those of platform/requests.js.
    fn request(&mut self, kind: i32, a: &[u8], b: Vec<u8>) -> wasmtime::Result<Result<String, String>> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(match kind {
            0 => {
                let (operation, arguments) = (text(a), text(&b));
                self.outside()?.syscall(&operation, &arguments).map_err(|error| error_text(&error))
            }
            1 => {
                if let Some(line) = self.console.line(a, &b) {
                    self.outside()?.log(line);
                }
                Ok(String::new())
            }
            2 => url::parse(&text(a), &text(&b)),
            3 => url::set(&text(a), &b),
            4 => self.cryptography(a, b)?,
            5 => Ok(self.outside()?.map_frames(text(a))),
            6 => collation::compare(a, &b),
            7 => intl::answer(a, &b).map_err(|error| {
                serde_json::json!({ "message": error.to_string(), "name": error.name() }).to_string()
            }),
            14 => Ok(library::recognise(a)),
            15 => {
                self.outside()?.variable_is_read(&text(a));
                Ok(String::new())
            }
            _ => return Err(wasmtime::Error::msg(format!("the platform made a request of kind {kind}"))),
        })
    }
}

/// A syscall's error as platform/errors.js reads it.
pub fn error_text(error: &SyscallError) -> String {
    serde_json::json!({ "message": error.message, "data": error.data }).to_string()
}

/// Defines the imports of the engine's module (guest/host.h).
pub fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker
        .func_wrap("host", "out_of_memory", || -> wasmtime::Result<()> { Err(Stop::OutOfMemory.into()) })?;
    linker.func_wrap(
        "host",
        "request",
        |mut caller: Caller<'_, HostState>, kind: i32, a: u32, a_length: u32, b: u32, b_length: u32| {
            let (a, b) = (read(&caller, a, a_length)?.to_vec(), read(&caller, b, b_length)?.to_vec());
            let state = caller.data_mut();
            let (answer, failed) = match state.request(kind, &a, b)? {
                Ok(answer) => (answer, false),
                Err(error) => (error, true),
            };
            state.answer = answer.into_bytes();
            let length = i32::try_from(state.answer.len()).map_err(|_| Stop::OutOfMemory)?;
            wasmtime::Result::Ok(if failed { !length } else { length })
        },
    )?;
    linker.func_wrap("host", "take", |mut caller: Caller<'_, HostState>, destination: u32| {
        let answer = std::mem::take(&mut caller.data_mut().answer);
        write(&mut caller, destination, &answer)
    })?;
    linker.func_wrap(
        "host",
        "operation",
        |mut caller: Caller<'_, HostState>,
         id: u32,
         name: u32,
         name_length: u32,
         text: u32,
         text_length: u32,
         body: u32,
         body_length: u32| {
            let name = String::from_utf8_lossy(read(&caller, name, name_length)?).into_owned();
            let arguments = String::from_utf8_lossy(read(&caller, text, text_length)?).into_owned();
            let body = read(&caller, body, body_length)?.to_vec();
            caller.data_mut().operations.push(AsyncOperation { id: OperationId(id), name, arguments, body });
            wasmtime::Result::Ok(())
        },
    )?;
    linker.func_wrap(
        "host",
        "outcome_part",
        |mut caller: Caller<'_, HostState>, bytes: u32, length: u32| {
            let mut parts = std::mem::take(&mut caller.data_mut().outcome_parts);
            parts.extend_from_slice(read(&caller, bytes, length)?);
            caller.data_mut().outcome_parts = parts;
            wasmtime::Result::Ok(())
        },
    )?;
    linker.func_wrap(
        "host",
        "outcome",
        |mut caller: Caller<'_, HostState>, succeeded: i32, bytes: u32, length: u32| {
            let mut parts = std::mem::take(&mut caller.data_mut().outcome_parts);
            parts.extend_from_slice(read(&caller, bytes, length)?);
            let bytes = parts;
            let outcome = &mut caller.data_mut().outcome;
            if outcome.as_ref().is_none_or(|outcome| outcome.succeeded) {
                *outcome = Some(Outcome { succeeded: succeeded != 0, bytes });
            }
            wasmtime::Result::Ok(())
        },
    )?;
    linker.func_wrap(
        "host",
        "random",
        |mut caller: Caller<'_, HostState>, destination: u32, length: u32| {
            let state = caller.data_mut();
            state.observations.randomness = true;
            // The guest has allocated as much already, so its memory limit bounds this.
            let mut bytes = vec![0; length as usize];
            state.random.fill_bytes(&mut bytes);
            write(&mut caller, destination, &bytes)
        },
    )?;
    linker.func_wrap("host", "now", |mut caller: Caller<'_, HostState>| -> f64 { now_ms(&mut caller) })?;
    linker.func_wrap(
        "host",
        "module",
        |mut caller: Caller<'_, HostState>, path: u32, length: u32| -> wasmtime::Result<i32> {
            let path = String::from_utf8_lossy(read(&caller, path, length)?).into_owned();
            let state = caller.data_mut();
            let Some(bytecode) = state.outside()?.module(&path) else { return Ok(-1) };
            let length = i32::try_from(bytecode.len()).map_err(|_| Stop::OutOfMemory)?;
            state.answer = bytecode;
            Ok(length)
        },
    )?;
    // The C library's clock, which `Date` reads.
    linker.func_wrap("env", "__rquickjs_host_now_us", |mut caller: Caller<'_, HostState>| -> f64 {
        now_ms(&mut caller) * 1000.0
    })?;
    Ok(())
}

fn now_ms(caller: &mut Caller<'_, HostState>) -> f64 {
    let state = caller.data_mut();
    state.observations.time = true;
    // The engine reads it while it is made, too, when nobody stands behind it.
    let passing = state.outside().ok().and_then(|outside| outside.now_ms());
    passing.unwrap_or(state.now_ms as f64)
}

fn read<'a>(caller: &'a Caller<'_, HostState>, address: u32, length: u32) -> wasmtime::Result<&'a [u8]> {
    let memory = caller.data().memory.ok_or_else(|| wasmtime::Error::msg("the guest has no memory"))?;
    let start = address as usize;
    memory
        .data(caller)
        .get(start..start + length as usize)
        .ok_or_else(|| wasmtime::Error::msg("the guest named an address outside of its memory"))
}

fn write(caller: &mut Caller<'_, HostState>, address: u32, bytes: &[u8]) -> wasmtime::Result<()> {
    let memory = caller.data().memory.ok_or_else(|| wasmtime::Error::msg("the guest has no memory"))?;
    memory.write(caller, address as usize, bytes)?;
    Ok(())
}
