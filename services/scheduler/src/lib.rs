//! Scheduled functions: finds what is due, and has it run.
//!
//! A deployment's queue is documents (`transaction::DueRow`), and nothing else: a mutation that schedules writes an entry, the run of an
//! entry deletes it in the same commit ([`contract::DueRunner`]). So nothing is lost or done twice, whatever happens to this process, and
//! two schedulers of one deployment are harmless.
//!
//! Nothing is asked for over and over. The scheduler reads the front of the queue once and follows the commit stream from that moment on; a
//! commit that schedules something for now is on its way as soon as it is published. What lies further behind is read when its time comes
//! nearer, so that its number does not matter.
//!
//! What could not be run for no fault of its own is put off, longer each time. Runs have places, of which several deployments have a share
//! each.
//!
//! Inside, `window` knows what waits and is plain data, `deployment` connects it to the stream, the clock and the runners, `upkeep` is what
//! the scheduler writes itself, `cancel` what others may ask of it ([`contract::Schedules`]). This crate knows nothing of JavaScript, HTTP or how functions run.

mod cancel;
mod clock;
mod deployment;
mod limits;
mod metrics;
#[cfg(test)]
mod properties;
mod service;
mod upkeep;
mod window;

pub use crate::limits::ScheduleLimits;
pub use clock::{Clock, WallClock};
pub use metrics::MetricsSnapshot;
pub use service::{Dependencies, Handle, Options, Service};
