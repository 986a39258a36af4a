//! Builds images: evaluates modules in a guest, and keeps its memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::call::{ConsoleLine, SyscallError};
use crate::compiler::Compiler;
use crate::engine::{Shared, Snapshot, import_state};
use crate::error::{EngineError, ImportError, JsError};
use crate::guest::{Guest, parse_error};
use crate::image::Image;
use crate::memory::WASM_PAGE_BYTES;
use crate::outside::Outside;
use crate::platform;
use crate::source::{ImageSource, ModuleSource, UnsetVariables, VariablesRead};

/// Paths that begin so belong to the platform.
const PLATFORM_PREFIX: &str = "tidemark:";

/// The module with what the guest calls.
pub const PLATFORM_MAIN: &str = "tidemark:main";

/// Memory that a slot holds ready for a call, beyond the image: usual calls never grow their memory.
const SPARE_BYTES: usize = 4 << 20;

/// The error code by which the platform tells that an unset variable was read.
const MISSING_VARIABLE: &str = "AuthConfigMissingEnvironmentVariable";

/// Builds an image. On a thread for guests only.
pub fn build(shared: &Arc<Shared>, source: &ImageSource) -> Result<Arc<Image>, ImportError> {
    let internal = |error: EngineError| ImportError::Internal(error.to_string());
    let modules = index(&source.modules)?;
    let starting_points = shared.starting_points().map_err(internal)?;
    let limits = source.limits;
    let state = import_state(
        source.import_seed,
        source.import_time_ms,
        Duration::from_millis(limits.user_time_ms_max),
    );
    let mut guest =
        starting_points.platform.resume(shared, limits.memory_bytes_max, state).map_err(internal)?;
    let mut importer = ModuleImporter {
        modules,
        compiler: Compiler::new(shared, &starting_points.engine),
        failure: None,
        variables_read: VariablesRead::default(),
    };

    let settings = serde_json::json!({
        "environment": source.environment,
        "unsetVariablesFail": source.unset_variables == UnsetVariables::Fail,
    })
    .to_string();
    let mut run = |guest: &mut Guest, module: &str, export: &str, text: &[u8], flag: i32| {
        let status = guest.enter(&mut importer, |guest| {
            let text = guest.put(&[text])?;
            guest.call::<(u32, i32), i32>(export, (text, flag))
        });
        // Also what succeeds can leave a failure behind: a rejection that nobody handled.
        let outcome = guest.take_outcome();
        match (status, importer.failure.take()) {
            (Ok(0), _) if outcome.is_none() => Ok(()),
            (_, Some(failure)) => Err(failure),
            (Ok(_), None) => Err(thrown(module, parse_error(outcome))),
            (Err(ended), None) => Err(ImportError::Killed {
                module: module.to_string(),
                reason: ended.kill_reason(limits.user_time_ms_max, limits.memory_bytes_max),
            }),
        }
    };
    run(&mut guest, PLATFORM_MAIN, "guest_configure", settings.as_bytes(), settings.len() as i32)?;
    for module in source.modules.iter().filter(|module| module.is_entry_point) {
        run(&mut guest, &module.path, "guest_import", module.path.as_bytes(), 1)?;
    }

    let pages = (SPARE_BYTES / WASM_PAGE_BYTES) as u32;
    let sealed = guest.enter(&mut importer, |guest| {
        guest.call::<(u32, i32), u32>("guest_seal", (pages, source.native_values.into()))
    });
    let sealed_bytes = sealed.map_err(|ended| ImportError::Killed {
        module: PLATFORM_MAIN.to_string(),
        reason: ended.kill_reason(limits.user_time_ms_max, limits.memory_bytes_max),
    })?;
    let (import_time_ms, variables_read) = (source.import_time_ms, importer.variables_read);
    Image::new(Arc::clone(shared), &mut guest, sealed_bytes as usize, import_time_ms, variables_read)
        .map(Arc::new)
        .map_err(internal)
}

/// The modules by path.
fn index(modules: &[ModuleSource]) -> Result<HashMap<&str, &str>, ImportError> {
    let mut index = HashMap::with_capacity(modules.len());
    for module in modules {
        let path = module.path.as_str();
        let invalid = |reason| Err(ImportError::InvalidPath { path: path.to_string(), reason });
        if path.is_empty() || path.starts_with(['/', '.']) {
            return invalid("the path of a module is relative and does not begin with a dot");
        }
        if path.starts_with(PLATFORM_PREFIX) {
            return invalid("this path is reserved");
        }
        if path.contains('\0') {
            return invalid("a path has no null character");
        }
        if index.insert(path, module.source.as_str()).is_some() {
            return invalid("there are two modules of this path");
        }
    }
    Ok(index)
}

/// What a module threw while it was evaluated or linked.
fn thrown(module: &str, error: Box<JsError>) -> ImportError {
    let module = module.to_string();
    if error.code.as_deref() == Some(MISSING_VARIABLE) {
        return ImportError::MissingEnvironmentVariable { module, variable: error.message };
    }
    // The loader's own text (guest.c).
    if error.name == "ReferenceError" && error.message.starts_with("could not resolve \"") {
        return ImportError::Unresolved { module, error };
    }
    // Linking reports a missing export this way; evaluation can't fail so, since `eval` has a stack.
    if error.name == "SyntaxError" && error.stack.is_empty() {
        return ImportError::Unresolved { module, error };
    }
    ImportError::Threw { module, error }
}

/// Compiles the modules that the guest imports.
struct ModuleImporter<'a> {
    modules: HashMap<&'a str, &'a str>,
    compiler: Compiler<'a>,
    /// Why a module could not be compiled.
    failure: Option<ImportError>,
    variables_read: VariablesRead,
}

impl Outside for ModuleImporter<'_> {
    fn syscall(&mut self, operation: &str, _arguments: &str) -> Result<String, SyscallError> {
        // The platform refuses syscalls at import before they get here.
        Err(SyscallError::new(format!("{operation} is not available while modules are imported")))
    }

    fn log(&mut self, line: ConsoleLine) {
        tracing::debug!(level = line.level.as_str(), text = line.messages.join(" "), "console at import");
    }

    fn variable_is_read(&mut self, name: &str) {
        self.variables_read.note(name);
    }

    fn module(&mut self, path: &str) -> Option<Vec<u8>> {
        let source = self.modules.get(path)?;
        match self.compiler.compile(path, source) {
            Ok(bytecode) => Some(bytecode.to_vec()),
            Err(failure) => {
                self.failure = Some(failure);
                None
            }
        }
    }
}

/// Compiles the modules of the platform.
pub struct PlatformImporter<'a> {
    compiler: Compiler<'a>,
    /// Why a module could not be compiled.
    pub failure: Option<String>,
}

impl<'a> PlatformImporter<'a> {
    pub fn new(shared: &'a Shared, engine: &'a Snapshot) -> PlatformImporter<'a> {
        PlatformImporter { compiler: Compiler::new(shared, engine), failure: None }
    }
}

impl Outside for PlatformImporter<'_> {
    fn syscall(&mut self, operation: &str, _arguments: &str) -> Result<String, SyscallError> {
        Err(SyscallError::new(format!("the platform asked for {operation} while it started")))
    }

    fn log(&mut self, _line: ConsoleLine) {}

    fn variable_is_read(&mut self, _name: &str) {}

    fn module(&mut self, path: &str) -> Option<Vec<u8>> {
        let source = platform::source(path.strip_prefix(PLATFORM_PREFIX)?)?;
        match self.compiler.compile(path, source) {
            Ok(bytecode) => Some(bytecode.to_vec()),
            Err(failure) => {
                self.failure = Some(failure.to_string());
                None
            }
        }
    }
}
