//! Clients that read, write and delete documents with an index, as those of the model do, and are judged in the same way:
//! what all of them saw is replayed on a plain map.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use contract::{Commit, CommitId, Read, ReadAt, Timestamp};
use parking_lot::Mutex;
use rand::RngExt;

use super::{
    caller::{Caller, Fate, Runs},
    cluster::DOCUMENTS,
    runtime,
};
use crate::{
    model_tests::{
        client::{Attempt, Documents, Given, Keys},
        history::{Observation, replay},
    },
    reads::RangeLimits,
};

/// What a page of a range read has at most.
pub const PAGE: RangeLimits = RangeLimits { rows_max: 3, bytes_max: usize::MAX };
/// Requests of each client that come when everything is healed.
const REQUESTS_AT_THE_END: u32 = 3;
const THINKING: Duration = Duration::from_millis(80);

/// What all clients together have done.
#[derive(Default)]
pub struct Past {
    attempts: Mutex<Vec<Attempt>>,
    observations: Mutex<Vec<Observation>>,
    /// Which run of which request committed when, as somebody was told.
    told: Mutex<BTreeMap<(CommitId, u32), Timestamp>>,
    /// The newest of these.
    newest: Mutex<Timestamp>,
}

impl Past {
    fn committed(&self, id: CommitId, run: u32, timestamp: Timestamp, above: Timestamp) {
        runtime::note(format_args!("{id:?} run {run} at {timestamp}"));
        let before = self.told.lock().insert((id, run), timestamp);
        assert!(before.is_none_or(|before| before == timestamp), "{id:?} at {before:?} and at {timestamp}");
        self.acknowledged(timestamp, above);
    }

    /// A commit comes behind all that were acknowledged before it was sent.
    fn acknowledged(&self, timestamp: Timestamp, above: Timestamp) {
        assert!(timestamp >= above, "{timestamp} was given to a request that was sent when {above} was");
        let mut newest = self.newest.lock();
        *newest = newest.max(timestamp);
    }

    pub fn observed(&self, observation: Observation) {
        self.observations.lock().push(observation);
    }

    pub fn newest(&self) -> Timestamp {
        *self.newest.lock()
    }

    pub fn commits(&self) -> usize {
        self.told.lock().len()
    }

    /// Holds what everybody was told and saw against each other, and against what is recorded; what there is in the end.
    pub fn judge(&self, recorded: &BTreeMap<Timestamp, (CommitId, u32)>) -> Result<Documents, String> {
        let attempts = self.attempts.lock();
        let by_run: BTreeMap<(CommitId, u32), usize> =
            attempts.iter().enumerate().map(|(number, it)| ((it.id, it.run), number)).collect();
        let mut history = BTreeMap::new();
        for (run, timestamp) in &*self.told.lock() {
            if recorded.get(timestamp) != Some(run) {
                return Err(format!("{run:?} was acknowledged at {timestamp} and is lost"));
            }
            if let Some(other) = history.insert(*timestamp, by_run[run]) {
                return Err(format!("{timestamp} was given to {run:?} and to attempt {other}"));
            }
        }
        if let Some((at, run)) = recorded.iter().find(|(at, _)| !history.contains_key(at)) {
            return Err(format!("{run:?} has committed at {at}, and nobody was told"));
        }
        replay(&history, &attempts, &self.observations.lock(), PAGE)
    }
}

pub struct Client {
    caller: Caller,
    past: Arc<Past>,
    keys: Keys,
    /// Nothing older is shown to it again.
    seen: Timestamp,
}

impl Client {
    pub fn new(caller: Caller, past: Arc<Past>, keys: Keys) -> Client {
        Client { caller, past, keys, seen: Timestamp::ZERO }
    }

    pub async fn run(mut self, healed: Arc<AtomicBool>) {
        let mut at_the_end = 0;
        while at_the_end < REQUESTS_AT_THE_END {
            at_the_end += u32::from(healed.load(Ordering::Relaxed));
            self.request().await;
            if runtime::happens(400) {
                self.observe().await;
            }
            runtime::sleep(runtime::up_to(THINKING)).await;
        }
    }

    /// Runs a request until it is certain what became of it.
    async fn request(&mut self) {
        let id = CommitId(runtime::random(|random| random.random()));
        let above = self.past.newest();
        let mut runs = Runs::new();
        let mut run_again_at: Option<ReadAt> = None;
        loop {
            let run = runs.begin();
            let Some((node, position)) = self.caller.position().await else { continue };
            let begin = run_again_at.take().unwrap_or(ReadAt::published(position.published));
            if begin.epoch.is_none() && begin.timestamp < self.seen {
                // A replica that is behind.
                runtime::sleep(runtime::up_to(Duration::from_millis(5))).await;
                continue;
            }
            let epoch = begin.epoch.unwrap_or(position.epoch);
            let mut attempt = Attempt::new(id, run, epoch, begin);
            runtime::random(|random| attempt.plan(&self.keys, random));
            if !self.read(&mut attempt, node, &mut runs).await {
                continue;
            }
            let number = {
                let mut attempts = self.past.attempts.lock();
                let number = attempts.len();
                runtime::random(|random| attempt.decide(number as u64, &self.keys, random));
                attempts.push(attempt.clone());
                number
            };
            let request = attempt.request.as_ref().expect("it has read all");
            let commit = Commit {
                deployment: DOCUMENTS,
                epoch,
                id,
                run,
                begin,
                read_set: request.read_set.clone(),
                writes: request.writes.to_vec(),
            };
            let is_read_only = commit.writes.is_empty();
            match self.caller.settle(&mut runs, commit).await {
                Fate::Committed(timestamp) => {
                    if is_read_only {
                        self.past.attempts.lock()[number].held_at = Some(timestamp);
                        self.past.acknowledged(timestamp, above);
                    } else {
                        self.past.committed(id, run, timestamp, above);
                    }
                    self.seen = self.seen.max(timestamp);
                    if !is_read_only || !runs.may_have_written {
                        return;
                    }
                }
                Fate::OtherRunCommitted(timestamp, run) => {
                    self.past.committed(id, run, timestamp, above);
                    self.seen = self.seen.max(timestamp);
                    return;
                }
                Fate::Conflict(at) => {
                    self.past.attempts.lock()[number].never = true;
                    run_again_at = Some(at);
                }
                Fate::LostLeader => self.past.attempts.lock()[number].never = runs.never,
                Fate::Refused => {}
            }
        }
    }

    /// Whether everything could be read. What is published can be read anywhere.
    async fn read(&mut self, attempt: &mut Attempt, leader: u64, runs: &mut Runs) -> bool {
        let anywhere = attempt.begin.epoch.is_none() && runtime::happens(500);
        let node = if anywhere { self.caller.somebody().await } else { leader };
        while let Some(read) = attempt.to_read.pop() {
            match self.caller.read(node, DOCUMENTS, attempt.begin, vec![read.clone()]).await {
                Ok(results) => attempt.has_read(read, &results[0]),
                Err(code) => {
                    if code == "EpochEnded" {
                        self.caller.epoch_ended(runs);
                    }
                    return false;
                }
            }
        }
        true
    }

    /// Reads what is published somewhere, now or a moment ago.
    async fn observe(&mut self) {
        let node = self.caller.somebody().await;
        let published = self.caller.call(node, |server: super::network::Server| async move {
            (server.group.published(), server.group.horizon())
        });
        let Some((published, horizon)) = published.await else { return };
        // A little below what can be read as well: then it is refused, or right all the same.
        let oldest = horizon.as_nanoseconds().saturating_sub(100_000_000);
        let at = match runtime::happens(500) {
            true => published,
            false => {
                let at = oldest..=published.as_nanoseconds();
                Timestamp::new(runtime::random(|random| random.random_range(at))).expect("in range")
            }
        };
        let read: Read = runtime::random(|random| self.keys.read(random));
        let node = self.caller.somebody().await;
        if let Ok(results) =
            self.caller.read(node, DOCUMENTS, ReadAt::published(at), vec![read.clone()]).await
        {
            let given = Given::new(&read, &results[0]);
            self.past.observed(Observation { at, read, given });
        }
    }
}
