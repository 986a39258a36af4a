//! Subscribers to the streams of commits, who go on at another node when theirs dies, falls silent, or just so.

use std::{collections::BTreeMap, ops::Bound, sync::Arc, time::Duration};

use contract::{CommitId, DeploymentRef, StreamEvent, Timestamp, TransactionLog};
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{
    network::{Network, Server},
    runtime,
};

const SILENCE: Duration = Duration::from_millis(600);
const PAUSE: Duration = Duration::from_millis(20);

/// What a subscriber was given without a gap, wherever it asked.
#[derive(Debug)]
pub struct Segment {
    /// Every commit above it is here,
    from: Timestamp,
    /// in order,
    commits: Vec<Timestamp>,
    /// up to here.
    to: Timestamp,
}

pub struct Subscriber {
    network: Arc<Network>,
    at: DeploymentRef,
    newest: Newest,
    segments: Arc<Mutex<Vec<Segment>>>,
}

/// Tells the newest commit that somebody was told of.
pub type Newest = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a subscriber was given.
#[derive(Clone)]
pub struct Given(DeploymentRef, Arc<Mutex<Vec<Segment>>>);

impl Subscriber {
    pub fn new(network: Arc<Network>, at: DeploymentRef, newest: Newest) -> (Subscriber, Given) {
        let segments = Arc::default();
        let given = Given(at, Arc::clone(&segments));
        (Subscriber { network, at, newest, segments }, given)
    }

    /// Follows for ever.
    pub async fn run(self) {
        let mut gap = true;
        loop {
            let server = match self.network.anybody() {
                Some(node) => self.network.server(node),
                None => None,
            };
            let Some(server) = server else {
                runtime::sleep(PAUSE).await;
                continue;
            };
            if gap {
                let from = server.group.published();
                self.segments.lock().push(Segment { from, commits: Vec::new(), to: from });
            }
            gap = self.follow(server).await;
            runtime::sleep(runtime::up_to(PAUSE)).await;
        }
    }

    /// Follows one node, until that gives no more. Whether it told of a gap.
    async fn follow(&self, server: Server) -> bool {
        let (events, mut arriving) = mpsc::unbounded_channel();
        let from = self.segments.lock().last().expect("one was begun").to;
        let at = self.at;
        // A replica that does not have it can't tell that it is current.
        let mut acknowledged = Some((self.newest)());
        runtime::spawn_for(server.owner, async move {
            let mut stream = server.handle.subscribe(at, from).await.expect("it is here");
            while let Some(event) = stream.next().await {
                if events.send(event).is_err() {
                    return;
                }
            }
        });
        loop {
            let Ok(Some(event)) = runtime::timeout(SILENCE, arriving.recv()).await else { return false };
            {
                let mut segments = self.segments.lock();
                let segment = segments.last_mut().expect("one was begun");
                match event {
                    StreamEvent::Commit(notice) => {
                        assert!(segment.to < notice.timestamp, "{} after {}", notice.timestamp, segment.to);
                        segment.to = notice.timestamp;
                        segment.commits.push(notice.timestamp);
                    }
                    StreamEvent::Heartbeat { published, .. } => {
                        assert!(segment.to <= published, "{published} after {}", segment.to);
                        if let Some(acknowledged) = acknowledged.take() {
                            let message = "before the stream was asked for";
                            assert!(acknowledged <= published, "{published}, and {acknowledged} {message}");
                        }
                        segment.to = published;
                    }
                    StreamEvent::Lagged { .. } => return true,
                }
            }
            if runtime::happens(20) {
                return false;
            }
        }
    }
}

impl Given {
    /// How far it has come.
    pub fn to(&self) -> Timestamp {
        self.1.lock().last().map_or(Timestamp::ZERO, |segment| segment.to)
    }

    /// Holds it against what was committed.
    pub fn judge(
        &self,
        recorded: &BTreeMap<DeploymentRef, BTreeMap<Timestamp, (CommitId, u32)>>,
    ) -> Result<(), String> {
        let Given(at, segments) = self;
        for segment in &*segments.lock() {
            let between = (Bound::Excluded(segment.from), Bound::Included(segment.to));
            let expected: Vec<Timestamp> = match (recorded.get(at), segment.from < segment.to) {
                (Some(recorded), true) => recorded.range(between).map(|(at, _)| *at).collect(),
                _ => Vec::new(),
            };
            if expected != segment.commits {
                return Err(format!("a stream of {at} gave {segment:?}, and there was {expected:?}"));
            }
        }
        Ok(())
    }
}
