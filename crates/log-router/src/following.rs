//! What every replica can answer: reads of what is published, and the stream of commits.

use std::{sync::Arc, time::Duration};

use contract::{
    DeploymentRef, Error, ErrorKind, NodeId, Read, ReadAt, ReadResult, Result, StreamEvent, StreamEvents,
    Timestamp, code,
};
use futures::{StreamExt as _, future::BoxFuture, stream};
use tokio::time::{sleep, timeout};

use crate::{
    group::{Group, Member},
    router::is_of_the_replica,
};

fn no_replica() -> Error {
    Error::new(ErrorKind::Overloaded, code::NODE_UNREACHABLE, "no replica of the group is known")
}

/// Reads at the nearest replica that answers.
pub(crate) async fn read(
    group: &Group,
    deployment: DeploymentRef,
    at: ReadAt,
    reads: &[Read],
) -> Result<Vec<ReadResult>> {
    let mut failed = no_replica();
    for member in group.by_nearness() {
        match member.log.read(deployment, at, reads).await {
            Err(error) if is_of_the_replica(&error) || error.code == code::NOT_YET => {
                group.failed(&member);
                // What a replica says is worth more than that another one is gone.
                if failed.code != code::NOT_YET {
                    failed = error;
                }
            }
            results => {
                group.answered(&member);
                return results;
            }
        }
    }
    Err(failed)
}

/// The commits above `from`, from the nearest replica that gives them, and from another whenever it has to be.
pub(crate) async fn subscribe(
    group: Arc<Group>,
    deployment: DeploymentRef,
    from: Timestamp,
) -> Result<StreamEvents> {
    let (limits, at) = (group.limits, from);
    let silence_max = Duration::from_millis(limits.stream_silence_ms_max);
    let lagged = Vec::new();
    let mut following = Following { group, deployment, at, source: None, lagged, silence_max };
    following.connect().await?;
    Ok(Box::pin(stream::unfold(Some(following), |following| async {
        let mut following = following?;
        let event = following.next().await;
        let ends = matches!(event, StreamEvent::Lagged { .. });
        Some((event, (!ends).then_some(following)))
    })))
}

struct Following {
    group: Arc<Group>,
    deployment: DeploymentRef,
    /// Every commit up to here was given.
    at: Timestamp,
    source: Option<Source>,
    /// Those whose buffer does not reach back to `at`.
    lagged: Vec<NodeId>,
    silence_max: Duration,
}

/// Where the commits come from now.
struct Source {
    member: Arc<Member>,
    events: StreamEvents,
    /// Ends when a nearer one can be trusted.
    nearer: BoxFuture<'static, ()>,
}

/// What a source has brought.
enum Brought {
    Event(StreamEvent),
    /// It broke, or is silent.
    Nothing,
    Nearer,
}

impl Following {
    async fn next(&mut self) -> StreamEvent {
        loop {
            let Some(source) = &mut self.source else {
                if let Err(error) = self.connect().await {
                    tracing::debug!(%error, "no replica gives the commits now");
                    if !self.lagged.is_empty() {
                        return StreamEvent::Lagged { from: self.at };
                    }
                    sleep(Duration::from_millis(self.group.limits.stream_retry_ms)).await;
                }
                continue;
            };
            let brought = tokio::select! {
                event = timeout(self.silence_max, source.events.next()) => match event {
                    Ok(Some(event)) => Brought::Event(event),
                    Ok(None) | Err(_) => Brought::Nothing,
                },
                () = &mut source.nearer => Brought::Nearer,
            };
            match brought {
                Brought::Event(StreamEvent::Commit(notice)) => {
                    self.lagged.clear();
                    if notice.timestamp > self.at {
                        self.at = notice.timestamp;
                        return StreamEvent::Commit(notice);
                    }
                }
                Brought::Event(StreamEvent::Heartbeat { epoch, published }) => {
                    self.lagged.clear();
                    // A replica that is behind the one before says less than is known already.
                    self.at = self.at.max(published);
                    return StreamEvent::Heartbeat { epoch, published: self.at };
                }
                Brought::Event(StreamEvent::Lagged { .. }) => {
                    self.lagged.push(source.member.node);
                    self.source = None;
                }
                Brought::Nothing => {
                    tracing::debug!(node = %source.member.node, "a stream of commits goes on at another replica");
                    self.group.failed(&source.member);
                    self.source = None;
                }
                Brought::Nearer => self.source = None,
            }
        }
    }

    /// Subscribes at the nearest replica that can be asked and has not lagged.
    async fn connect(&mut self) -> Result<()> {
        let mut failed = no_replica();
        for member in self.group.by_nearness() {
            if self.lagged.contains(&member.node) {
                continue;
            }
            match timeout(self.silence_max, member.log.subscribe(self.deployment, self.at)).await {
                Ok(Ok(events)) => {
                    let nearer = nearer(self.group.clone(), self.deployment, member.node);
                    self.source = Some(Source { member, events, nearer: Box::pin(nearer) });
                    return Ok(());
                }
                Ok(Err(error)) if is_of_the_replica(&error) => {
                    self.group.failed(&member);
                    failed = error;
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => self.group.failed(&member),
            }
        }
        Err(failed)
    }
}

/// Waits until the nearest replica is another one than `node`, and can be trusted.
async fn nearer(group: Arc<Group>, deployment: DeploymentRef, node: NodeId) {
    loop {
        sleep(Duration::from_millis(group.limits.stream_return_ms)).await;
        let Some(nearest) = group.members().first().cloned() else { continue };
        if nearest.node != node && is_current(&group, deployment, &nearest).await {
            group.answered(&nearest);
            return;
        }
    }
}

/// Whether a replica follows a leader that a quorum stands behind.
async fn is_current(group: &Group, deployment: DeploymentRef, member: &Member) -> bool {
    let heard = async {
        let mut events = member.log.subscribe(deployment, member.published()).await.ok()?;
        // A stream begins when its replica is known to be current.
        match events.next().await? {
            StreamEvent::Lagged { .. } => None,
            StreamEvent::Commit(_) | StreamEvent::Heartbeat { .. } => Some(()),
        }
    };
    let silence_max = Duration::from_millis(group.limits.stream_silence_ms_max);
    timeout(silence_max, heard).await.is_ok_and(|heard| heard.is_some())
}
