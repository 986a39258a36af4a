//! "Latest" reads at the nearest replica.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use contract::{GroupId, Position, Result, Sequencer, TransactionLog as _};
use tokio::time::timeout;

use crate::router::Router;

/// A sequencer whose answers can be read at the nearest replica without waiting: it passes on what another one answers, once that
/// is published there.
pub struct NearSequencer {
    sequencer: Arc<dyn Sequencer>,
    router: Router,
}

impl NearSequencer {
    /// `sequencer` confirms at the leaders, one confirmation for all calls that wait.
    pub fn new(sequencer: Arc<dyn Sequencer>, router: Router) -> NearSequencer {
        NearSequencer { sequencer, router }
    }
}

#[async_trait]
impl Sequencer for NearSequencer {
    async fn latest(&self, group: GroupId) -> Result<Position> {
        let confirmed = self.sequencer.latest(group).await?;
        let of = self.router.group(group)?;
        let mut position = self.router.position(group)?;
        let published = position.wait_for(|position| position.published >= confirmed.published);
        let wait_max = Duration::from_millis(of.limits.publish_wait_ms_max);
        if timeout(wait_max, published).await.is_err()
            && let Some(nearest) = of.by_nearness().first()
        {
            // It does not follow, or not fast enough. Another one answers what is read there.
            of.failed(nearest);
        }
        Ok(confirmed)
    }
}
