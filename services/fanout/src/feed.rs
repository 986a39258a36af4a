//! One deployment's commit stream, without end: subscribed to again whenever it breaks.

use std::{sync::Arc, time::Duration};

use contract::{CommitNotice, DeploymentRef, StreamEvent, Timestamp, TransactionLog};
use futures::StreamExt;
use tokio::sync::mpsc;

/// Each one is a word of the log: one that can't tell whether it is current says nothing.
#[derive(Debug)]
pub(crate) enum FeedEvent {
    /// What follows are the commits above this moment; there may have been others since the last event.
    Follow(Timestamp),
    Commit(Arc<CommitNotice>),
    /// There was no other commit up to this moment.
    Published(Timestamp),
}

pub(crate) struct Feed {
    pub log: Arc<dyn TransactionLog>,
    pub deployment: DeploymentRef,
    /// A stream that is silent for so long is given up.
    pub silence_max: Duration,
    /// How long to wait before asking a log again that refused to be followed.
    pub retry_pause: Duration,
}

impl Feed {
    /// Ends when nobody takes the events any more.
    pub async fn run(self, events: mpsc::Sender<FeedEvent>) {
        let mut resume_at = None;
        while !events.is_closed() {
            match self.follow(&mut resume_at, &events).await {
                Ok(()) => {}
                Err(error) => {
                    tracing::debug!(%error, "the commit stream can't be followed now");
                    tokio::time::sleep(self.retry_pause).await;
                }
            }
        }
    }

    /// Follows one stream to its end. `resume_at` is up to where there is no gap; `None` where there may be one.
    async fn follow(
        &self,
        resume_at: &mut Option<Timestamp>,
        events: &mpsc::Sender<FeedEvent>,
    ) -> contract::Result<()> {
        let from = match *resume_at {
            Some(known) => known,
            None => self.log.position(self.deployment.group)?.borrow().published,
        };
        let mut stream = self.log.subscribe(self.deployment, from).await?;
        loop {
            let next = tokio::select! {
                next = tokio::time::timeout(self.silence_max, stream.next()) => next,
                () = events.closed() => return Ok(()),
            };
            let has_begun = matches!(next, Ok(Some(StreamEvent::Commit(_) | StreamEvent::Heartbeat { .. })));
            if has_begun && resume_at.is_none() {
                *resume_at = Some(from);
                if events.send(FeedEvent::Follow(from)).await.is_err() {
                    return Ok(());
                }
            }
            let event = match next {
                Ok(Some(StreamEvent::Commit(commit))) => {
                    *resume_at = Some(commit.timestamp);
                    FeedEvent::Commit(commit)
                }
                Ok(Some(StreamEvent::Heartbeat { published, .. })) => {
                    *resume_at = (*resume_at).max(Some(published));
                    FeedEvent::Published(published)
                }
                Ok(Some(StreamEvent::Lagged { .. })) => {
                    *resume_at = None;
                    return Ok(());
                }
                Ok(None) | Err(_) => {
                    // The stream resumes by timestamp: nothing is lost by asking for it again.
                    tokio::time::sleep(self.retry_pause).await;
                    return Ok(());
                }
            };
            if events.send(event).await.is_err() {
                return Ok(());
            }
        }
    }
}
