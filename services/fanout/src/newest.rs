//! As of which moment a session is shown what it asks for anew.

use std::sync::Arc;

use contract::{Error, GroupId, Result, Sequencer, Timestamp};

use crate::run::RetryOptions;

/// Asks for the newest moment of a group, again as long as nobody can say: while a new leader is elected, for example.
pub(crate) struct Newest {
    pub sequencer: Arc<dyn Sequencer>,
    pub group: GroupId,
    /// Given up after its `give_up_after`.
    pub retry: RetryOptions,
}

impl Newest {
    /// A moment that holds every commit which was acknowledged, to whomever, before this call.
    pub async fn moment(&self) -> Result<Timestamp> {
        let attempt = || self.sequencer.latest(self.group);
        let again =
            |error: &Error| tracing::debug!(%error, "the newest moment is asked for again after a pause");
        let expired = || Error::overloaded("NotYet", "Nobody could say in time what the newest moment is.");
        Ok(self.retry.until_answered(attempt, again, expired).await?.published)
    }
}
