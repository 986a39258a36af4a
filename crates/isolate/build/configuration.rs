//! How guests are compiled and run: by build.rs, which compiles, and by the engine, which loads what was compiled. The
//! two must agree.

use wasmtime::{Config, OptLevel};

/// What compiled guest code may use of its thread's stack. The guest's own limits (guest.c) are reached earlier; only
/// then is deep recursion an error that JavaScript can catch.
pub const NATIVE_STACK_BYTES_MAX: usize = 48 << 20;

/// Where guest code writes a zero behind every loop header (module.rs): while a guest is to stop, the page of this
/// address refuses it (clock.rs).
///
/// It lies below 2 GiB, so that a poll is one instruction (larger addresses take a register), and no memory grows to
/// it. So neither the host nor wasmtime's functions for copying and filling, which refuse addresses beyond a memory's
/// size, ever touch the page: it is for the guest's own instructions, whose faults are traps.
pub const POLL_ADDRESS: u32 = 0x7FFF_0000;

/// The settings of wasmtime.
pub fn configuration() -> Config {
    let mut config = Config::new();
    config
        .max_wasm_stack(NATIVE_STACK_BYTES_MAX)
        // Not used, but checked against the other.
        .async_stack_size(NATIVE_STACK_BYTES_MAX)
        .memory_init_cow(false)
        .cranelift_opt_level(OptLevel::Speed)
        // A trap is reported by its kind; frames of the engine's C code help nobody.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false);
    config
}
