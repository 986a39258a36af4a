//! Keeps a moment readable for as long as somebody reads it.

use std::time::Duration;

use contract::{ErrorKind, GroupId, Hold, HoldId, Timestamp};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::SystemTransactions;

/// So often it is renewed within the time for which it is held: a leader may be lost, and another one elected, in between.
const RENEWALS: u32 = 4;

/// A moment that is held until this goes.
pub struct HeldMoment {
    over: DropGuard,
    holding: JoinHandle<()>,
}

impl HeldMoment {
    /// Lets go of it, and waits until the log has heard that.
    pub async fn end(self) {
        drop(self.over);
        self.holding.await.expect("a panic ends the process");
    }
}

impl SystemTransactions {
    /// Has the log keep a moment of a group readable for longer than others, as well as it can: where nobody can be told so, what is
    /// read early enough can be read all the same. Must be called on a runtime.
    pub fn hold(&self, group: GroupId, at: Timestamp) -> HeldMoment {
        let over = CancellationToken::new();
        let holding = tokio::spawn(keep_held(self.clone(), group, at, over.clone()));
        HeldMoment { over: over.drop_guard(), holding }
    }
}

async fn keep_held(transactions: SystemTransactions, group: GroupId, at: Timestamp, over: CancellationToken) {
    let log = &transactions.log;
    let hold = Hold { id: HoldId(rand::random()), at };
    loop {
        let pause = match over.run_until_cancelled(log.hold(group, hold)).await {
            None => break,
            Some(Ok(held_for)) => held_for / RENEWALS,
            Some(Err(error)) => {
                tracing::debug!(%error, "the moment {at} of group {} is not held", group.0);
                if error.kind == ErrorKind::OutOfRetention {
                    return;
                }
                Duration::from_millis(transactions.limits.retry.not_ready_backoff_ms_max)
            }
        };
        if over.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            break;
        }
    }
    if let Err(error) = log.release(group, hold.id).await {
        tracing::debug!(%error, "the moment {at} of group {} is held until that ends by itself", group.0);
    }
}
