//! The engine: what all images and slots of a process share.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use wasmtime::{InstancePre, Linker, Module};

use crate::bytecode::BytecodeCache;
use crate::clock::Ticker;
use crate::configuration::{NATIVE_STACK_BYTES_MAX, configuration};
use crate::error::{EngineError, ImportError};
use crate::guest::Guest;
use crate::image::Image;
use crate::import::{self, PlatformImporter};
use crate::memory::{PAGE_BYTES, PreparedMemories, PreparedMemory, Reservation, WASM_PAGE_BYTES};
use crate::outside::{HostState, link};
use crate::source::ImageSource;

/// The engine as machine code and as WebAssembly, and the data that its first memory holds; build.rs makes them.
const ENGINE_MACHINE_CODE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/engine-code.cwasm"));
const ENGINE_CODE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/engine-code.wasm"));
const ENGINE_DATA: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/engine-data.bin"));

/// The stack of a thread for guests: what the guest may use, and what the host needs below it.
const THREAD_STACK_BYTES: usize = NATIVE_STACK_BYTES_MAX + (4 << 20);

/// What compiling and analysing modules may use.
#[derive(Clone, Copy, Debug)]
pub struct EngineLimits {
    /// Processor time for compiling some 2 MiB of modules, or one larger module, in milliseconds.
    pub compile_time_ms_max: u64,
    /// Memory for compiling, in bytes.
    pub compile_memory_bytes_max: u64,
    /// Compiled modules that are kept, in bytes, so that a push compiles only what changed.
    pub bytecode_bytes_max: usize,
    /// Processor time for one look at what the modules of an image export, in milliseconds.
    pub analysis_time_ms_max: u64,
}

impl EngineLimits {
    /// The limits unless the configuration says otherwise. A module of 20 MB in one piece takes some ten seconds, because
    /// looking up scopes is quadratic, and the largest bundles stay below a gigabyte of memory.
    pub const DEFAULT: EngineLimits = EngineLimits {
        compile_time_ms_max: 60_000,
        compile_memory_bytes_max: 1_536 << 20,
        bytecode_bytes_max: 64 << 20,
        analysis_time_ms_max: 4_000,
    };
}

/// The compiled JavaScript engine. One per process is enough; it is cheap to clone.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

/// What images and slots hold of their engine.
pub struct Shared {
    pub wasmtime: wasmtime::Engine,
    pub instance_template: InstancePre<HostState>,
    pub bytecode: Mutex<BytecodeCache>,
    pub limits: EngineLimits,
    starting_points: OnceLock<StartingPoints>,
    _ticker: Ticker,
}

/// Memories to begin with, so that the engine and the web platform start once per process.
pub struct StartingPoints {
    /// The engine alone: modules are compiled from here.
    pub engine: Snapshot,
    /// With the web platform: images are built from here.
    pub platform: Snapshot,
}

/// The memory of a guest that is at rest.
pub struct Snapshot {
    /// Where the stack begins, below which nothing counts.
    pub stack_bytes: usize,
    /// What follows the stack.
    bytes: Vec<u8>,
}

impl Engine {
    /// The most that [`CallLimits::heap_bytes_max`](crate::CallLimits::heap_bytes_max) may be. Fixed: an isolate's memory
    /// is laid out for it.
    pub const HEAP_BYTES_MAX: u64 = 512 << 20;

    /// Loads the engine and starts the thread that watches time limits.
    pub fn new() -> Result<Engine, EngineError> {
        Engine::with_limits(EngineLimits::DEFAULT)
    }

    /// As [`Engine::new`], with other limits than the default ones for compiling and analysing.
    pub fn with_limits(limits: EngineLimits) -> Result<Engine, EngineError> {
        let load = |error: wasmtime::Error| EngineError::Load(format!("{error:#}"));
        let mut configuration = configuration();
        configuration.with_host_memory(Arc::new(PreparedMemories));
        let wasmtime = wasmtime::Engine::new(&configuration).map_err(load)?;
        let module = load_module(&wasmtime, ENGINE_MACHINE_CODE).map_err(load)?;
        let mut linker = Linker::new(&wasmtime);
        link(&mut linker).map_err(load)?;
        let instance_template = linker.instantiate_pre(&module).map_err(load)?;
        let ticker = Ticker::start()
            .map_err(|source| EngineError::System { action: "starting the isolates' clock", source })?;
        let shared = Shared {
            wasmtime,
            instance_template,
            bytecode: Mutex::new(BytecodeCache::new(limits.bytecode_bytes_max)),
            limits,
            starting_points: OnceLock::new(),
            _ticker: ticker,
        };
        Ok(Engine { shared: Arc::new(shared) })
    }

    /// Evaluates the modules and keeps what results. Blocks for as long as they run; the work is done on a thread of
    /// its own.
    pub fn build_image(&self, source: ImageSource) -> Result<Arc<Image>, ImportError> {
        self.shared.bytecode.lock().begin_image();
        on_guest_thread(|| import::build(&self.shared, &source))
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Engine")
    }
}

impl Shared {
    /// Starts the engine and the platform if this is the first time. On a thread for guests only.
    pub fn starting_points(&self) -> Result<&StartingPoints, EngineError> {
        if let Some(points) = self.starting_points.get() {
            return Ok(points);
        }
        // Two first builds at once do the work twice, and one result is kept.
        let points = self.start()?;
        Ok(self.starting_points.get_or_init(|| points))
    }

    fn start(&self) -> Result<StartingPoints, EngineError> {
        let broken = |text: String| EngineError::Load(text);
        let trapped = |error: wasmtime::Error| EngineError::Load(format!("{error:#}"));
        let mut guest = Guest::new(self, new_memory(0, u64::MAX)?, import_state([0; 32], 0, Duration::MAX))?;
        for (address, bytes) in data_segments() {
            guest.write_memory(address, bytes)?;
        }
        guest.call::<(), ()>("__wasm_call_ctors", ()).map_err(trapped)?;
        guest.call::<(), ()>("guest_start", ()).map_err(trapped)?;
        let engine = Snapshot::take(&mut guest);

        let mut importer = PlatformImporter::new(self, &engine);
        let status = guest
            .enter(&mut importer, |guest| {
                let path = guest.put(&[import::PLATFORM_MAIN.as_bytes()])?;
                guest.call::<u32, i32>("guest_load_platform", path)
            })
            .map_err(|ended| broken(format!("the web platform: {ended:?}")))?;
        if status != 0 {
            let error = importer.failure.take().unwrap_or_else(|| guest.take_error().to_string());
            return Err(broken(format!("the web platform: {error}")));
        }
        let platform = Snapshot::take(&mut guest);
        Ok(StartingPoints { engine, platform })
    }
}

impl Snapshot {
    /// The memory of a guest that is not running.
    pub fn take(guest: &mut Guest) -> Snapshot {
        let stack_bytes = guest.stack_pointer();
        // What lies below the stack's end is not kept, so nothing may run.
        assert!(
            stack_bytes.is_multiple_of(PAGE_BYTES) && stack_bytes < guest.memory_bytes(),
            "the guest is at rest"
        );
        Snapshot { stack_bytes, bytes: guest.memory()[stack_bytes..].to_vec() }
    }

    /// A guest that goes on from here. Its memory may grow to `memory_bytes_max`.
    pub fn resume(
        &self,
        shared: &Shared,
        memory_bytes_max: u64,
        state: HostState,
    ) -> Result<Guest, EngineError> {
        let memory = new_memory(self.stack_bytes + self.bytes.len(), memory_bytes_max)?;
        let mut guest = Guest::new(shared, memory, state)?;
        assert!(guest.memory_bytes() >= self.stack_bytes + self.bytes.len(), "the memory holds the snapshot");
        guest.write_memory(self.stack_bytes, &self.bytes)?;
        Ok(guest)
    }
}

/// The state of a guest that evaluates modules.
pub fn import_state(seed: [u8; 32], now_ms: u64, user_time_max: Duration) -> HostState {
    HostState::new(seed, now_ms, user_time_max)
}

/// A memory of its own, of zeros.
fn new_memory(bytes: usize, bytes_max: u64) -> Result<PreparedMemory, EngineError> {
    // The engine's module asks for its stack and its data at least.
    let bytes = bytes.max(MEMORY_BYTES_MIN);
    let prepare = || {
        let reservation = Reservation::new()?;
        reservation.open(0, bytes)?;
        Ok(reservation)
    };
    let reservation =
        prepare().map_err(|source| EngineError::System { action: "mapping a guest's memory", source })?;
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    Ok(PreparedMemory { reservation: Arc::new(reservation), bytes, bytes_max })
}

/// More than stack and data take; the engine's module says how much that is, and instantiating checks it.
const MEMORY_BYTES_MIN: usize = 160 * WASM_PAGE_BYTES;

/// The engine's code: what was compiled with this program, where the machine can run it.
fn load_module(wasmtime: &wasmtime::Engine, machine_code: &[u8]) -> wasmtime::Result<Module> {
    // SAFETY: the bytes are what wasmtime made of `ENGINE_CODE` when this program was built.
    match unsafe { Module::deserialize(wasmtime, machine_code) } {
        Ok(module) => Ok(module),
        Err(error) => {
            tracing::info!(reason = format!("{error:#}"), "compiling the JavaScript engine for this machine");
            Module::new(wasmtime, ENGINE_CODE)
        }
    }
}

fn data_segments() -> impl Iterator<Item = (usize, &'static [u8])> {
    let mut rest = ENGINE_DATA;
    std::iter::from_fn(move || {
        let (address, after) = rest.split_first_chunk::<4>()?;
        let (length, after) = after.split_first_chunk::<4>()?;
        let (bytes, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        rest = after;
        Some((u32::from_le_bytes(*address) as usize, bytes))
    })
}

/// A builder for threads on which slots can run: their stack is large enough for the deepest guest.
pub fn thread_builder(name: impl Into<String>) -> std::thread::Builder {
    std::thread::Builder::new().name(name.into()).stack_size(THREAD_STACK_BYTES)
}

/// Refuses a thread whose stack a guest could overflow.
pub fn check_thread_stack() -> Result<(), EngineError> {
    thread_local! {
        static STACK_BYTES: usize = thread_stack_bytes();
    }
    let actual_bytes = STACK_BYTES.with(|bytes| *bytes);
    if actual_bytes < THREAD_STACK_BYTES {
        return Err(EngineError::StackTooSmall { needed_bytes: THREAD_STACK_BYTES, actual_bytes });
    }
    Ok(())
}

fn thread_stack_bytes() -> usize {
    // SAFETY: the attributes are initialised by the first call, read by the second, and destroyed by the third.
    unsafe {
        let mut attributes = std::mem::zeroed();
        if libc::pthread_getattr_np(libc::pthread_self(), &mut attributes) != 0 {
            return 0;
        }
        let mut bytes = 0;
        libc::pthread_attr_getstacksize(&attributes, &mut bytes);
        libc::pthread_attr_destroy(&mut attributes);
        bytes
    }
}

/// Runs `work` on a thread for guests and waits for it.
pub fn on_guest_thread<T: Send>(
    work: impl FnOnce() -> Result<T, ImportError> + Send,
) -> Result<T, ImportError> {
    std::thread::scope(|scope| {
        let thread = thread_builder("isolate-import")
            .spawn_scoped(scope, work)
            .map_err(|error| ImportError::Internal(format!("starting a thread for the import: {error}")))?;
        thread.join().unwrap_or_else(|_| Err(ImportError::Internal("the import panicked".into())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_made_machine_code_for_this_machine() {
        let wasmtime = wasmtime::Engine::new(&configuration()).expect("the configuration is valid");
        // SAFETY: as in `load_module`.
        let loaded = unsafe { Module::deserialize(&wasmtime, ENGINE_MACHINE_CODE) };
        assert!(loaded.is_ok(), "{:?}", loaded.err());
    }

    #[test]
    fn a_machine_that_refuses_the_machine_code_compiles() {
        let wasmtime = wasmtime::Engine::new(&configuration()).expect("the configuration is valid");
        let module = load_module(&wasmtime, b"for another machine").expect("it compiles");
        assert!(module.get_export("guest_invoke").is_some());
    }
}
