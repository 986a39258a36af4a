//! One confirmation for all calls that wait for it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use contract::{GroupId, Position, Result, TransactionLog};
use parking_lot::RwLock;
use tokio::sync::Mutex;

/// Confirmations of a transaction log's leaders.
///
/// Calls queue up behind the one that is confirming. Whoever comes first then confirms once, and all the others, who came
/// before that began, take its answer.
pub struct Batched {
    log: Arc<dyn TransactionLog>,
    groups: RwLock<HashMap<GroupId, Arc<Confirmations>>>,
}

#[derive(Default)]
struct Confirmations {
    /// How many have begun.
    begun: AtomicU64,
    /// The number and the answer of the last that ended.
    last: Mutex<Option<(u64, Result<Position>)>>,
}

impl Batched {
    pub fn new(log: Arc<dyn TransactionLog>) -> Batched {
        Batched { log, groups: RwLock::default() }
    }

    fn confirmations(&self, group: GroupId) -> Arc<Confirmations> {
        if let Some(confirmations) = self.groups.read().get(&group) {
            return confirmations.clone();
        }
        self.groups.write().entry(group).or_default().clone()
    }
}

impl Batched {
    /// See [`contract::Sequencer::latest`].
    pub async fn latest(&self, group: GroupId) -> Result<Position> {
        // A group that is not there must not leave anything behind.
        self.log.position(group)?;
        let confirmations = self.confirmations(group);
        let begun_before = confirmations.begun.load(Ordering::SeqCst);
        let mut last = confirmations.last.lock().await;
        if let Some((number, answer)) = &*last
            && *number > begun_before
        {
            return answer.clone();
        }
        let number = confirmations.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let answer = self.log.confirm_leadership(group).await;
        *last = Some((number, answer.clone()));
        answer
    }
}
