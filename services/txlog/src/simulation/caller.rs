//! How the clients of a simulated cluster call it: they find the leader, send again, and look up what was lost, by the
//! same state machine that serves real transactions ([`transaction::Attempts`]).

use std::{sync::Arc, time::Duration};

use contract::{
    Commit, CommitOutcome, ErrorKind, Hold, HoldId, LeaderHint, Lookup, Position, Read, ReadAt, ReadResult,
    Retry, Timestamp, TransactionLog,
};
use transaction::{Attempts, Next, RetryLimits};

use super::{
    cluster::GROUP,
    network::{Network, OUTSIDE, Server},
    runtime,
};

/// How long a caller waits for an answer.
const PATIENCE: Duration = Duration::from_millis(400);
const PAUSE: Duration = Duration::from_millis(20);

/// Whoever calls here never gives up: the end of the simulation does.
const LIMITS: RetryLimits = RetryLimits {
    conflict_retry_ms_max: 1 << 40,
    conflict_attempts_max: u32::MAX,
    lookup_ms_max: 1 << 40,
    not_ready_backoff_ms_min: 5,
    not_ready_backoff_ms_max: 100,
    ..RetryLimits::DEFAULT
};

pub struct Caller {
    pub network: Arc<Network>,
    /// Who leads, as far as it has heard.
    leader: Option<u64>,
}

/// What has become of a commit. All of it is certain.
pub enum Fate {
    Committed(Timestamp),
    /// Another run of the same request has committed.
    OtherRunCommitted(Timestamp, u32),
    /// It has no effect. Best run again there.
    Conflict(ReadAt),
    /// It has no effect: its leader has gone.
    LostLeader,
    /// It was not taken.
    Refused,
}

/// The runs of one request.
pub struct Runs {
    attempts: Attempts,
    began: Duration,
    /// The run under way was said not to have committed, and that it never will.
    pub never: bool,
    /// The network repeats messages: a run that writes and was answered by a refusal may come once more, and commit. Whoever
    /// then only reads is not done: of that there is no record, by which it would be known from the earlier run.
    pub may_have_written: bool,
}

impl Runs {
    pub fn new() -> Runs {
        let attempts = Attempts::new(LIMITS);
        Runs { attempts, began: runtime::time(), never: false, may_have_written: false }
    }

    /// Begins another one; its number.
    pub fn begin(&mut self) -> u32 {
        self.attempts.begin();
        self.never = false;
        self.attempts.number()
    }

    fn elapsed(&self) -> Duration {
        runtime::time() - self.began
    }
}

impl Caller {
    pub fn new(network: Arc<Network>) -> Caller {
        Caller { network, leader: None }
    }

    pub async fn call<T, F>(&self, node: u64, work: impl Fn(Server) -> F + Send + Sync + 'static) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.network.call((OUTSIDE, node), PATIENCE, work).await
    }

    fn learn(&mut self, leader: Option<&LeaderHint>) {
        self.leader = leader.map(|leader| leader.node.0);
    }

    /// Who leads, or somebody who may know.
    async fn target(&self) -> u64 {
        if let Some(leader) = self.leader {
            return leader;
        }
        self.somebody().await
    }

    pub async fn somebody(&self) -> u64 {
        loop {
            match self.network.anybody() {
                Some(node) => return node,
                None => runtime::sleep(PAUSE).await,
            }
        }
    }

    /// Where a node stands that may lead.
    pub async fn position(&mut self) -> Option<(u64, Position)> {
        let node = self.target().await;
        let position = self
            .call(node, |server: Server| async move {
                server.handle.position(GROUP).map(|position| position.borrow().clone())
            })
            .await;
        match position {
            Some(Ok(position)) => {
                self.learn(position.leader.as_deref());
                Some((node, position))
            }
            _ => {
                self.leader = None;
                runtime::sleep(runtime::up_to(PAUSE)).await;
                None
            }
        }
    }

    /// What is published at the leader, and every commit that was acknowledged before this was called is in it.
    pub async fn confirmed(&mut self) -> Option<(u64, Position)> {
        let node = self.target().await;
        match self
            .call(node, |server: Server| async move { server.handle.confirm_leadership(GROUP).await })
            .await
        {
            Some(Ok(position)) => Some((node, position)),
            _ => {
                self.leader = None;
                runtime::sleep(runtime::up_to(PAUSE)).await;
                None
            }
        }
    }

    /// What a node gives for these reads; the code of its refusal, empty if there was no answer.
    pub async fn read(
        &self,
        node: u64,
        from: contract::DeploymentRef,
        at: ReadAt,
        reads: Vec<Read>,
    ) -> Result<Vec<ReadResult>, String> {
        let reads = Arc::new(reads);
        let work = move |server: Server| {
            let reads = reads.clone();
            async move { server.handle.read(from, at, &reads).await }
        };
        match self.call(node, work).await {
            Some(Ok(results)) => Ok(results),
            Some(Err(error)) => {
                let expected = ["EpochEnded", "OutOfRetention", "NotYet"].contains(&&*error.code);
                assert!(expected, "a read is answered with {error}");
                Err(error.code.into_owned())
            }
            None => Err(String::new()),
        }
    }

    /// For how long whoever leads holds a moment, from when it is asked; the code of its refusal, empty if there was no answer.
    pub async fn hold(&mut self, hold: Hold) -> Result<Duration, String> {
        let target = self.target().await;
        let work = move |server: Server| async move { server.handle.hold(GROUP, hold).await };
        match self.call(target, work).await {
            Some(Ok(held_for)) => Ok(held_for),
            Some(Err(error)) => Err(error.code.into_owned()),
            None => {
                self.leader = None;
                Err(String::new())
            }
        }
    }

    /// Lets go of a moment, if that is heard.
    pub async fn release(&self, id: HoldId) {
        let target = self.target().await;
        let work = move |server: Server| async move { server.handle.release(GROUP, id).await };
        self.call(target, work).await;
    }

    /// The run could not go on, because the epoch that it read is over.
    pub fn epoch_ended(&self, runs: &mut Runs) {
        let elapsed = runs.elapsed();
        let next = runs.attempts.epoch_ended(elapsed);
        assert!(matches!(next, Next::RunAgainWithLeader), "{next:?}");
    }

    /// Commits, and finds out for certain what became of it.
    pub async fn settle(&mut self, runs: &mut Runs, commit: Commit) -> Fate {
        let writes = !commit.writes.is_empty();
        let fate = self.decide(runs, commit).await;
        let was_refused = match fate {
            Fate::LostLeader => !runs.never,
            Fate::Refused => true,
            Fate::Committed(_) | Fate::OtherRunCommitted(..) | Fate::Conflict(_) => false,
        };
        runs.may_have_written |= writes && was_refused;
        fate
    }

    async fn decide(&mut self, runs: &mut Runs, commit: Commit) -> Fate {
        let Some(mut next) = self.send(runs, &commit).await else { return Fate::Refused };
        loop {
            next = match next {
                Next::Answer(timestamp) => return Fate::Committed(timestamp),
                Next::EarlierCommitted(timestamp) => {
                    let (recorded, run) = self.recorded(&commit).await;
                    assert_eq!(recorded, timestamp, "a request has committed once");
                    return Fate::OtherRunCommitted(timestamp, run);
                }
                Next::RunAgainAfterConflict(conflict) => return Fate::Conflict(conflict.run_again_at),
                Next::RunAgainWithLeader => return Fate::LostLeader,
                Next::SendAgain => match self.send(runs, &commit).await {
                    Some(next) => next,
                    None => return Fate::Refused,
                },
                Next::LookUp { after } => {
                    runtime::sleep(after).await;
                    let lookup = self.look_up(&commit).await;
                    let elapsed = runs.elapsed();
                    runs.attempts.looked_up(lookup, elapsed)
                }
                Next::GiveUpOnConflicts(_) | Next::GiveUpOnUnknown => panic!("nobody gives up here"),
            };
        }
    }

    async fn send(&mut self, runs: &mut Runs, commit: &Commit) -> Option<Next> {
        runs.attempts.send(commit.epoch);
        let commit = Commit { run: runs.attempts.number(), ..commit.clone() };
        let work = move |server: Server| {
            let commit = commit.clone();
            async move { server.handle.commit(commit).await }
        };
        let target = self.target().await;
        let outcome = self.call(target, work).await;
        let elapsed = runs.elapsed();
        match outcome {
            Some(Ok(outcome)) => {
                if let CommitOutcome::NotLeader(leader) = &outcome {
                    self.learn(leader.as_deref());
                }
                // Of another message with the same commit it says nothing.
                runs.never = outcome == CommitOutcome::NotCommitted && !runs.attempts.is_unknown();
                Some(runs.attempts.committed(outcome, elapsed))
            }
            Some(Err(error))
                if (error.retry != Retry::Never || error.kind == ErrorKind::BadRequest)
                    && !runs.attempts.is_unknown() =>
            {
                runtime::sleep(runtime::up_to(PAUSE)).await;
                None
            }
            _ => {
                self.leader = None;
                Some(runs.attempts.unknown(elapsed))
            }
        }
    }

    async fn look_up(&mut self, commit: &Commit) -> Option<Lookup> {
        let (at, id) = (commit.deployment, commit.id);
        let target = self.target().await;
        let lookup =
            self.call(target, move |server: Server| async move { server.handle.lookup(at, id).await }).await;
        match &lookup {
            Some(Ok(Lookup::NotLeader(leader))) => self.learn(leader.as_deref()),
            Some(Ok(_)) => {}
            _ => self.leader = None,
        }
        lookup.and_then(Result::ok)
    }

    /// When and by which run a request has committed, that is known to have.
    async fn recorded(&mut self, commit: &Commit) -> (Timestamp, u32) {
        loop {
            match self.look_up(commit).await {
                Some(Lookup::Committed { timestamp, run }) => return (timestamp, run),
                // Not before its leader has come that far.
                _ => runtime::sleep(runtime::up_to(PAUSE)).await,
            }
        }
    }
}
