//! Compiles modules to bytecode, in guests that are thrown away.

use std::sync::Arc;
use std::time::Duration;

use crate::bytecode::Key;
use crate::call::{ConsoleLine, SyscallError};
use crate::engine::{Shared, Snapshot, import_state};
use crate::error::ImportError;
use crate::guest::Guest;
use crate::outside::Outside;

/// How much source one guest compiles before the next one takes over. What compiling leaves behind is dropped with
/// the guest, and never gets into an image.
const SOURCE_BYTES_PER_GUEST: usize = 2 << 20;

/// Compiles modules one after another.
pub struct Compiler<'a> {
    shared: &'a Shared,
    start: &'a Snapshot,
    guest: Option<Guest>,
    compiled_bytes: usize,
}

impl<'a> Compiler<'a> {
    /// Compiles in guests that begin at `start`.
    pub fn new(shared: &'a Shared, start: &'a Snapshot) -> Compiler<'a> {
        Compiler { shared, start, guest: None, compiled_bytes: 0 }
    }

    /// The bytecode of a module, without its source text; from the cache, if it is there.
    pub fn compile(&mut self, path: &str, source: &str) -> Result<Arc<[u8]>, ImportError> {
        let key = Key::new(path, source);
        if let Some(bytecode) = self.shared.bytecode.lock().get(&key) {
            return Ok(bytecode);
        }
        let bytecode: Arc<[u8]> = self.run(path, source)?.into();
        self.shared.bytecode.lock().insert(key, Arc::clone(&bytecode));
        Ok(bytecode)
    }

    fn run(&mut self, path: &str, source: &str) -> Result<Vec<u8>, ImportError> {
        let limits = &self.shared.limits;
        let memory_bytes_max = limits.compile_memory_bytes_max;
        let guest = match &mut self.guest {
            Some(guest) => guest,
            none => {
                let time_max = Duration::from_millis(limits.compile_time_ms_max);
                let state = import_state([0; 32], 0, time_max);
                let guest = self
                    .start
                    .resume(self.shared, memory_bytes_max, state)
                    .map_err(|error| ImportError::Internal(error.to_string()))?;
                self.compiled_bytes = 0;
                none.insert(guest)
            }
        };
        self.compiled_bytes += source.len();
        let status = guest.enter(&mut NothingOutside, |guest| {
            let text = guest.put(&[path.as_bytes(), b"\0", source.as_bytes()])?;
            guest.call::<(u32, u32), i32>("guest_compile", (text, source.len() as u32))
        });
        let module = path.to_string();
        let result = match status {
            Ok(0) => Ok(guest.take_outcome().map(|outcome| outcome.bytes).unwrap_or_default()),
            Ok(_) => {
                let error = guest.take_error();
                // Specifiers that lead nowhere are found here already.
                Err(match error.name.as_str() {
                    "SyntaxError" => ImportError::Syntax { module, error },
                    _ => ImportError::Unresolved { module, error },
                })
            }
            Err(ended) => {
                let reason = ended.kill_reason(limits.compile_time_ms_max, memory_bytes_max);
                Err(ImportError::Killed { module, reason })
            }
        };
        if result.is_err() || self.compiled_bytes >= SOURCE_BYTES_PER_GUEST {
            self.guest = None;
        }
        result
    }
}

/// Compiling asks for nothing.
struct NothingOutside;

impl Outside for NothingOutside {
    fn syscall(&mut self, _operation: &str, _arguments: &str) -> Result<String, SyscallError> {
        Err(SyscallError::new("there is no host while a module is compiled"))
    }

    fn log(&mut self, _line: ConsoleLine) {}

    fn variable_is_read(&mut self, _name: &str) {}

    fn module(&mut self, _path: &str) -> Option<Vec<u8>> {
        None
    }
}
