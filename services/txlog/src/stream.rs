//! The stream of published commits, from memory.
//!
//! All subscribers of a group read from one bounded buffer, each at its own place: a slow one holds up nobody, and is told
//! so when the buffer has left it behind.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use crate::limits::LogLimits;
use contract::{CommitNotice, DeploymentId, Position, StreamEvent, StreamEvents, Timestamp};
use futures::stream;
use parking_lot::RwLock;
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
        }
    }

    /// Adds published commits, in their order.
    pub fn add(&self, commits: impl IntoIterator<Item = (DeploymentId, Arc<CommitNotice>)>) {
        let mut kept = self.kept.write();
        for (deployment, notice) in commits {
            kept.bytes += notice_bytes(&notice);
            kept.published = notice.timestamp;
            kept.commits.push_back((deployment, notice));
        }
        while kept.bytes > self.bytes_max || kept.commits.len() > self.commits_max {
            let Some((_, oldest)) = kept.commits.pop_front() else { break };
            kept.bytes -= notice_bytes(&oldest);
            kept.floor = oldest.timestamp;
        }
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
        heartbeat: Duration,
        token: CancellationToken,
    ) -> StreamEvents {
        let subscriber = Subscriber {
            buffer: self.clone(),
            deployment,
            at: from,
            told: None,
            taken: VecDeque::new(),
            position,
            heartbeat,
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

fn notice_bytes(notice: &CommitNotice) -> usize {
    let keys: usize = notice.keys.iter().map(|touched| touched.key.len() + KEY_OVERHEAD_BYTES).sum();
    KEY_OVERHEAD_BYTES + keys
}

struct Subscriber {
    buffer: Arc<CommitBuffer>,
    deployment: DeploymentId,
    /// Every commit up to here was given.
    at: Timestamp,
    /// What the last event said is published.
    told: Option<Timestamp>,
    taken: VecDeque<Arc<CommitNotice>>,
    position: watch::Receiver<Position>,
    heartbeat: Duration,
    token: CancellationToken,
}

impl Subscriber {
    async fn next(&mut self) -> Option<StreamEvent> {
        let deadline = tokio::time::Instant::now() + self.heartbeat;
        loop {
            if let Some(notice) = self.taken.pop_front() {
                self.at = notice.timestamp;
                self.told = Some(notice.timestamp);
                return Some(StreamEvent::Commit(notice));
            }
            // Seen before looking, so that what comes in between is noticed.
            let epoch = self.position.borrow_and_update().epoch;
            let published = match self.buffer.after(self.deployment, self.at) {
                Found::Gone => return Some(StreamEvent::Lagged { from: self.at }),
                Found::Commits(commits) => {
                    self.taken = commits.into();
                    continue;
                }
                Found::Nothing(published) => published,
            };
            self.at = self.at.max(published);
            if self.told != Some(published) {
                self.told = Some(published);
                return Some(StreamEvent::Heartbeat { epoch, published });
            }
            tokio::select! {
                () = self.token.cancelled() => return None,
                changed = self.position.changed() => changed.ok()?,
                () = tokio::time::sleep_until(deadline) => {
                    return Some(StreamEvent::Heartbeat { epoch, published });
                }
            }
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
        let mut events =
            buffer.subscribe(OURS, timestamp(10), watched, Duration::from_millis(20), token.clone());
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
        assert_eq!(heartbeat(events.next().await), 14, "another deployment moved it");
        assert_eq!(heartbeat(events.next().await), 14, "a quiet stream beats");
        token.cancel();
        assert!(events.next().await.is_none());
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_told_that_it_lags() {
        let limits = LogLimits { stream_buffer_commits_max: 3, ..LogLimits::DEFAULT };
        let buffer = Arc::new(CommitBuffer::new(timestamp(10), &limits));
        let (_moved, watched) = watch::channel(position(10));
        let subscribe = |from| {
            buffer.subscribe(
                OURS,
                timestamp(from),
                watched.clone(),
                Duration::from_secs(1),
                CancellationToken::new(),
            )
        };
        let mut slow = subscribe(10);
        buffer.add((11..=20).map(|at| (OURS, notice(at))));
        assert!(matches!(slow.next().await, Some(StreamEvent::Lagged { from }) if from == timestamp(10)));
        assert!(slow.next().await.is_none());
        let mut in_time = subscribe(17);
        assert!(
            matches!(in_time.next().await, Some(StreamEvent::Commit(notice)) if notice.timestamp == timestamp(18))
        );
    }
}
