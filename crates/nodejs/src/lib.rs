//! Node.js processes that run the actions of an app's `"use node"` modules, and the packages that these import.
//!
//! ```text
//!   executor      what a runner holds: calls, analyses, packages
//!     ├ call      one action from its place to its outcome; what it asks for is answered by an ActionHost
//!     ├ pool      processes that sleep until they are needed again
//!     ├ code      the modules, in folders by their hash
//!     ├ packages  what npm installs for them
//!     └ process   one process: its frames, its output, its end
//!         ├ frame, message    what passes through the pipes
//!         ├ spawn             how it is started, and what it gets of this process: nothing
//!         └ family            what it has started itself
//!   program/      the JavaScript in such a process
//! ```
//!
//! A process runs one call at a time, and calls of one code of one component only, with one environment: whatever goes wrong
//! in it concerns that call and no other. Between two calls it is stopped, and takes memory but no processor time.
//!
//! This crate knows nothing of HTTP, transactions, or how the log stores things.

mod analysis;
mod call;
mod code;
mod executor;
mod family;
mod frame;
mod host;
mod limits;
mod message;
mod options;
mod outcome;
mod packages;
mod pool;
mod process;
mod program;
mod spawn;

pub use analysis::{AnalysisError, AnalysisRequest, AnalyzedFunction, ModuleAnalysis};
pub use call::{Call, Standing};
pub use code::CodeId;
pub use executor::{Executor, Metrics};
pub use host::{ActionHost, Answer, Body, ConsoleLine, Operation, OperationError};
pub use limits::NodeLimits;
pub use options::{NodeVersion, Options};
pub use outcome::{Failure, JsError, Outcome};
pub use packages::{Lock, PackagesError, PackagesId};
