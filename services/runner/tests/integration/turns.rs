//! Mutations that want the same rows: turns make them fast, and the log's validation makes them right.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use contract::{
    BackfillProgress, BackfillStep, Commit, CommitId, CommitOutcome, Conflict, DeploymentRef, GroupId, Hold,
    HoldId, Lookup, Position, Read, ReadAt, ReadResult, ReadSet, Result, SessionRequest, StreamEvents,
    Timestamp, TransactionLog,
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::{Value as Json, json};
use tokio::sync::{Notify, watch};

use crate::harness::{Harness, parsed};

/// So long that a test which needs it to pass does not end.
const FOR_EVER_MS: u64 = 3_600_000;
const PATIENCE: Duration = Duration::from_secs(120);

/// A log that does to single commits what the test says.
struct Directed {
    log: Arc<dyn TransactionLog>,
    /// Whether it says what its newest state is.
    tells_head: bool,
    /// The next commit that writes is refused, for the first document that it writes.
    refuses_next: AtomicBool,
    /// The commit after that waits for `go_on` before it is sent.
    holds_next: AtomicBool,
    held: Notify,
    go_on: Notify,
}

impl Directed {
    fn new(log: Arc<dyn TransactionLog>, tells_head: bool) -> Arc<Directed> {
        let (refuses_next, holds_next) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Directed {
            log,
            tells_head,
            refuses_next,
            holds_next,
            held: Notify::new(),
            go_on: Notify::new(),
        })
    }
}

#[async_trait]
impl TransactionLog for Directed {
    fn position(&self, group: GroupId) -> Result<watch::Receiver<Position>> {
        self.log.position(group)
    }
    async fn commit(&self, commit: Commit) -> Result<CommitOutcome> {
        self.commit_and_tell(commit, &mut || ()).await
    }
    async fn commit_and_tell(
        &self,
        commit: Commit,
        validated: &mut (dyn FnMut() + Send),
    ) -> Result<CommitOutcome> {
        if let Some(write) = commit.writes.first() {
            if self.refuses_next.swap(false, Ordering::SeqCst) {
                self.holds_next.store(true, Ordering::SeqCst);
                let write = Some((write.primary, write.key.clone()));
                return Ok(CommitOutcome::Conflict(Conflict { write, run_again_at: commit.begin }));
            }
            if self.holds_next.swap(false, Ordering::SeqCst) {
                self.held.notify_one();
                self.go_on.notified().await;
            }
        }
        self.log.commit_and_tell(commit, validated).await
    }
    fn head(&self, group: GroupId) -> Option<ReadAt> {
        self.log.head(group).filter(|_| self.tells_head)
    }
    fn unchanged_until(&self, deployment: DeploymentRef, seen: ReadAt, read_set: &ReadSet) -> Option<ReadAt> {
        self.log.unchanged_until(deployment, seen, read_set).filter(|_| self.tells_head)
    }
    async fn lookup(&self, at: DeploymentRef, id: CommitId) -> Result<Lookup> {
        self.log.lookup(at, id).await
    }
    async fn read(&self, deployment: DeploymentRef, at: ReadAt, reads: &[Read]) -> Result<Vec<ReadResult>> {
        self.log.read(deployment, at, reads).await
    }
    async fn confirm_leadership(&self, group: GroupId) -> Result<Position> {
        self.log.confirm_leadership(group).await
    }
    async fn subscribe(&self, deployment: DeploymentRef, from: Timestamp) -> Result<StreamEvents> {
        self.log.subscribe(deployment, from).await
    }
    async fn backfill(&self, step: BackfillStep) -> Result<BackfillProgress> {
        self.log.backfill(step).await
    }
    async fn hold(&self, group: GroupId, hold: Hold) -> Result<Duration> {
        self.log.hold(group, hold).await
    }
    async fn release(&self, group: GroupId, id: HoldId) -> Result<()> {
        self.log.release(group, id).await
    }
}

/// A runner on a directed log, with limits of turns, and so many rows.
async fn start(
    wait_ms: u64,
    held_ms: u64,
    tells_head: bool,
    rows: usize,
) -> (Harness, Arc<Directed>, Vec<String>) {
    let mut directed = None;
    let harness = Harness::behind_with(
        |options| {
            options.limits.function.turn_wait_ms_max = wait_ms;
            options.limits.function.turn_held_ms_max = held_ms;
            options.limits.transaction.retry.conflict_retry_ms_max = FOR_EVER_MS;
            options.limits.transaction.retry.conflict_attempts_max = 10_000;
            options.limits.function.slot_wait_ms_max = FOR_EVER_MS;
        },
        |log| directed.insert(Directed::new(log, tells_head)).clone(),
    )
    .await;
    let ids = harness.result_of("counters:openRows", json!({"rows": rows})).await;
    let ids = serde_json::from_value(ids).expect("ids are texts");
    (harness, directed.expect("the harness has it"), ids)
}

/// One increment of some rows: what they held before, by row.
type Bump = BTreeMap<String, u64>;

fn bump_of(ids: &[String], seen: &Json) -> Bump {
    let seen = seen.as_array().expect("a list").iter().map(|count| count.as_u64().expect("a count"));
    ids.iter().cloned().zip(seen).collect()
}

/// Whether there is an order of the increments in which each saw all that came before it, and only that; and each row was
/// incremented as often as it says.
fn assert_serializable(bumps: &[Bump]) {
    let mut of_row: BTreeMap<&str, Vec<(u64, usize)>> = BTreeMap::new();
    for (at, bump) in bumps.iter().enumerate() {
        for (row, seen) in bump {
            of_row.entry(row).or_default().push((*seen, at));
        }
    }
    let mut before: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); bumps.len()];
    for (row, mut seen) in of_row {
        seen.sort_unstable();
        let counts: Vec<u64> = seen.iter().map(|(count, _)| *count).collect();
        assert_eq!(counts, (0..seen.len() as u64).collect::<Vec<_>>(), "increments of {row}");
        for pair in seen.windows(2) {
            before[pair[1].1].insert(pair[0].1);
        }
    }
    let mut left: BTreeSet<usize> = (0..bumps.len()).collect();
    while !left.is_empty() {
        let first = left.iter().copied().find(|at| before[*at].is_disjoint(&left));
        left.remove(&first.expect("somebody was first: the increments go round in a circle"));
    }
}

/// 64 callers on three rows, two at a time in either order; every third asks twice at once, by a session.
#[allow(clippy::print_stdout, reason = "with the seed the run can be repeated")]
async fn many_callers(harness: &Harness, ids: &[String], calls: u32) -> Vec<Bump> {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let callers = (0..64u64).map(|caller| async move {
        let mut random = StdRng::seed_from_u64(seed ^ caller);
        let mut bumps = Vec::new();
        for call in 0..calls {
            let mut ids = ids.to_vec();
            ids.shuffle(&mut random);
            ids.truncate(random.random_range(1..=2));
            let arguments = json!({ "ids": ids });
            let seen = if random.random_range(0..3) == 0 {
                let session = || Some(SessionRequest { session: format!("session {caller}"), request: call });
                let (one, other) = futures::join!(
                    harness.mutation_in(session(), "counters:bump", arguments.clone()),
                    harness.mutation_in(session(), "counters:bump", arguments.clone()),
                );
                let (one, other) = (one.expect("answered"), other.expect("answered"));
                assert_eq!(one.result, other.result, "one request has one answer");
                assert_eq!(one.timestamp, other.timestamp);
                parsed(one.result.expect("it succeeds"))
            } else {
                harness.result_of("counters:bump", arguments).await
            };
            bumps.push(bump_of(&ids, &seen));
        }
        bumps
    });
    tokio::time::timeout(PATIENCE, futures::future::join_all(callers))
        .await
        .expect("nobody waits for ever")
        .concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_callers_on_three_rows_are_serializable_and_take_effect_once() {
    // Where two wait for each other, they wait for ever.
    let (harness, _, ids) = start(FOR_EVER_MS, FOR_EVER_MS, true, 3).await;
    assert_serializable(&many_callers(&harness, &ids, 5).await);
    let metrics = harness.runner.metrics();
    assert!(metrics.conflicts > 0, "they conflict: {metrics:?}");
    assert_eq!(metrics.conflicts_given_up, 0);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_log_that_does_not_tell_its_newest_state_is_served_as_well() {
    let (harness, _, ids) = start(50, 10, false, 3).await;
    assert_serializable(&many_callers(&harness, &ids, 2).await);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_caller_that_dies_while_it_holds_a_turn_holds_up_nobody() {
    let (harness, log, ids) = start(FOR_EVER_MS, FOR_EVER_MS, true, 1).await;
    let harness = Arc::new(harness);
    let bump = || {
        let (harness, ids) = (harness.clone(), ids.clone());
        async move { harness.result_of("counters:bump", json!({ "ids": ids })).await }
    };
    log.refuses_next.store(true, Ordering::SeqCst);
    let dying = tokio::spawn(bump());
    // It has lost, has the turn, and is about to commit.
    log.held.notified().await;
    let next = tokio::spawn(bump());
    dying.abort();
    assert!(dying.await.expect_err("it was ended").is_cancelled());
    let seen = tokio::time::timeout(PATIENCE, next).await.expect("it gets the turn").expect("no panic");
    assert_eq!(seen, json!([0]), "the dead caller has written nothing");
    Arc::into_inner(harness).expect("nobody else has it").stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_mutation_that_takes_long_while_it_holds_a_turn_delays_others_by_the_limit_only() {
    let (harness, log, ids) = start(FOR_EVER_MS, 20, true, 1).await;
    let harness = Arc::new(harness);
    let bump = || {
        let (harness, ids) = (harness.clone(), ids.clone());
        async move { harness.result_of("counters:bump", json!({ "ids": ids })).await }
    };
    log.refuses_next.store(true, Ordering::SeqCst);
    let slow = tokio::spawn(bump());
    log.held.notified().await;
    let others = futures::future::join_all((0..16).map(|_| bump()));
    let others = tokio::time::timeout(PATIENCE, others).await.expect("they need not wait for the slow one");
    assert!(!slow.is_finished());
    log.go_on.notify_one();
    let slow = tokio::time::timeout(PATIENCE, slow).await.expect("it gets through").expect("no panic");
    let bumps: Vec<Bump> = others.iter().chain([&slow]).map(|seen| bump_of(&ids, seen)).collect();
    assert_serializable(&bumps);
    assert_eq!(slow, json!([16]), "it ran again on what the others have written");
    Arc::into_inner(harness).expect("nobody else has it").stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_made_in_turns_is_as_young_as_what_was_made_before() {
    let (harness, _, ids) = start(FOR_EVER_MS, FOR_EVER_MS, true, 1).await;
    let calls = (0..64).map(|_| harness.result_of("counters:stamp", json!({"id": ids[0]})));
    let mut stamps = futures::future::join_all(calls).await;
    stamps.sort_unstable_by_key(|stamp| stamp["count"].as_u64());
    for name in ["now", "created"] {
        let times: Vec<f64> = stamps.iter().map(|stamp| stamp[name].as_f64().expect("a time")).collect();
        assert!(times.is_sorted(), "{name}: a later one has read the earlier one: {times:?}");
    }
    harness.stop().await;
}
