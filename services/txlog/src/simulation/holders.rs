//! Readers who hold a moment, and read it for much longer than others are kept. As long as one has been told that it is held,
//! it can be read everywhere; and whenever it can, it is as it was.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use contract::{Hold, HoldId, Read, ReadAt};
use rand::RngExt;

use super::{caller::Caller, cluster::DOCUMENTS, documents, runtime};
use crate::model_tests::{
    client::{Given, Keys},
    history::Observation,
};

/// How long a moment is held without being renewed, where there are holders.
pub const LEASE_MS: u64 = 900;
/// How long a holder reads one moment: several times as long as others are kept.
const READS: Duration = Duration::from_secs(4);
const BETWEEN_READS: Duration = Duration::from_millis(150);
const PAUSE: Duration = Duration::from_millis(400);

pub struct Holder {
    caller: Caller,
    past: Arc<documents::Past>,
    keys: Keys,
}

impl Holder {
    pub fn new(caller: Caller, past: Arc<documents::Past>, keys: Keys) -> Holder {
        Holder { caller, past, keys }
    }

    pub async fn run(mut self, healed: Arc<AtomicBool>) {
        while !healed.load(Ordering::Relaxed) {
            self.read_one(&healed).await;
            runtime::sleep(runtime::up_to(PAUSE)).await;
        }
    }

    async fn read_one(&mut self, healed: &AtomicBool) {
        let Some((_, position)) = self.caller.position().await else { return };
        let hold = Hold { id: HoldId(runtime::random(|random| random.random())), at: position.published };
        let over = runtime::time() + runtime::up_to(READS);
        let mut held_until = Duration::ZERO;
        while runtime::time() < over && !healed.load(Ordering::Relaxed) {
            let asked = runtime::time();
            match self.caller.hold(hold).await {
                Ok(held_for) => held_until = asked + held_for,
                Err(code) => {
                    judge(&code, hold, held_until);
                    // Another one may lead.
                    self.caller.position().await;
                }
            }
            let node = self.caller.somebody().await;
            let read: Read = runtime::random(|random| self.keys.read(random));
            let results = self.caller.read(node, DOCUMENTS, ReadAt::published(hold.at), vec![read.clone()]);
            match results.await {
                Ok(results) => {
                    let given = Given::new(&read, &results[0]);
                    self.past.observed(Observation { at: hold.at, read, given });
                }
                Err(code) => judge(&code, hold, held_until),
            }
            runtime::sleep(runtime::up_to(BETWEEN_READS)).await;
        }
        self.caller.release(hold.id).await;
    }
}

/// What was refused was refused before this.
fn judge(code: &str, hold: Hold, held_until: Duration) {
    let now = runtime::time();
    let at = hold.at;
    assert!(
        code != "OutOfRetention" || now >= held_until,
        "{at} is held until {held_until:?}, and can't be read at {now:?}"
    );
}
