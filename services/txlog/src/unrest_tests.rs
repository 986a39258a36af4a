//! The service as a whole, with everything that is real, in unrest: clients that read, write, delete and send twice, while
//! leadership is lost and won again, the store is flushed, purged and swept all the time, and most commits go in parts.
//!
//! What the model says twice is said here by `handle`, `group`, `proposer` and the consensus library themselves; the judgement is
//! the model's. A seed chooses what clients do, not who comes first: `UNREST_SEED=<seed>`, and `UNREST_REQUESTS=<count>`
//! for longer.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use contract::{
    Commit, CommitId, CommitOutcome, DeploymentRef, GroupId, Interval, Lookup, Order, Read, ReadAt,
    StreamEvent, Timestamp, TransactionLog,
};
use futures::StreamExt;
use openraft::{async_runtime::WatchReceiver, raft::AppendEntriesRequest};
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    Handle, Options, Service,
    model_tests::{
        client::{Attempt, BY_ID, BY_NAME, DEPLOYMENT, Given, Keys},
        history::{Observation, replay},
    },
    planted::{Bug, plant},
    proposer::GroupRaft,
    raft_types::Vote,
    reads::RangeLimits,
};

const CLIENTS: u64 = 6;
const REQUESTS: u64 = 60;
/// Who comes first is not in the seed: a planted bug may need more than one.
const RUNS_WITH_A_BUG: u64 = 100;
const AT: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DEPLOYMENT };
const PAGE: RangeLimits = RangeLimits { rows_max: 3, bytes_max: usize::MAX };

fn options(folder: &std::path::Path) -> Options {
    let mut options = Options::embedded(folder);
    options.limits.batch_commits_max = 3;
    options.limits.single_entry_bytes_max = 200;
    options.limits.staged_entry_bytes_max = 60;
    options.limits.read_page_documents_max = PAGE.rows_max;
    options.limits.retention_ms_min = 30;
    options.limits.hold_ms = 1;
    options.limits.window_age_ms_min = 30;
    options.limits.window_bytes_max = 4_000;
    options.store.unflushed_look_ms = 1;
    options.store.unflushed_ms_max = 3;
    options.store.unflushed_bytes_max = 4_000;
    options.store.sweep_look_ms = 3;
    options.store.sweep_keys_max = 2;
    options.store.gaps_max = 8;
    options.store.gap_keys_min = 1;
    options.store.gap_young_ms = 1;
    options.store.gap_same_ms = 2;
    options.store.gap_old_ms = 5;
    options.store.log_entries_kept = 1;
    options.store.log_entry_cache_bytes_max = 2_000;
    options
}

/// What all clients together have done.
#[derive(Default)]
struct Past {
    attempts: Mutex<Vec<Attempt>>,
    observations: Mutex<Vec<Observation>>,
    /// Which run of which request committed when, as somebody was told.
    told: Mutex<HashMap<(CommitId, u32), Timestamp>>,
    /// How often each kind of answer came.
    answers: Mutex<BTreeMap<&'static str, usize>>,
}

impl Past {
    fn count(&self, answer: &'static str) {
        *self.answers.lock().entry(answer).or_default() += 1;
    }

    fn committed(&self, id: CommitId, run: u32, timestamp: Timestamp) {
        let before = self.told.lock().insert((id, run), timestamp);
        assert!(before.is_none_or(|before| before == timestamp), "{id:?} at {before:?} and at {timestamp}");
    }
}

struct Client {
    log: Handle,
    past: Arc<Past>,
    keys: Keys,
    random: ChaCha8Rng,
    /// Nothing older is shown to it again.
    seen: Timestamp,
}

impl Client {
    async fn run(mut self, requests: u64) {
        for _ in 0..requests {
            self.request().await;
            if self.random.random_range(0..3) == 0 {
                self.observe().await;
            }
        }
    }

    /// Runs a request until it is certain what became of it.
    async fn request(&mut self) {
        let id = CommitId(self.random.random());
        let mut run_again_at: Option<ReadAt> = None;
        for run in 1.. {
            let position = self.log.position(AT.group).expect("it is here").borrow().clone();
            let begin = run_again_at.take().unwrap_or(ReadAt::published(position.published));
            assert!(begin.epoch.is_some() || begin.timestamp >= self.seen, "time goes back");
            let epoch = begin.epoch.unwrap_or(position.epoch);
            let mut attempt = Attempt::new(id, run, epoch, begin);
            attempt.plan(&self.keys, &mut self.random);
            if !self.read(&mut attempt).await {
                self.past.count("not read");
                continue;
            }
            let number = {
                let mut attempts = self.past.attempts.lock();
                attempts.push(attempt.clone());
                attempts.len() - 1
            };
            attempt.decide(number as u64, &self.keys, &mut self.random);
            self.past.attempts.lock()[number] = attempt.clone();
            let request = attempt.request.as_ref().expect("it has read all");
            let commit = Commit {
                deployment: AT,
                epoch,
                id,
                run,
                begin,
                read_set: request.read_set.clone(),
                writes: request.writes.to_vec(),
            };
            let ended = loop {
                match self.send(&commit).await {
                    CommitOutcome::Committed { timestamp } => {
                        self.past.count("committed");
                        if commit.writes.is_empty() {
                            self.past.attempts.lock()[number].held_at = Some(timestamp);
                        } else {
                            self.past.committed(id, run, timestamp);
                        }
                        break Some(timestamp);
                    }
                    // The message that came twice was refused once, and got through once.
                    CommitOutcome::OtherRunCommitted { timestamp } => {
                        self.past.count("other run committed");
                        let Lookup::Committed { timestamp: recorded, run } = self.look_up(&commit).await
                        else {
                            panic!("it has a record")
                        };
                        assert_eq!(recorded, timestamp);
                        self.past.committed(id, run, timestamp);
                        break Some(timestamp);
                    }
                    CommitOutcome::Conflict(conflict) => {
                        self.past.count("conflict");
                        self.past.attempts.lock()[number].never = true;
                        run_again_at = Some(conflict.run_again_at);
                        break None;
                    }
                    CommitOutcome::NotLeader(_) => {
                        self.past.count("not leader");
                        break None;
                    }
                    CommitOutcome::NotCommitted => {
                        self.past.count("not committed");
                        self.past.attempts.lock()[number].never = true;
                        break None;
                    }
                    CommitOutcome::Unknown => {
                        self.past.count("unknown");
                        match self.look_up(&commit).await {
                            Lookup::Committed { timestamp, run: recorded } => {
                                self.past.committed(id, recorded, timestamp);
                                break Some(timestamp);
                            }
                            Lookup::Absent { epoch } if epoch > commit.epoch => {
                                self.past.attempts.lock()[number].never = true;
                                break None;
                            }
                            _ => {}
                        }
                    }
                }
            };
            if let Some(timestamp) = ended {
                self.seen = self.seen.max(timestamp);
                return;
            }
            self.ready().await;
        }
    }

    async fn ready(&self) {
        let mut position = self.log.position(AT.group).expect("it is here");
        position.wait_for(|position| position.ready).await.expect("the service lives");
    }

    /// Whether everything could be read.
    async fn read(&mut self, attempt: &mut Attempt) -> bool {
        while let Some(read) = attempt.to_read.pop() {
            match self.log.read(AT, attempt.begin, std::slice::from_ref(&read)).await {
                Ok(results) => attempt.has_read(read, &results[0]),
                Err(error) => {
                    assert!(["EpochEnded", "OutOfRetention"].contains(&&*error.code), "{error}");
                    return false;
                }
            }
        }
        true
    }

    /// Sends a commit, now and then twice.
    async fn send(&mut self, commit: &Commit) -> CommitOutcome {
        let twice = self.random.random_range(0..5) == 0;
        let again = twice.then(|| {
            let (log, commit) = (self.log.clone(), commit.clone());
            tokio::spawn(async move { log.commit(commit).await })
        });
        let outcome = self.log.commit(commit.clone()).await.expect("there is room");
        if let Some(again) = again {
            let other = again.await.expect("it does not panic").expect("there is room");
            if let (CommitOutcome::Committed { timestamp }, CommitOutcome::Committed { timestamp: other }) =
                (&outcome, &other)
            {
                assert!(timestamp == other || commit.writes.is_empty(), "one commit, two answers");
            }
            // What the one message was told is so whatever the other one was.
            if !commit.writes.is_empty() && matches!(other, CommitOutcome::Committed { .. }) {
                return other;
            }
        }
        outcome
    }

    /// Asks until it is known, or the same message is to be sent again.
    async fn look_up(&self, commit: &Commit) -> Lookup {
        loop {
            self.ready().await;
            match self.log.lookup(AT, commit.id).await.expect("the record is read") {
                Lookup::Pending | Lookup::NotLeader(_) => tokio::task::yield_now().await,
                Lookup::Absent { epoch } if epoch < commit.epoch => tokio::task::yield_now().await,
                known => return known,
            }
        }
    }

    /// Reads what is published, now or a moment ago.
    async fn observe(&mut self) {
        let measures = self.log.measures(AT.group).expect("it is here");
        let published = self.log.position(AT.group).expect("it is here").borrow().published;
        // A little below what can be read as well: then it is refused, or right all the same.
        let horizon = measures.horizon.as_nanoseconds().min(published.as_nanoseconds());
        let oldest = horizon.saturating_sub(40_000_000);
        let at = match self.random.random() {
            true => published,
            false => Timestamp::new(self.random.random_range(oldest..=published.as_nanoseconds()))
                .expect("in range"),
        };
        let read = self.keys.read(&mut self.random);
        match self.log.read(AT, ReadAt::published(at), std::slice::from_ref(&read)).await {
            Ok(results) => {
                let given = Given::new(&read, &results[0]);
                self.past.observations.lock().push(Observation { at, read, given });
            }
            Err(error) => assert_eq!(error.code, "OutOfRetention"),
        }
    }
}

/// Now and then another node says that it leads a later term, and is heard of no more: the service loses its lead, what is on its
/// way is refused or its fate is unknown, and it is elected again.
async fn disturb(raft: GroupRaft, mut random: ChaCha8Rng, token: CancellationToken) -> u64 {
    let mut terms = 0;
    while !token.is_cancelled() {
        tokio::time::sleep(Duration::from_micros(random.random_range(0..20_000))).await;
        let term = raft.server_metrics().borrow_watched().vote.leader_id.term;
        let request = AppendEntriesRequest {
            vote: Vote::new_committed(term + 1, 9),
            prev_log_id: None,
            entries: Vec::new(),
            leader_commit: None,
        };
        raft.append_entries(request).await.expect("raft lives");
        if random.random() {
            tokio::time::sleep(Duration::from_micros(random.random_range(0..2_000))).await;
        }
        raft.trigger().elect(false).await.expect("raft lives");
        terms += 1;
    }
    terms
}

/// Every commit, in order, as a subscriber sees it, up to `last`.
async fn streamed(
    log: Handle,
    from: Timestamp,
    last: tokio::sync::watch::Receiver<Option<Timestamp>>,
) -> Vec<Timestamp> {
    let mut events = log.subscribe(AT, from).await.expect("it is here");
    let (mut commits, mut promised) = (Vec::new(), from);
    loop {
        match events.next().await.expect("the service lives") {
            StreamEvent::Commit(notice) => {
                assert!(promised < notice.timestamp, "{} after {promised}", notice.timestamp);
                promised = notice.timestamp;
                commits.push(notice.timestamp);
            }
            StreamEvent::Heartbeat { published, .. } => {
                assert!(promised <= published);
                promised = published;
            }
            StreamEvent::Lagged { .. } => panic!("so few are kept"),
        }
        if last.borrow().is_some_and(|last| last <= promised) {
            return commits;
        }
    }
}

#[test]
fn a_service_in_unrest_is_serializable_and_every_answer_is_true() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seed = number("UNREST_SEED").unwrap_or_else(rand::random);
    let requests = number("UNREST_REQUESTS").unwrap_or(REQUESTS);
    eprintln!("UNREST_SEED={seed} cargo test --workspace --lib -- unrest_tests::a_service_in_unrest");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(3)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(unrest(seed, requests));
}

/// Runs seeds until a bug is found that is planted on the one thread that they have.
fn is_found(bug: Bug) {
    for seed in 0..RUNS_WITH_A_BUG {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(unrest(seed, REQUESTS));
        };
        if plant(bug, || std::panic::catch_unwind(run)).is_err() {
            eprintln!("{bug:?} is found by run {seed}");
            return;
        }
    }
    panic!("{bug:?} was not found in {RUNS_WITH_A_BUG} runs");
}

#[test]
fn a_read_below_what_is_kept_is_found() {
    is_found(Bug::ReadIgnoresHorizon);
}

async fn unrest(seed: u64, requests: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let keys = Keys::choose(&mut random);
    let folder = tempfile::tempdir().expect("a folder");
    let token = CancellationToken::new();
    let service = Service::start(options(folder.path()), token.clone()).await.expect("it starts");
    let log = service.handle();
    let from = log.position(AT.group).expect("it is here").borrow().published;
    let (told_last, last) = tokio::sync::watch::channel(None);
    let stream = tokio::spawn(streamed(log.clone(), from, last));
    let quiet = CancellationToken::new();
    let disturbing =
        tokio::spawn(disturb(service.raft(), ChaCha8Rng::seed_from_u64(seed ^ 1), quiet.clone()));
    let past = Arc::new(Past::default());
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let client = Client {
            log: log.clone(),
            past: past.clone(),
            keys: keys.clone(),
            random: ChaCha8Rng::seed_from_u64(seed.wrapping_add(number + 2)),
            seen: from,
        };
        clients.spawn(client.run(requests));
    }
    clients.join_all().await;
    quiet.cancel();
    let terms = disturbing.await.expect("it ends");
    let published = log.position(AT.group).expect("it is here").borrow().published;
    told_last.send_replace(Some(published));
    let streamed = stream.await.expect("every commit is streamed");

    let attempts = std::mem::take(&mut *past.attempts.lock());
    let told = past.told.lock().clone();
    let by_run: HashMap<(CommitId, u32), usize> =
        attempts.iter().enumerate().map(|(number, it)| ((it.id, it.run), number)).collect();
    let history: BTreeMap<Timestamp, usize> =
        told.iter().map(|(run, timestamp)| (*timestamp, by_run[run])).collect();
    assert_eq!(history.len(), told.len(), "UNREST_SEED={seed}: a timestamp was given twice");
    assert_eq!(
        streamed,
        history.keys().copied().collect::<Vec<_>>(),
        "UNREST_SEED={seed}: the stream has what was acknowledged, and nothing else"
    );
    let observations = std::mem::take(&mut *past.observations.lock());
    let documents = replay(&history, &attempts, &observations, PAGE)
        .unwrap_or_else(|wrong| panic!("UNREST_SEED={seed}: {wrong}"));
    for index in [BY_ID, BY_NAME] {
        let all = |start: Bytes| Read::Range {
            index,
            interval: Interval { start, end: None },
            order: Order::Ascending,
            rows_max: PAGE.rows_max,
            bytes_max: usize::MAX,
        };
        let results =
            log.read(AT, ReadAt::published(published), &[all(Bytes::new())]).await.expect("it is read");
        let given = Given::new(&all(Bytes::new()), &results[0]);
        assert_eq!(given, Given::expected(&all(Bytes::new()), &documents), "UNREST_SEED={seed}");
    }
    let answers = past.answers.lock().clone();
    eprintln!("{terms} terms, {} commits, {} observations, {answers:?}", history.len(), observations.len());
    drop(log);
    token.cancel();
    service.stopped().await;
}
