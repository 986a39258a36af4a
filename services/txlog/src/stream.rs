//! The stream of published commits, from memory.
//!
//! All subscribers of a group read from one bounded buffer, each at its own place: a slow one holds up nobody, and is told
//! so when the buffer has left it behind. A commit wakes the subscribers of its own deployment only. How far the others have
//! come by it they hear from one ticker for the whole group, so that many quiet deployments cost nothing while one is busy.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::limits::LogLimits;
use contract::{CommitNotice, DeploymentId, Epoch, Position, StreamEvent, StreamEvents, Timestamp};
use futures::stream;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const KEY_OVERHEAD_BYTES: usize = 64;

/// The newest published commits of a group, all deployments in one order.
#[derive(Debug)]
pub struct CommitBuffer {
    bytes_max: usize,
    commits_max: usize,
    /// Commits that a subscriber takes out at once.
    taken_max: usize,
    kept: RwLock<Kept>,
    /// Wakes the subscribers of a deployment; only of those that have some.
    subscribed: Mutex<HashMap<DeploymentId, watch::Sender<()>>>,
    /// Wakes all of them.
    tick: watch::Sender<()>,
    /// How often subscribers were woken.
    wake_ups: AtomicU64,
}

#[derive(Debug)]
struct Kept {
    commits: VecDeque<(DeploymentId, Arc<CommitNotice>)>,
    bytes: usize,
    /// Every commit above it is here.
    floor: Timestamp,
    /// The last commit that was ever added.
    published: Timestamp,
}

/// What a subscriber finds behind its place.
#[derive(Debug)]
enum Found {
    Commits(Vec<Arc<CommitNotice>>),
    /// Nothing of its deployment up to here.
    Nothing(Timestamp),
    Gone,
}

impl CommitBuffer {
    pub fn new(published: Timestamp, limits: &LogLimits) -> CommitBuffer {
        let kept = Kept { commits: VecDeque::new(), bytes: 0, floor: published, published };
        CommitBuffer {
            bytes_max: limits.stream_buffer_bytes_max,
            commits_max: limits.stream_buffer_commits_max,
            taken_max: limits.stream_commits_taken_max,
            kept: RwLock::new(kept),
            subscribed: Mutex::default(),
            tick: watch::Sender::new(()),
            wake_ups: AtomicU64::new(0),
        }
    }

    /// Tells every subscriber how far the group has come: every `heartbeat`, and where it has moved every `quiet`. Ends
    /// with the token.
    pub async fn tick_in_time(
        self: Arc<Self>,
        quiet: Duration,
        heartbeat: Duration,
        token: CancellationToken,
    ) {
        let mut pace = Pace { heartbeat, told: self.kept.read().published, silent: Duration::ZERO };
        let pause = quiet.min(heartbeat);
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            if pace.is_due(self.kept.read().published, pause) {
                self.tick();
            }
        }
    }

    fn tick(&self) {
        self.tick.send_replace(());
    }

    /// How often subscribers were woken, since the process started.
    pub fn wake_ups(&self) -> u64 {
        self.wake_ups.load(Ordering::Relaxed)
    }

    /// Adds published commits, in their order.
    pub fn add(&self, commits: impl IntoIterator<Item = (DeploymentId, Arc<CommitNotice>)>) {
        let mut kept = self.kept.write();
        let mut touched: Vec<DeploymentId> = Vec::new();
        for (deployment, notice) in commits {
            if !touched.contains(&deployment) {
                touched.push(deployment);
            }
            assert!(kept.published < notice.timestamp, "commits are published in their order");
            kept.bytes += notice_bytes(&notice);
            kept.published = notice.timestamp;
            kept.commits.push_back((deployment, notice));
        }
        while kept.bytes > self.bytes_max || kept.commits.len() > self.commits_max {
            let Some((_, oldest)) = kept.commits.pop_front() else { break };
            kept.bytes -= notice_bytes(&oldest);
            kept.floor = oldest.timestamp;
        }
        match kept.commits.front() {
            Some((_, oldest)) => assert!(kept.floor < oldest.timestamp, "what is kept is above the floor"),
            None => assert_eq!(kept.bytes, 0, "what is gone is not counted"),
        }
        drop(kept);
        let subscribed = self.subscribed.lock();
        touched.iter().filter_map(|deployment| subscribed.get(deployment)).for_each(|wake| {
            wake.send_replace(());
        });
    }

    fn after(&self, deployment: DeploymentId, from: Timestamp) -> Found {
        let kept = self.kept.read();
        if from < kept.floor {
            return Found::Gone;
        }
        let first = kept.commits.partition_point(|(_, notice)| notice.timestamp <= from);
        let commits: Vec<_> = kept
            .commits
            .range(first..)
            .filter(|(of, _)| *of == deployment)
            .take(self.taken_max)
            .map(|(_, notice)| notice.clone())
            .collect();
        if commits.is_empty() { Found::Nothing(kept.published) } else { Found::Commits(commits) }
    }

    /// The commits of a deployment above `from`, forever; see [`contract::TransactionLog::subscribe`].
    pub fn subscribe(
        self: &Arc<Self>,
        deployment: DeploymentId,
        from: Timestamp,
        position: watch::Receiver<Position>,
        token: CancellationToken,
    ) -> StreamEvents {
        let commits = self.subscribed.lock().entry(deployment).or_default().subscribe();
        let subscriber = Subscriber {
            commits,
            ticks: self.tick.subscribe(),
            buffer: self.clone(),
            deployment,
            at: from,
            told: false,
            taken: VecDeque::new(),
            position,
            token,
        };
        Box::pin(stream::unfold(Some(subscriber), |subscriber| async {
            let mut subscriber = subscriber?;
            let event = subscriber.next().await?;
            let ends = matches!(event, StreamEvent::Lagged { .. });
            Some((event, (!ends).then_some(subscriber)))
        }))
    }
}

/// When everybody is to be told.
struct Pace {
    heartbeat: Duration,
    /// What was published when they were told last, and for how long that is.
    told: Timestamp,
    silent: Duration,
}

impl Pace {
    /// After another pause.
    fn is_due(&mut self, published: Timestamp, pause: Duration) -> bool {
        self.silent += pause;
        let due = published != self.told || self.silent >= self.heartbeat;
        if due {
            (self.told, self.silent) = (published, Duration::ZERO);
        }
        due
    }
}

fn notice_bytes(notice: &CommitNotice) -> usize {
    let keys: usize = notice.keys.iter().map(|touched| touched.key.len() + KEY_OVERHEAD_BYTES).sum();
    KEY_OVERHEAD_BYTES + keys
}

struct Subscriber {
    buffer: Arc<CommitBuffer>,
    deployment: DeploymentId,
    /// Every commit up to here was given.
    at: Timestamp,
    /// Since it was woken last it has said how far it has come.
    told: bool,
    taken: VecDeque<Arc<CommitNotice>>,
    /// Commits of its deployment.
    commits: watch::Receiver<()>,
    ticks: watch::Receiver<()>,
    /// Only looked at, not waited for.
    position: watch::Receiver<Position>,
    token: CancellationToken,
}

impl Subscriber {
    async fn next(&mut self) -> Option<StreamEvent> {
        loop {
            if let Some(notice) = self.taken.pop_front() {
                self.at = notice.timestamp;
                return Some(StreamEvent::Commit(notice));
            }
            // Seen before looking, so that what comes in between is noticed.
            self.commits.mark_unchanged();
            let epoch = self.epoch();
            match self.buffer.after(self.deployment, self.at) {
                Found::Gone => return Some(StreamEvent::Lagged { from: self.at }),
                Found::Commits(commits) => {
                    self.taken = commits.into();
                    continue;
                }
                Found::Nothing(published) => self.at = self.at.max(published),
            }
            if !std::mem::replace(&mut self.told, true) {
                return Some(StreamEvent::Heartbeat { epoch, published: self.at });
            }
            tokio::select! {
                () = self.token.cancelled() => return None,
                changed = self.commits.changed() => changed.ok()?,
                changed = self.ticks.changed() => {
                    changed.ok()?;
                    self.told = false;
                }
            }
            self.buffer.wake_ups.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn epoch(&self) -> Epoch {
        self.position.borrow().epoch
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let mut subscribed = self.buffer.subscribed.lock();
        // This one's own receiver is still there.
        if subscribed.get(&self.deployment).is_some_and(|wake| wake.receiver_count() <= 1) {
            subscribed.remove(&self.deployment);
        }
    }
}

#[cfg(test)]
mod tests {
    use contract::{Epoch, TouchedKey};
    use futures::StreamExt;

    use super::*;

    const OURS: DeploymentId = DeploymentId(1);
    const OTHER: DeploymentId = DeploymentId(2);

    fn timestamp(nanoseconds: u64) -> Timestamp {
        Timestamp::new(nanoseconds).unwrap()
    }

    fn notice(at: u64) -> Arc<CommitNotice> {
        let key = TouchedKey { index: contract::IndexId([1; 16]), key: bytes::Bytes::from_static(b"key") };
        Arc::new(CommitNotice { timestamp: timestamp(at), keys: vec![key] })
    }

    fn position(published: u64) -> Position {
        Position {
            epoch: Epoch { term: 1, reset: 0 },
            ready: true,
            published: timestamp(published),
            leader: None,
        }
    }

    #[tokio::test]
    async fn it_gives_every_commit_of_its_deployment_and_heartbeats() {
        let buffer = Arc::new(CommitBuffer::new(timestamp(10), &LogLimits::DEFAULT));
        let (moved, watched) = watch::channel(position(10));
        let token = CancellationToken::new();
        let mut events = buffer.subscribe(OURS, timestamp(10), watched, token.clone());
        let heartbeat = |event: Option<StreamEvent>| match event {
            Some(StreamEvent::Heartbeat { published, .. }) => published.as_nanoseconds(),
            other => panic!("expected a heartbeat: {other:?}"),
        };
        assert_eq!(heartbeat(events.next().await), 10);
        buffer.add([(OURS, notice(11)), (OTHER, notice(12)), (OURS, notice(13)), (OTHER, notice(14))]);
        moved.send_replace(position(14));
        for expected in [11, 13] {
            match events.next().await {
                Some(StreamEvent::Commit(notice)) => assert_eq!(notice.timestamp, timestamp(expected)),
                other => panic!("expected commit {expected}: {other:?}"),
            }
        }
        buffer.tick();
        assert_eq!(heartbeat(events.next().await), 14, "another deployment moved it");
        buffer.tick();
        assert_eq!(heartbeat(events.next().await), 14, "a quiet stream beats");
        token.cancel();
        assert!(events.next().await.is_none());
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_told_that_it_lags() {
        let limits = LogLimits { stream_buffer_commits_max: 3, ..LogLimits::DEFAULT };
        let buffer = Arc::new(CommitBuffer::new(timestamp(10), &limits));
        let (_moved, watched) = watch::channel(position(10));
        let subscribe =
            |from| buffer.subscribe(OURS, timestamp(from), watched.clone(), CancellationToken::new());
        let mut slow = subscribe(10);
        buffer.add((11..=20).map(|at| (OURS, notice(at))));
        assert!(matches!(slow.next().await, Some(StreamEvent::Lagged { from }) if from == timestamp(10)));
        assert!(slow.next().await.is_none());
        let mut in_time = subscribe(17);
        assert!(
            matches!(in_time.next().await, Some(StreamEvent::Commit(notice)) if notice.timestamp == timestamp(18))
        );
    }

    #[tokio::test]
    async fn a_commit_wakes_the_subscribers_of_its_deployment_and_nobody_else() {
        const QUIET: u32 = 1_000;
        const BATCHES: u64 = 100;
        let buffer = Arc::new(CommitBuffer::new(timestamp(0), &LogLimits::DEFAULT));
        let (_moved, watched) = watch::channel(position(0));
        let token = CancellationToken::new();
        let subscribe =
            |deployment| buffer.subscribe(deployment, timestamp(0), watched.clone(), token.clone());
        let mut quiet: Vec<_> = (2..2 + QUIET).map(|number| subscribe(DeploymentId(number))).collect();
        let mut busy = subscribe(OURS);
        let is_heartbeat = |event: Option<StreamEvent>, at: u64| match event {
            Some(StreamEvent::Heartbeat { published, .. }) => assert_eq!(published, timestamp(at)),
            other => panic!("expected a heartbeat: {other:?}"),
        };
        // Everybody has heard how far it is, and waits.
        is_heartbeat(busy.next().await, 0);
        for events in &mut quiet {
            is_heartbeat(events.next().await, 0);
        }
        let mut waiting: futures::stream::SelectAll<_> = quiet.into_iter().collect();
        assert!(futures::poll!(waiting.next()).is_pending());
        for batch in 1..=BATCHES {
            buffer.add([(OURS, notice(2 * batch)), (OURS, notice(2 * batch + 1))]);
            for at in [2 * batch, 2 * batch + 1] {
                assert!(
                    matches!(busy.next().await, Some(StreamEvent::Commit(notice)) if notice.timestamp == timestamp(at))
                );
            }
            assert!(futures::poll!(waiting.next()).is_pending());
        }
        assert!(buffer.wake_ups() <= BATCHES, "{} for {BATCHES} batches", buffer.wake_ups());
        let before = buffer.wake_ups();
        buffer.tick();
        for _ in 0..QUIET {
            is_heartbeat(waiting.next().await, 2 * BATCHES + 1);
        }
        assert_eq!(buffer.wake_ups() - before, u64::from(QUIET), "one for each, whatever has come meanwhile");

        assert_eq!(buffer.subscribed.lock().len(), QUIET as usize + 1);
        drop((busy, waiting));
        assert_eq!(buffer.subscribed.lock().len(), 0, "who has gone leaves nothing behind");
    }

    #[test]
    fn quiet_subscribers_are_told_what_has_moved_at_the_next_pause_and_else_by_heartbeats() {
        let pause = Duration::from_millis(100);
        let mut pace = Pace { heartbeat: 5 * pause, told: timestamp(7), silent: Duration::ZERO };
        let published = [7, 7, 7, 7, 7, 7, 7, 8, 9, 9, 9, 9, 9, 9];
        let told = published.map(|at| u8::from(pace.is_due(timestamp(at), pause)));
        assert_eq!(told, [0, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1]);
    }
}
