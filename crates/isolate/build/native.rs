//! Compiles the engine's module to machine code, so that a process starts with it instead of compiling for seconds.

use crate::configuration::configuration;

/// Machine code of `module` for `target`, in wasmtime's form.
pub fn compile(module: &[u8], target: &str) -> Result<Vec<u8>, String> {
    let context = |error: wasmtime::Error| format!("compiling the engine for {target}: {error:#}");
    let mut config = configuration();
    // Naming the target keeps what this machine alone can do out of the code.
    config.target(target).map_err(context)?;
    if target.starts_with("x86_64") {
        // What servers have had since 2013 (x86-64-v3). On an older machine the engine refuses the code, and compiles
        // at its start.
        for feature in
            ["sse3", "ssse3", "sse41", "sse42", "popcnt", "avx", "avx2", "bmi1", "bmi2", "fma", "lzcnt"]
        {
            // SAFETY: code that needs a feature is loaded only where the feature is there; wasmtime checks it.
            unsafe { config.cranelift_flag_enable(&format!("has_{feature}")) };
        }
    }
    let engine = wasmtime::Engine::new(&config).map_err(context)?;
    engine.precompile_module(module).map_err(context)
}
