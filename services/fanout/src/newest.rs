//! As of which moment a session is shown what it asks for anew.

use std::sync::Arc;

use contract::{GroupId, Result, Retry, Sequencer, Timestamp};
use tokio::time::{Instant, sleep};

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
        let end = Instant::now() + self.retry.give_up_after;
        let mut repetition = 0;
        loop {
            let error = match self.sequencer.latest(self.group).await {
                Ok(position) => return Ok(position.published),
                Err(error) => error,
            };
            let pause = self.retry.pause(repetition, rand::random());
            if error.retry == Retry::Never || Instant::now() + pause >= end {
                return Err(error);
            }
            sleep(pause).await;
            repetition += 1;
        }
    }
}
