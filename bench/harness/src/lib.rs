//! What the benchmarks share: callers that send HTTP requests as fast as they are answered, and the report of them.

mod callers;
mod draw;
mod report;

pub use callers::{Answer, Callers, run};
pub use draw::{Draw, Uniform, Zipf};
pub use report::{Report, ratio};
