//! What the benchmarks share: servers to measure and their peers, callers that send HTTP requests as fast as they are answered, and the
//! report of them.

mod callers;
mod draw;
pub mod peers;
pub mod processes;
mod report;
mod server;

pub use callers::{Answer, Callers, run};
pub use draw::{Draw, Uniform, Zipf};
pub use report::{Report, Spread, ratio};
pub use server::{Memory, Mutations, Server};
