//! Runs untrusted JavaScript in WebAssembly isolates that start from an image.
//!
//! The engine is QuickJS-NG, compiled to WebAssembly and run by wasmtime. The modules of a deployment are evaluated
//! once, and the memory that results is its [`Image`]. A [`Slot`] is a private mapping of an image in which one call
//! after another runs; after each call the slot is reset to the image, so that no call sees anything of another.
//!
//! A call is *stepped*: [`Slot::start`] runs the guest until it waits for the host, ends, or is killed;
//! [`Slot::resume`] brings answers. Between steps the guest is only memory: nothing of it is on the native stack, so
//! other slots may run on the same thread, and the next step may be taken on another one.
//!
//! ```no_run
//! # use isolate::*;
//! # fn answer(operation: &AsyncOperation) -> Answer { Ok("null".into()) }
//! # fn example(source: ImageSource, invocation: Invocation<'_>, host: &mut dyn SyncHost) -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::new()?;
//! let image = engine.build_image(source)?; // Blocks for as long as the modules take to evaluate.
//! // On a thread made by `thread_builder`:
//! let mut slot = Slot::new(&image)?;
//! let mut step = slot.start(&invocation, host)?;
//! while let Step::NeedsHost { operations } = step {
//!     let answers = operations.iter().map(|operation| (operation.id, answer(operation))).collect();
//!     step = slot.resume(answers, host)?;
//! }
//! let observations = slot.observations();
//! // Answer the caller first; resetting is off the response path.
//! slot.reset()?;
//! # Ok(())
//! # }
//! ```
//!
//! **Architecture invariant:** this crate knows nothing of documents, transactions or the network. Syscalls are names
//! and JSON text to it.

#![warn(missing_docs)]

mod analysis;
mod bytecode;
mod call;
mod clock;
mod collation;
mod compiler;
#[path = "../build/configuration.rs"]
mod configuration;
mod console;
mod engine;
mod error;
mod guest;
mod image;
mod import;
mod library;
mod memory;
mod outside;
mod pages;
mod platform;
mod slot;
mod slot_memory;
mod source;
mod url;

// So that the integration tests' support serves the unit tests, too.
#[cfg(test)]
extern crate self as isolate;
#[cfg(test)]
mod reset_tests;

pub use analysis::{AnalyzedFunction, Declaration, HttpRoute, ModuleAnalysis, Visibility};
pub use call::{
    Answer, AsyncOperation, CallLimits, ConsoleLevel, ConsoleLine, FunctionKind, Invocation, KillReason,
    Observations, OperationId, Reply, Step, SyncHost, SyscallError,
};
pub use engine::{Engine, EngineLimits, thread_builder};
pub use error::{EngineError, ImportError, JsError};
pub use image::Image;
pub use slot::Slot;
pub use source::{ImageSource, ImportLimits, ModuleSource, UnsetVariables, VariablesRead};
