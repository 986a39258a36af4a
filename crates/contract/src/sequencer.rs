//! The contract of the sequencer.

use async_trait::async_trait;

use crate::{GroupId, Position, Result};

/// A read-timestamp oracle: answers what is the newest published timestamp, confirmed as Raft's ReadIndex is. It assigns
/// none (the log's leader does, when it validates a commit), and it is off the path of a mutation: only "latest" reads ask.
#[async_trait]
pub trait Sequencer: Send + Sync + 'static {
    /// A position that holds every commit which was acknowledged before this call, whichever node is asked. One
    /// confirmation by a quorum may serve many calls, but only calls that began before the confirmation did.
    async fn latest(&self, group: GroupId) -> Result<Position>;
}
