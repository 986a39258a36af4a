//! The commits whose fate is open, who waits for it, and what became of those decided lately.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use contract::{CommitId, CommitOutcome, DeploymentId, Lookup, Timestamp, Write};

use crate::planted;

/// Commits by id and by timestamp. `W` is whoever waits for the answer. Pure.
///
/// A commit's id stays known for as long as its commit is in the window: a request that was looked up in the store
/// before it was decided, and comes here after, must not be taken for a new one.
#[derive(Debug)]
pub struct Undecided<W> {
    by_timestamp: BTreeMap<Timestamp, OpenCommit<W>>,
    by_id: HashMap<(DeploymentId, CommitId), Committed>,
    decided: BTreeMap<Timestamp, (DeploymentId, CommitId)>,
    /// Of all open commits.
    taken: Taken,
    /// Of those of each deployment that has some.
    by_deployment: HashMap<DeploymentId, Taken>,
}

/// How many commits are open, and the memory that they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    pub commits: usize,
    pub bytes: usize,
}

/// When which run of a request committed, or will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    pub timestamp: Timestamp,
    pub run: u32,
}

impl Committed {
    /// What this run of the same request is told.
    pub fn outcome_for(self, run: u32) -> CommitOutcome {
        let timestamp = self.timestamp;
        if run == self.run || planted::is(planted::Bug::RecordForgetsRun) {
            CommitOutcome::Committed { timestamp }
        } else {
            CommitOutcome::OtherRunCommitted { timestamp }
        }
    }

    pub fn lookup(self) -> Lookup {
        Lookup::Committed { timestamp: self.timestamp, run: self.run }
    }
}

#[derive(Debug)]
pub struct OpenCommit<W> {
    pub deployment: DeploymentId,
    pub id: CommitId,
    pub run: u32,
    /// What it will write, for taking it out of the overlay.
    pub writes: Arc<[Write]>,
    /// Memory that it takes until it is decided.
    pub bytes: usize,
    /// Each with the run that it waits for.
    pub waiters: Vec<(u32, W)>,
}

/// What is known of a commit id here; the store knows the older ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    Undecided(Timestamp),
    Committed(Committed),
    No,
}

impl<W> Default for Undecided<W> {
    fn default() -> Self {
        Undecided {
            by_timestamp: BTreeMap::new(),
            by_id: HashMap::new(),
            decided: BTreeMap::new(),
            taken: Taken::default(),
            by_deployment: HashMap::new(),
        }
    }
}

impl<W> Undecided<W> {
    pub fn len(&self) -> usize {
        self.by_timestamp.len()
    }

    /// What all open commits take.
    pub fn taken(&self) -> Taken {
        self.taken
    }

    /// What those of a deployment take.
    pub fn taken_by(&self, deployment: DeploymentId) -> Taken {
        self.by_deployment.get(&deployment).copied().unwrap_or_default()
    }

    /// What holds between any two calls.
    pub fn assert_holds(&self) {
        assert_eq!(self.taken.commits, self.by_timestamp.len(), "what is open is counted, and nothing else");
        assert!(self.taken.bytes == 0 || self.taken.commits > 0, "nothing that is decided is counted");
        assert!(self.by_deployment.len() <= self.taken.commits, "whoever is counted has something");
        let known = self.by_timestamp.len() + self.decided.len();
        assert!(self.by_id.len() <= known, "an id is known for as long as its commit");
    }

    pub fn known(&self, deployment: DeploymentId, id: CommitId) -> Known {
        match self.by_id.get(&(deployment, id)) {
            None => Known::No,
            Some(known) if self.by_timestamp.contains_key(&known.timestamp) => {
                if planted::is(planted::Bug::LookupDeniesPending) {
                    return Known::No;
                }
                Known::Undecided(known.timestamp)
            }
            Some(committed) => Known::Committed(*committed),
        }
    }

    /// Whether this commit is on its way here.
    pub fn is_open(&self, timestamp: Timestamp, deployment: DeploymentId, id: CommitId) -> bool {
        let open = self.by_timestamp.get(&timestamp);
        open.is_some_and(|commit| commit.deployment == deployment && commit.id == id)
    }

    pub fn add(&mut self, timestamp: Timestamp, commit: OpenCommit<W>) {
        self.by_id.insert((commit.deployment, commit.id), Committed { timestamp, run: commit.run });
        self.taken.commits += 1;
        self.taken.bytes += commit.bytes;
        let of_deployment = self.by_deployment.entry(commit.deployment).or_default();
        of_deployment.commits += 1;
        of_deployment.bytes += commit.bytes;
        let other = self.by_timestamp.insert(timestamp, commit);
        assert!(other.is_none(), "{timestamp} is given twice");
    }

    pub fn join(&mut self, timestamp: Timestamp, run: u32, waiter: W) {
        if let Some(commit) = self.by_timestamp.get_mut(&timestamp) {
            commit.waiters.push((run, waiter));
        }
    }

    /// The open commits, in order.
    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = (Timestamp, &OpenCommit<W>)> {
        self.by_timestamp.iter().map(|(timestamp, commit)| (*timestamp, commit))
    }

    /// The commit is in the store. On replicas that did not validate it nobody waited.
    pub fn committed(
        &mut self,
        committed: Committed,
        deployment: DeploymentId,
        id: CommitId,
    ) -> Option<OpenCommit<W>> {
        let timestamp = committed.timestamp;
        let ours = self.is_open(timestamp, deployment, id);
        self.by_id.insert((deployment, id), committed);
        self.decided.insert(timestamp, (deployment, id));
        let commit = if ours { self.by_timestamp.remove(&timestamp) } else { None };
        if let Some(commit) = &commit {
            self.give_back(commit);
        }
        commit
    }

    /// The commit will never be.
    pub fn drop_one(&mut self, timestamp: Timestamp) -> Option<OpenCommit<W>> {
        let commit = self.by_timestamp.remove(&timestamp)?;
        self.forget(&commit, timestamp);
        Some(commit)
    }

    /// The commits above `last`, taken out.
    pub fn drop_above(&mut self, last: Timestamp) -> Vec<(Timestamp, OpenCommit<W>)> {
        let Some(first) = last.next() else { return Vec::new() };
        let dropped: Vec<_> = self.by_timestamp.split_off(&first).into_iter().collect();
        for (timestamp, commit) in &dropped {
            self.forget(commit, *timestamp);
        }
        dropped
    }

    /// A commit is not open any more.
    fn give_back(&mut self, commit: &OpenCommit<W>) {
        self.taken.commits -= 1;
        self.taken.bytes -= commit.bytes;
        let of_deployment = self.by_deployment.get_mut(&commit.deployment).expect("it was counted");
        of_deployment.commits -= 1;
        of_deployment.bytes -= commit.bytes;
        if of_deployment.commits == 0 {
            assert_eq!(of_deployment.bytes, 0, "nothing that is decided is counted");
            self.by_deployment.remove(&commit.deployment);
        }
    }

    fn forget(&mut self, commit: &OpenCommit<W>, timestamp: Timestamp) {
        self.give_back(commit);
        let id = (commit.deployment, commit.id);
        if self.by_id.get(&id).is_some_and(|known| known.timestamp == timestamp) {
            self.by_id.remove(&id);
        }
    }

    /// Decided commits up to `floor` are left to the store's records.
    pub fn trim(&mut self, floor: Timestamp) {
        while let Some(oldest) = self.decided.first_entry().filter(|entry| *entry.key() <= floor) {
            let (timestamp, id) = oldest.remove_entry();
            if self.by_id.get(&id).is_some_and(|known| known.timestamp == timestamp) {
                self.by_id.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPLOYMENT: DeploymentId = DeploymentId(1);

    fn timestamp(nanoseconds: u64) -> Timestamp {
        Timestamp::new(nanoseconds).unwrap()
    }

    fn open(id: u8, waiter: &'static str) -> OpenCommit<&'static str> {
        OpenCommit {
            deployment: DEPLOYMENT,
            id: CommitId([id; 16]),
            run: 1,
            writes: Arc::new([]),
            bytes: 10,
            waiters: vec![(1, waiter)],
        }
    }

    #[test]
    fn an_id_is_known_from_validation_until_the_window_has_left_it_behind() {
        let mut undecided = Undecided::default();
        let id = CommitId([1; 16]);
        undecided.add(timestamp(5), open(1, "first"));
        assert_eq!(undecided.known(DEPLOYMENT, id), Known::Undecided(timestamp(5)));
        assert_eq!(undecided.known(DeploymentId(2), id), Known::No);
        undecided.join(timestamp(5), 2, "second");
        let committed = Committed { timestamp: timestamp(5), run: 1 };
        let done = undecided.committed(committed, DEPLOYMENT, id).unwrap();
        assert_eq!(done.waiters, [(1, "first"), (2, "second")]);
        assert_eq!(undecided.known(DEPLOYMENT, id), Known::Committed(committed));
        undecided.trim(timestamp(4));
        assert_eq!(undecided.known(DEPLOYMENT, id), Known::Committed(committed));
        undecided.trim(timestamp(5));
        assert_eq!(undecided.known(DEPLOYMENT, id), Known::No);
    }

    #[test]
    fn what_was_dropped_is_as_if_it_had_never_been() {
        let mut undecided = Undecided::default();
        undecided.add(timestamp(5), open(1, "a"));
        undecided.add(timestamp(6), open(2, "b"));
        let dropped = undecided.drop_above(timestamp(5));
        assert_eq!(dropped.len(), 1);
        assert_eq!(undecided.known(DEPLOYMENT, CommitId([2; 16])), Known::No);
        assert_eq!((undecided.len(), undecided.taken()), (1, Taken { commits: 1, bytes: 10 }));
        assert_eq!(undecided.taken_by(DEPLOYMENT), undecided.taken());
        assert_eq!(undecided.taken_by(DeploymentId(2)), Taken::default());
        undecided.committed(Committed { timestamp: timestamp(5), run: 1 }, DEPLOYMENT, CommitId([1; 16]));
        assert_eq!((undecided.len(), undecided.taken()), (0, Taken::default()));
        assert_eq!(undecided.taken_by(DEPLOYMENT), Taken::default());
    }
}
