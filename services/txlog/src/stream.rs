//! The stream of published commits, from memory.
//!
//! All subscribers of a group read from one bounded buffer, each at its own place: a slow one holds up nobody, and is told
//! so when the buffer has left it behind. The deployment that fills the buffer most makes room, so that a busy one leaves
//! only its own subscribers behind. A commit wakes the subscribers of its own deployment only. How far the others have
//! come by it they hear from one ticker for the whole group, so that many quiet deployments cost nothing while one is busy.
//!
//! A stream begins when a quorum has confirmed that nothing is missing here. So whoever subscribes again and again at a replica
//! that is cut off hears nothing, and not each time the same.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{limits::LogLimits, planted, runtime};
use contract::{CommitNotice, DeploymentId, Epoch, Position, StreamEvent, StreamEvents, Timestamp};
use futures::stream;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;

const KEY_OVERHEAD_BYTES: usize = 64;

/// The newest published commits of a group.
#[derive(Debug)]
pub struct CommitBuffer {
    max: Filled,
    /// Commits that a subscriber takes out at once.
    taken_max: usize,
    kept: RwLock<Kept>,
    /// Wakes the subscribers of a deployment; only of those that have some.
    subscribed: Mutex<HashMap<DeploymentId, watch::Sender<()>>>,
    /// Wakes all of them.
    tick: watch::Sender<()>,
    /// New subscribers, who are told nothing before it is proved that this replica is current.
    unproved: Mutex<Vec<oneshot::Sender<()>>>,
    /// Wakes whoever proves it.
    asked: Notify,
    /// How often subscribers were woken.
    wake_ups: AtomicU64,
}

/// How much of a buffer is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Filled {
    commits: usize,
    bytes: usize,
}

impl Filled {
    fn add(&mut self, notice: &CommitNotice) {
        self.commits += 1;
        self.bytes += notice_bytes(notice);
    }

    fn take(&mut self, notice: &CommitNotice) {
        self.commits -= 1;
        self.bytes -= notice_bytes(notice);
    }

    fn is_over(self, max: Filled) -> bool {
        self.commits > max.commits || self.bytes > max.bytes
    }

    /// The larger of its two parts of `max`, so that what is different can be compared.
    fn part_of(self, max: Filled) -> u64 {
        let part = |filled: usize, max: usize| (filled as u64).saturating_mul(1 << 20) / max.max(1) as u64;
        part(self.commits, max.commits).max(part(self.bytes, max.bytes))
    }
}

#[derive(Debug)]
struct Kept {
    deployments: HashMap<DeploymentId, Commits>,
    /// The deployments by the part of the buffer that they fill: the last one makes room.
    by_part: BTreeSet<(u64, DeploymentId)>,
    filled: Filled,
    /// What was published when the buffer began: of a deployment that is not in it nothing came since.
    floor: Timestamp,
    /// The last commit that was ever added.
    published: Timestamp,
}

/// The newest commits of a deployment, in order.
#[derive(Debug)]
struct Commits {
    notices: VecDeque<Arc<CommitNotice>>,
    filled: Filled,
    /// Every commit above it is here.
    floor: Timestamp,
}

impl Kept {
    fn add(&mut self, deployment: DeploymentId, notice: Arc<CommitNotice>, max: Filled) {
        assert!(self.published < notice.timestamp, "commits are published in their order");
        self.published = notice.timestamp;
        self.filled.add(&notice);
        let floor = self.floor;
        let new = || Commits { notices: VecDeque::new(), filled: Filled::default(), floor };
        let commits = self.deployments.entry(deployment).or_insert_with(new);
        self.by_part.remove(&(commits.filled.part_of(max), deployment));
        commits.filled.add(&notice);
        commits.notices.push_back(notice);
        self.by_part.insert((commits.filled.part_of(max), deployment));
    }

    /// Lets go of the oldest commit of the deployment that keeps most.
    fn make_room(&mut self, max: Filled) {
        let (_, deployment) = self.by_part.pop_last().expect("whoever fills it is known");
        let commits = self.deployments.get_mut(&deployment).expect("it was added");
        let oldest = commits.notices.pop_front().expect("whoever fills most has something");
        assert!(commits.floor < oldest.timestamp, "what is kept is above the floor");
        commits.floor = oldest.timestamp;
        commits.filled.take(&oldest);
        self.filled.take(&oldest);
        assert!(commits.filled.bytes == 0 || !commits.notices.is_empty(), "what is gone is not counted");
        self.by_part.insert((commits.filled.part_of(max), deployment));
    }
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
        let kept = Kept {
            deployments: HashMap::new(),
            by_part: BTreeSet::new(),
            filled: Filled::default(),
            floor: published,
            published,
        };
        let (commits, bytes) = (limits.stream_buffer_commits_max, limits.stream_buffer_bytes_max);
        CommitBuffer {
            max: Filled { commits, bytes },
            taken_max: limits.stream_commits_taken_max,
            kept: RwLock::new(kept),
            subscribed: Mutex::default(),
            tick: watch::Sender::new(()),
            unproved: Mutex::default(),
            asked: Notify::new(),
            wake_ups: AtomicU64::new(0),
        }
    }

    /// Tells every subscriber how far the group has come: where it has moved every `quiet`, and every `heartbeat` if `is_led`
    /// finds out that a leader stands behind this replica. What it does not say within a heartbeat is no proof. A new subscriber
    /// is told nothing before there was one. Ends with the token.
    pub async fn tick_in_time<F: Future<Output = bool>>(
        self: Arc<Self>,
        quiet: Duration,
        heartbeat: Duration,
        is_led: impl Fn() -> F,
        token: CancellationToken,
    ) {
        let mut pace = Pace { heartbeat, told: self.kept.read().published, silent: Duration::ZERO };
        let pause = quiet.min(heartbeat);
        let ticking = async {
            loop {
                runtime::sleep(pause).await;
                self.tick_if_due(&mut pace, pause, &is_led).await;
            }
        };
        let proving = async {
            loop {
                self.asked.notified().await;
                while !self.prove(heartbeat, &is_led).await {
                    runtime::sleep(pause).await;
                }
            }
        };
        tokio::select! {
            biased;
            () = token.cancelled() => {}
            () = ticking => {}
            () = proving => {}
        }
    }

    /// Finds out whether this replica is current, for all who have asked by now. Whether all of them have heard that it is.
    async fn prove<F: Future<Output = bool>>(&self, within: Duration, is_led: impl Fn() -> F) -> bool {
        let mut asking = std::mem::take(&mut *self.unproved.lock());
        asking.retain(|subscriber| !subscriber.is_closed());
        if asking.is_empty() {
            return true;
        }
        let is_proved = runtime::timeout(within, is_led()).await == Ok(true);
        if is_proved {
            for subscriber in asking {
                // It may have gone meanwhile.
                let _ = subscriber.send(());
            }
        } else {
            self.unproved.lock().append(&mut asking);
        }
        is_proved
    }

    /// After another pause.
    async fn tick_if_due<F: Future<Output = bool>>(
        &self,
        pace: &mut Pace,
        pause: Duration,
        is_led: impl Fn() -> F,
    ) {
        let published = self.kept.read().published;
        let due = match pace.due(published, pause) {
            None => false,
            // A leader has had it committed.
            Some(Due::Moved) => true,
            Some(Due::Heartbeat) => runtime::timeout(pace.heartbeat, is_led()).await == Ok(true),
        };
        if due {
            self.tick();
        }
    }

    fn tick(&self) {
        self.tick.send_replace(());
    }

    /// Memory of the commits that are kept for subscribers; bounded by `stream_buffer_bytes_max`.
    pub fn bytes(&self) -> usize {
        self.kept.read().filled.bytes
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
            kept.add(deployment, notice, self.max);
        }
        while kept.filled.is_over(self.max) {
            kept.make_room(self.max);
        }
        drop(kept);
        let subscribed = self.subscribed.lock();
        touched.iter().filter_map(|deployment| subscribed.get(deployment)).for_each(|wake| {
            wake.send_replace(());
        });
    }

    /// The group has other data, up to `published`. Nobody can be told what came before.
    pub fn replaced(&self, published: Timestamp) {
        {
            let mut kept = self.kept.write();
            *kept = Kept {
                deployments: HashMap::new(),
                by_part: BTreeSet::new(),
                filled: Filled::default(),
                floor: published,
                published: kept.published.max(published),
            };
        }
        self.tick();
    }

    fn after(&self, deployment: DeploymentId, from: Timestamp) -> Found {
        let kept = self.kept.read();
        let of_deployment = kept.deployments.get(&deployment);
        if from < of_deployment.map_or(kept.floor, |commits| commits.floor) {
            return Found::Gone;
        }
        let notices = of_deployment.map(|commits| &commits.notices);
        let commits: Vec<_> = notices.map_or_else(Vec::new, |notices| {
            let first = notices.partition_point(|notice| notice.timestamp <= from);
            notices.range(first..).take(self.taken_max).cloned().collect()
        });
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
        let (prove, proof) = oneshot::channel();
        self.unproved.lock().push(prove);
        self.asked.notify_one();
        let subscriber = Subscriber {
            commits,
            ticks: self.tick.subscribe(),
            buffer: self.clone(),
            deployment,
            at: from,
            proof: (!planted::is(planted::Bug::StreamBeginsUnproved)).then_some(proof),
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

/// Why everybody is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Moved,
    Heartbeat,
}

impl Pace {
    /// After another pause.
    fn due(&mut self, published: Timestamp, pause: Duration) -> Option<Due> {
        self.silent += pause;
        let due = match () {
            () if published != self.told => Due::Moved,
            () if self.silent >= self.heartbeat => Due::Heartbeat,
            () => return None,
        };
        (self.told, self.silent) = (published, Duration::ZERO);
        Some(due)
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
    /// Comes when this replica was found to be current since the subscription began.
    proof: Option<oneshot::Receiver<()>>,
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
        if let Some(proof) = &mut self.proof {
            tokio::select! {
                biased;
                () = self.token.cancelled() => return None,
                proved = proof => proved.ok()?,
            }
            self.proof = None;
        }
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
                biased;
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

    /// As a leader that a quorum stands behind.
    async fn prove(buffer: &CommitBuffer) {
        assert!(buffer.prove(Duration::from_secs(10), async || true).await);
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
        prove(&buffer).await;
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
        prove(&buffer).await;
        buffer.add((11..=20).map(|at| (OURS, notice(at))));
        assert!(matches!(slow.next().await, Some(StreamEvent::Lagged { from }) if from == timestamp(10)));
        assert!(slow.next().await.is_none());
        let mut in_time = subscribe(17);
        prove(&buffer).await;
        assert!(
            matches!(in_time.next().await, Some(StreamEvent::Commit(notice)) if notice.timestamp == timestamp(18))
        );
    }

    #[tokio::test]
    async fn a_busy_deployment_leaves_only_its_own_subscribers_behind() {
        let limits = LogLimits { stream_buffer_commits_max: 8, ..LogLimits::DEFAULT };
        let buffer = Arc::new(CommitBuffer::new(timestamp(10), &limits));
        let (_moved, watched) = watch::channel(position(10));
        let subscribe = |deployment| {
            buffer.subscribe(deployment, timestamp(10), watched.clone(), CancellationToken::new())
        };
        let (mut ours, mut other) = (subscribe(OURS), subscribe(OTHER));
        prove(&buffer).await;
        buffer.add([(OTHER, notice(11)), (OTHER, notice(12))]);
        buffer.add((13..100).map(|at| (OURS, notice(at))));
        buffer.add([(OTHER, notice(100))]);
        assert!(matches!(ours.next().await, Some(StreamEvent::Lagged { from }) if from == timestamp(10)));
        for expected in [11, 12, 100] {
            match other.next().await {
                Some(StreamEvent::Commit(notice)) => assert_eq!(notice.timestamp, timestamp(expected)),
                other => panic!("expected commit {expected}: {other:?}"),
            }
        }
        let kept = buffer.kept.read();
        let commits: HashMap<_, _> = kept
            .deployments
            .iter()
            .map(|(deployment, commits)| (*deployment, commits.notices.len()))
            .collect();
        assert_eq!(commits, HashMap::from([(OURS, 5), (OTHER, 3)]), "all of it is used");
        assert_eq!(kept.filled.commits, 8);
    }

    #[tokio::test]
    async fn a_replica_behind_which_no_leader_stands_has_no_heartbeats() {
        let heartbeat = Duration::from_millis(1);
        let buffer = Arc::new(CommitBuffer::new(timestamp(10), &LogLimits::DEFAULT));
        let (_moved, watched) = watch::channel(position(10));
        let mut events = buffer.subscribe(OURS, timestamp(10), watched, CancellationToken::new());
        let mut pace = Pace { heartbeat, told: timestamp(10), silent: Duration::ZERO };
        let beats = |event: Option<StreamEvent>, at: u64| match event {
            Some(StreamEvent::Heartbeat { published, .. }) => assert_eq!(published, timestamp(at)),
            other => panic!("expected a heartbeat: {other:?}"),
        };
        prove(&buffer).await;
        beats(events.next().await, 10);
        buffer.tick_if_due(&mut pace, heartbeat, async || true).await;
        beats(events.next().await, 10);
        // Whoever is asked says no, or says nothing.
        buffer.tick_if_due(&mut pace, heartbeat, async || false).await;
        buffer.tick_if_due(&mut pace, heartbeat, std::future::pending).await;
        assert!(futures::poll!(events.next()).is_pending(), "a heartbeat without a leader");
        // What is committed all the same is told: somebody led when it was.
        buffer.add([(OTHER, notice(11))]);
        buffer.tick_if_due(&mut pace, heartbeat, async || false).await;
        beats(events.next().await, 11);
        buffer.tick_if_due(&mut pace, heartbeat, async || false).await;
        assert!(futures::poll!(events.next()).is_pending());
        buffer.tick_if_due(&mut pace, heartbeat, async || true).await;
        beats(events.next().await, 11);
    }

    #[tokio::test]
    async fn a_stream_begins_when_it_is_proved_to_be_current_since_it_was_asked_for() {
        let wait = Duration::from_millis(1);
        let buffer = Arc::new(CommitBuffer::new(timestamp(10), &LogLimits::DEFAULT));
        let (_moved, watched) = watch::channel(position(10));
        let subscribe = || buffer.subscribe(OURS, timestamp(10), watched.clone(), CancellationToken::new());
        let mut events = subscribe();
        buffer.add([(OURS, notice(11))]);
        buffer.tick();
        assert!(!buffer.prove(wait, async || false).await);
        assert!(!buffer.prove(wait, std::future::pending).await);
        assert!(futures::poll!(events.next()).is_pending(), "what nobody stands behind");
        // Whoever comes while a quorum is asked has not asked it.
        let asked = std::cell::Cell::new(0);
        let late = std::cell::RefCell::new(None);
        let is_led = || {
            asked.set(asked.get() + 1);
            std::future::ready(true)
        };
        let proving = buffer.prove(Duration::from_secs(10), || {
            late.replace(Some(subscribe()));
            is_led()
        });
        assert!(proving.await);
        let mut late = late.into_inner().expect("it has subscribed");
        assert!(futures::poll!(late.next()).is_pending());
        let mut others: Vec<_> = (0..10).map(|_| subscribe()).collect();
        drop(others.pop());
        assert!(buffer.prove(Duration::from_secs(10), &is_led).await);
        for events in others.iter_mut().chain([&mut events, &mut late]) {
            let event = events.next().await;
            assert!(matches!(&event, Some(StreamEvent::Commit(notice)) if notice.timestamp == timestamp(11)));
        }
        assert_eq!(asked.get(), 2, "one answer serves all who wait for it");
        assert!(buffer.prove(wait, &is_led).await);
        assert_eq!(asked.get(), 2, "nobody asks");
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
        prove(&buffer).await;
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
        let told = published.map(|at| pace.due(timestamp(at), pause));
        let (moved, beats) = (Some(Due::Moved), Some(Due::Heartbeat));
        let no = None;
        assert_eq!(told, [no, no, no, no, beats, no, no, moved, moved, no, no, no, no, beats]);
    }
}
