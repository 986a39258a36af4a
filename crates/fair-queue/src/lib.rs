//! What the deployments of a process share, so that none of them stalls its neighbours.
//!
//! [`Shares`] are what the directory says of single deployments. [`FairQueue`] is a queue in which deployments take turns. [`Places`] is a semaphore with such a queue in front: one
//! deployment never holds more than its share of the places, and whoever waits is served in its deployment's turn.

mod places;
mod queue;
mod shares;

pub use places::{Place, Places, share_of};
pub use queue::FairQueue;
pub use shares::Shares;
