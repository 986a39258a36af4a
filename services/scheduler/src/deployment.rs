//! One deployment's queue: follows the commit stream, and begins what is due.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use contract::{
    CommitNotice, DeploymentRef, DueCall, DueOutcome, Error, ErrorKind, IndexId, Interval, Order, Read,
    ReadAt, ReadResult, Result, StreamEvent, StreamEvents, Timestamp,
};
use fair_queue::Place;
use futures::{FutureExt as _, StreamExt as _};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use transaction::{
    held_from,
    system_tables::{DUE_INDEX, SystemTable},
};
use value::{DocumentId, Value, key};

use crate::{
    limits::READ_BYTES_MAX,
    service::Shared,
    upkeep::{Postpone, Trouble},
    window::Window,
};

/// Events that are taken before what is due is begun.
const EVENTS_TAKEN_MAX: usize = 512;

/// The keeper of one queue.
pub(crate) struct Deployment {
    shared: Arc<Shared>,
    deployment: DeploymentRef,
    /// Cancelled when the deployment goes, and when the service stops.
    shutdown: CancellationToken,
    index: IndexId,
    /// The end of the part of the index that is looked at: behind it is what somebody runs.
    held_from: Bytes,
    window: Window,
    /// Up to here the stream was heard, and the window is exact. `None`: there is no window.
    heard: Option<Timestamp>,
    runs: JoinSet<Ended>,
    /// Whether the deployment is paused, so that nothing is begun; `None` until that is looked up.
    paused: Option<bool>,
    /// That says so.
    pause: IndexId,
    /// A place that was asked for because all were taken.
    wish: Option<Pin<Box<dyn Future<Output = Place> + Send>>>,
}

/// The end of a run.
enum Ended {
    /// The entry is done, or was put off.
    Settled(Bytes),
    /// Nothing became of it.
    Unsettled(Bytes),
}

/// Why a stream is followed no more.
enum Break {
    Shutdown,
    /// It may have a gap: the window is lost.
    Gap,
    /// It goes on where it was heard last.
    Silence,
}

/// What the scheduler can tell from a key of the index.
struct EntryKey {
    due_ms: f64,
    id: DocumentId,
}

impl EntryKey {
    fn read(key: &[u8]) -> Option<EntryKey> {
        let parts = key::decode(key).ok()?;
        match &parts[..] {
            [Some(Value::Float64(due_ms)), _, Some(Value::String(id))] => {
                Some(EntryKey { due_ms: *due_ms, id: id.parse().ok()? })
            }
            _ => None,
        }
    }
}

impl Deployment {
    pub(crate) fn new(
        shared: Arc<Shared>,
        deployment: DeploymentRef,
        shutdown: CancellationToken,
    ) -> Deployment {
        let index = SystemTable::DueRuns.table().index(DUE_INDEX).expect("the table has it").id;
        let window = Window::new(shared.limits.entries_known_max);
        let pause = SystemTable::BackendState.table().by_id.id;
        Deployment {
            shared,
            deployment,
            shutdown,
            index,
            held_from: held_from(),
            window,
            heard: None,
            runs: JoinSet::new(),
            paused: None,
            pause,
            wish: None,
        }
    }

    /// Until the deployment goes or the service stops, and then until what runs has ended.
    pub(crate) async fn run(mut self) {
        let pause = Duration::from_millis(self.shared.limits.log_pause_ms);
        loop {
            match self.follow().await {
                Ok(Break::Shutdown) => break,
                Ok(Break::Silence) => {}
                Ok(Break::Gap) => self.heard = None,
                Err(error) => {
                    tracing::debug!(%error, "the queue can't be followed now");
                    self.heard = None;
                }
            }
            tokio::select! {
                () = self.shutdown.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.wish = None;
        self.shared.metrics.waits_since(self.deployment, None);
        while let Some(ended) = self.runs.join_next().await {
            ended.expect("a panic ends the process");
        }
    }

    /// Follows one stream to its end.
    async fn follow(&mut self) -> Result<Break> {
        let shared = Arc::clone(&self.shared);
        let log = Arc::clone(&shared.transactions.log);
        let from = match self.heard {
            Some(heard) => heard,
            None => log.position(self.deployment.group)?.borrow().published,
        };
        let mut stream = log.subscribe(self.deployment, from).await?;
        shared.metrics.streams.add(1);
        if self.heard.is_none() {
            self.window.forget();
            self.heard = Some(from);
            self.paused = None;
        }
        let shutdown = self.shutdown.clone();
        let silence_max = Duration::from_millis(shared.limits.stream_silence_ms_max);
        loop {
            self.look_ahead().await?;
            let next_ms = if self.is_paused().await? { None } else { self.begin_due() };
            tokio::select! {
                // What is bounded by the places comes first, so that a busy stream doesn't keep it waiting.
                biased;
                () = shutdown.cancelled() => return Ok(Break::Shutdown),
                Some(ended) = self.runs.join_next() => self.end(ended.expect("a panic ends the process")),
                place = wished(&mut self.wish), if self.wish.is_some() => {
                    self.wish = None;
                    self.begin_next(place);
                }
                event = tokio::time::timeout(silence_max, stream.next()) => {
                    let Ok(event) = event else { return Ok(Break::Silence) };
                    if let Some(broken) = self.hear_all(event, &mut stream) {
                        return Ok(broken);
                    }
                }
                () = shared.clock.reaches(next_ms.unwrap_or_default()), if next_ms.is_some() => {}
            }
        }
    }

    /// Takes an event, and what waits behind it.
    fn hear_all(&mut self, first: Option<StreamEvent>, stream: &mut StreamEvents) -> Option<Break> {
        let mut event = first;
        for _ in 0..EVENTS_TAKEN_MAX {
            match event {
                Some(StreamEvent::Commit(commit)) => self.hear(&commit),
                Some(StreamEvent::Heartbeat { published, .. }) => {
                    self.heard = self.heard.max(Some(published))
                }
                Some(StreamEvent::Lagged { .. }) => return Some(Break::Gap),
                None => return Some(Break::Silence),
            }
            event = stream.next().now_or_never()?;
        }
        match event {
            Some(StreamEvent::Commit(commit)) => self.hear(&commit),
            Some(StreamEvent::Heartbeat { .. }) => {}
            Some(StreamEvent::Lagged { .. }) => return Some(Break::Gap),
            None => return Some(Break::Silence),
        }
        None
    }

    fn hear(&mut self, commit: &CommitNotice) {
        for touched in &commit.keys {
            if touched.index == self.index && touched.key < self.held_from {
                self.window.touch(&touched.key);
            } else if touched.index == self.pause {
                self.paused = None;
            }
        }
        self.heard = Some(commit.timestamp);
    }

    /// Whether the deployment is paused. While it is, nothing is begun, and nobody waits for what is due.
    async fn is_paused(&mut self) -> Result<bool> {
        if let (None, Some(heard)) = (self.paused, self.heard) {
            let transactions = &self.shared.transactions;
            let transaction = transactions.snapshot_at(self.deployment, ReadAt::published(heard)).await?;
            self.paused = Some(transaction.deployment_catalog().is_paused());
        }
        let is_paused = self.paused == Some(true);
        if is_paused {
            self.wish = None;
            self.shared.metrics.waits_since(self.deployment, None);
        }
        Ok(is_paused)
    }

    /// Reads what follows the known part of the queue, if that is half used up.
    async fn look_ahead(&mut self) -> Result<()> {
        while let (Some((start, rows_max)), Some(heard)) = (self.window.wants(), self.heard) {
            let read = Read::Range {
                index: self.index,
                interval: Interval { start, end: Some(self.held_from.clone()) },
                order: Order::Ascending,
                rows_max,
                bytes_max: READ_BYTES_MAX,
            };
            let at = ReadAt::published(heard);
            let mut results = self.shared.transactions.log.read(self.deployment, at, &[read]).await?;
            let Some(ReadResult::Range { rows, more }) = results.pop() else {
                return Err(Error::internal("the log answers a range with something else"));
            };
            let keys: Vec<Bytes> = rows.into_iter().map(|row| row.key).collect();
            self.window.fill(&keys, more);
        }
        Ok(())
    }

    /// Begins what is due, as long as there are places. When the next entry is due, if nothing is due now.
    fn begin_due(&mut self) -> Option<f64> {
        while let Some(key) = self.window.first() {
            let Some(EntryKey { due_ms, .. }) = EntryKey::read(key) else {
                // No document makes such a key.
                tracing::error!(?key, "an entry of the queue can't be read");
                self.window.begin_before(&key::successor(&key.clone()));
                continue;
            };
            if due_ms > self.shared.clock.now_ms() {
                self.shared.metrics.waits_since(self.deployment, None);
                return Some(due_ms);
            }
            self.shared.metrics.waits_since(self.deployment, Some(due_ms));
            if self.wish.is_some() {
                return None;
            }
            match self.shared.places.try_take(self.deployment, 1) {
                Some(place) => self.begin_next(place),
                None => {
                    let (places, deployment) = (self.shared.places.clone(), self.deployment);
                    self.wish = Some(Box::pin(async move { places.take(deployment, 1).await }));
                }
            }
        }
        self.shared.metrics.waits_since(self.deployment, None);
        None
    }

    /// Begins the first entry that is due. It may have gone while its place was waited for.
    fn begin_next(&mut self, place: Place) {
        let end = key::encode(&[Some(&Value::Float64(self.shared.clock.now_ms().next_up()))]);
        let Some(key) = self.window.begin_before(&end) else { return };
        let (Some(entry), Some(heard)) = (EntryKey::read(&key), self.heard) else { return };
        let delay_ms = (self.shared.clock.now_ms() - entry.due_ms).max(0.0);
        self.shared
            .metrics
            .delays
            .record(Duration::try_from_secs_f64(delay_ms / 1e3).unwrap_or(Duration::MAX));
        let call = DueCall {
            deployment: self.deployment,
            entry: entry.id.into(),
            not_before: heard,
            request_id: hex::encode(rand::random::<[u8; 8]>()),
        };
        let run = run(Arc::clone(&self.shared), call, entry, key, place);
        self.runs.spawn(run.in_current_span());
    }

    fn end(&mut self, ended: Ended) {
        match ended {
            Ended::Settled(key) => self.window.end(&key),
            Ended::Unsettled(key) => self.window.put_back(&key),
        }
    }
}

async fn wished(wish: &mut Option<Pin<Box<dyn Future<Output = Place> + Send>>>) -> Place {
    match wish {
        Some(wish) => wish.await,
        None => std::future::pending().await,
    }
}

/// Runs an entry. If it can't be run, it is put off.
async fn run(shared: Arc<Shared>, call: DueCall, entry: EntryKey, key: Bytes, place: Place) -> Ended {
    let deployment = call.deployment;
    shared.metrics.begun.add(1);
    let outcome = shared.runner.run_due(call).await;
    shared.metrics.ended.add(1);
    drop(place);
    let error = match outcome {
        Ok(DueOutcome::Ran | DueOutcome::Begun) => {
            shared.metrics.runs.add(1);
            return Ended::Settled(key);
        }
        Ok(DueOutcome::Gone) => {
            shared.metrics.gone.add(1);
            return Ended::Settled(key);
        }
        Err(error) => error,
    };
    let trouble = Trouble::of(&error);
    if error.kind == ErrorKind::Internal {
        tracing::warn!(id = %entry.id, %error, "a scheduled function is run again later");
    } else {
        tracing::debug!(id = %entry.id, %error, "a scheduled function is run again later");
    }
    let EntryKey { due_ms, id } = entry;
    let work = Postpone { id, due_ms, now_ms: shared.clock.now_ms(), trouble, limits: &shared.limits };
    if trouble == Trouble::Full {
        // Another process may have had room and be running it: its commit would conflict with one that comes now.
        let pause = tokio::time::sleep(Duration::from_millis(shared.limits.failure_pause_ms_min));
        if shared.shutdown.run_until_cancelled(pause).await.is_none() {
            return Ended::Unsettled(key);
        }
    }
    match shared.transactions.transact(deployment, &work).await {
        Ok(()) => {
            shared.metrics.postponed.add(1);
            Ended::Settled(key)
        }
        Err(error) => {
            tracing::debug!(%id, %error, "a scheduled function can't be put off");
            let pause = tokio::time::sleep(Duration::from_millis(shared.limits.log_pause_ms));
            shared.shutdown.run_until_cancelled(pause).await;
            Ended::Unsettled(key)
        }
    }
}
