//! One deployment's streams, as this process serves them: it follows which there are, and what its own runner runs.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use contract::{DeploymentRef, ExecutionRecord, FunctionLogPage, ReadAt, Result, Timestamp};
use tokio_util::sync::CancellationToken;
use value::DocumentId;

use crate::{
    delivery::Stream,
    events::{Event, Origin, of_execution},
    rows,
    service::{Local, Shared},
};

/// Serves a deployment until it goes or the service stops.
pub(crate) async fn run(shared: Arc<Shared>, deployment: DeploymentRef, shutdown: CancellationToken) {
    let local = shared.local(deployment);
    let mut served = Served {
        shared: shared.clone(),
        deployment,
        streams: HashMap::new(),
        retries: Retries::default(),
        seen: None,
        cursor: None,
        shutdown: shutdown.clone(),
    };
    shutdown.run_until_cancelled(served.follow(&local)).await;
    shared.forget(deployment);
}

struct Served {
    shared: Arc<Shared>,
    deployment: DeploymentRef,
    streams: HashMap<DocumentId, Stream>,
    retries: Retries,
    /// The moment at which the streams were looked at.
    seen: Option<Timestamp>,
    /// Up to where the runner's log was told; `None` where nobody wants it.
    cursor: Option<u64>,
    shutdown: CancellationToken,
}

impl Served {
    async fn follow(&mut self, local: &Local) {
        let look = Duration::from_millis(self.shared.limits.look_ms);
        loop {
            if let Err(error) = self.look().await {
                tracing::debug!(deployment = %self.deployment, %error, "log streams are looked at later");
            }
            let looked = tokio::time::sleep(look);
            tokio::pin!(looked);
            loop {
                tokio::select! {
                    () = &mut looked => break,
                    () = local.changed.notified() => break,
                    event = local.next() => self.tell(&event),
                    page = executions(&self.shared, self.deployment, self.cursor) => {
                        self.cursor = Some(page.cursor);
                        page.records.iter().for_each(|record| self.tell_of(record));
                    }
                }
            }
        }
    }

    fn tell_of(&mut self, record: &ExecutionRecord) {
        let limits = &self.shared.limits;
        let retries = self.retries.before(record, limits.events_queued_max);
        let events = of_execution(record, retries, limits.text_bytes_max);
        events.into_iter().for_each(|event| self.tell(&Arc::new(event)));
    }

    fn tell(&self, event: &Arc<Event>) {
        self.streams.values().for_each(|stream| stream.take(&self.shared, event));
    }

    /// Begins and ends streams, if anything was committed since the last look.
    async fn look(&mut self) -> Result<()> {
        let log = &self.shared.transactions.log;
        let published = log.position(self.deployment.group)?.borrow().published;
        if self.seen == Some(published) {
            return Ok(());
        }
        let at = ReadAt::published(published);
        let mut transaction = self.shared.transactions.snapshot_at(self.deployment, at).await?;
        let streams = rows::all(&self.shared.seal, self.deployment, &mut transaction).await?;
        let entries = self.shared.deployments.borrow().clone();
        let origin = Origin::of(entries.get(self.deployment)?);
        self.streams.retain(|id, served| {
            streams.iter().any(|stream| stream.id == *id && stream.secrets == served.secrets)
        });
        for stream in streams {
            match self.streams.entry(stream.id) {
                Entry::Occupied(served) => served.get().saw(stream.sealed, stream.state),
                Entry::Vacant(new) => {
                    let whose = (self.deployment, origin.clone());
                    new.insert(Stream::start(self.shared.clone(), whose, stream, &self.shutdown));
                }
            }
        }
        match (self.streams.is_empty(), self.cursor, &self.shared.runner) {
            (true, ..) => self.cursor = None,
            // What ran before is nobody's.
            (false, None, Some(runner)) => {
                self.cursor = Some(runner.function_log(self.deployment, 0, Duration::ZERO).await?.cursor);
            }
            (false, ..) => {}
        }
        self.seen = Some(published);
        Ok(())
    }
}

/// How often the mutations were refused that are being run again.
#[derive(Debug, Default)]
struct Retries {
    /// By request and function.
    refused: HashMap<(String, String), usize>,
}

impl Retries {
    /// How many attempts there were before this one. What was counted is forgotten where there is too much: who ended in between is
    /// never heard of again.
    fn before(&mut self, record: &ExecutionRecord, kept_max: usize) -> usize {
        let key = (record.request_id.clone(), record.identifier.clone());
        let before = self.refused.remove(&key).unwrap_or(0);
        if record.will_retry {
            if self.refused.len() >= kept_max {
                self.refused.clear();
            }
            self.refused.insert(key, before + 1);
        }
        before
    }
}

/// What has run behind a cursor. Waits until something has run; without a cursor or a runner for ever.
async fn executions(shared: &Shared, deployment: DeploymentRef, cursor: Option<u64>) -> FunctionLogPage {
    /// For no longer, so that nothing is held for a deployment that is quiet.
    const WAIT: Duration = Duration::from_secs(10);
    let (Some(runner), Some(cursor)) = (&shared.runner, cursor) else { return std::future::pending().await };
    loop {
        match runner.function_log(deployment, cursor, WAIT).await {
            Ok(page) if page.records.is_empty() => {}
            Ok(page) => return page,
            Err(error) => {
                tracing::debug!(%deployment, %error, "what has run is told later");
                tokio::time::sleep(WAIT).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::tests::failed;

    #[test]
    fn attempts_are_counted_by_request_until_the_last() {
        let mut retries = Retries::default();
        let attempt = |request_id: &str, will_retry| ExecutionRecord {
            request_id: request_id.to_owned(),
            will_retry,
            ..failed()
        };
        let (one, other) = (attempt("one", true), attempt("other", true));
        assert_eq!([&one, &one, &other, &one].map(|record| retries.before(record, 2)), [0, 1, 0, 2]);
        assert_eq!(retries.before(&attempt("one", false), 2), 3);
        assert_eq!(retries.before(&attempt("one", false), 2), 0);
        for number in 0..10 {
            retries.before(&attempt(&number.to_string(), true), 2);
            assert!(retries.refused.len() <= 2);
        }
    }
}
