//! What the log takes of the asynchronous runtime: tasks, work that blocks, and time. In one place, so that a simulation
//! can hold them; what runs outside of one has tokio's.

#[cfg(not(test))]
pub use openraft::impls::TokioRuntime as RaftRuntime;
#[cfg(not(test))]
pub use tokio::{
    task::{JoinError, JoinHandle, spawn, spawn_blocking},
    time::{Instant, sleep, timeout},
};

#[cfg(test)]
pub use crate::simulation::runtime::{
    Instant, JoinError, JoinHandle, SimulatedRuntime as RaftRuntime, is_simulated, sleep, spawn,
    spawn_blocking, timeout,
};
