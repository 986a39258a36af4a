//! A deployment's indexes: follows the commit stream, and has them hold what it says.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    ops::Bound,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use contract::{
    CommitNotice, DeploymentRef, Error, ErrorKind, IndexId, InternalDocumentId, Interval, Order, Read,
    ReadAt, ReadResult, Result, StreamEvent, StreamEvents, Timestamp, Version, document,
};
use futures::{FutureExt as _, StreamExt as _};
use parking_lot::{Mutex, RwLock};
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use transaction::{TableState, system_tables::SystemTable};
use value::{DocumentId, InternalId, Object, Value, key};

use crate::{
    kept::{Change, Definition, KeptIndex, Progress},
    service::Shared,
};

/// Written documents that are read at once: so many at first, and at the most. What an answer can't hold, or takes too much memory, is
/// read in smaller portions.
const READS_FIRST: usize = 32;
const READS_MAX: usize = 256;
/// The code of an answer that another process could not take, mostly because it is too large.
const NOT_UNDERSTOOD: &str = "AnswerNotUnderstood";
/// Failures to go on from one moment after which the indexes are compared with the documents instead.
const FAILURES_MAX: u32 = 16;
/// Written keys that are taken from the stream together, about.
const KEYS_TAKEN_MAX: usize = 4_096;
/// In so many steps the past is forgotten that is not kept any more.
const PAST_STEPS: u32 = 60;
/// Indexes are not changed any more while one has so many times in memory what is written into a file.
const MEMORY_FACTOR_MAX: usize = 4;

/// What others see of a deployment's indexes.
pub(crate) struct Known {
    pub indexes: RwLock<BTreeMap<IndexId, Arc<KeptIndex>>>,
    /// At moments before it there may have been others.
    pub since: Mutex<Timestamp>,
    /// Moments before it are older than what is kept of the past.
    pub kept_from: Mutex<Timestamp>,
    /// Up to here the indexes hold what the commits say, as far as they are complete. `None` before the first.
    pub heard: watch::Sender<Option<Timestamp>>,
}

/// The keeper of a deployment's indexes.
pub(crate) struct Deployment {
    shared: Arc<Shared>,
    deployment: DeploymentRef,
    /// Cancelled when the deployment goes, and when the service stops.
    token: CancellationToken,
    known: Arc<Known>,
    heard: Option<Timestamp>,
    /// What was published when it began: from there on the indexes hold everything that there was.
    began_at: Option<Timestamp>,
    has_caught_up: bool,
    /// Written documents that are read at once now.
    reads: usize,
    /// The moment from which it did not go on, and how often in a row.
    failed: (Option<Timestamp>, u32),
    /// When broken indexes were made anew last, and how long none is after that.
    remade: Option<(Instant, Duration)>,
    /// Whether indexes that were complete when they were saved may be so still.
    may_resume: bool,
    jobs: JoinSet<()>,
    /// Bytes of the open parts, as was told last.
    open_bytes: usize,
    forgot: Instant,
    past: Past,
}

/// Which moments were the newest that were heard of, and when, some time apart: how old a moment is by the time that has passed.
#[derive(Default)]
struct Past(VecDeque<(Instant, Timestamp)>);

/// Why a stream is followed no more.
enum Break {
    Shutdown,
    /// It may have a gap.
    Gap,
    /// It goes on where it was heard last.
    Silence,
}

/// A document's key that a commit has written.
#[derive(Clone, Copy)]
struct Written<'c> {
    at: Timestamp,
    /// The primary index of its table.
    index: IndexId,
    key: &'c Bytes,
    /// A moment at which it is as the commit left it.
    read_at: Timestamp,
}

/// What was taken from a stream at once.
#[derive(Default)]
struct Taken {
    commits: Vec<Arc<CommitNotice>>,
    published: Option<Timestamp>,
    broken: Option<Break>,
}

impl Deployment {
    pub fn new(shared: Arc<Shared>, deployment: DeploymentRef, token: CancellationToken) -> Deployment {
        let known = Known {
            indexes: RwLock::default(),
            since: Mutex::default(),
            kept_from: Mutex::default(),
            heard: watch::Sender::new(None),
        };
        Deployment {
            shared,
            deployment,
            token,
            known: Arc::new(known),
            heard: None,
            began_at: None,
            has_caught_up: false,
            reads: READS_FIRST,
            failed: (None, 0),
            remade: None,
            may_resume: true,
            jobs: JoinSet::new(),
            open_bytes: 0,
            forgot: Instant::now(),
            past: Past::default(),
        }
    }

    fn folder(&self) -> PathBuf {
        self.shared.folder_of(self.deployment)
    }

    /// Until the deployment goes or the service stops.
    pub async fn run(mut self) {
        self.shared.deployments.send_modify(|kept| {
            kept.insert(self.deployment, self.known.clone());
        });
        let pause = Duration::from_millis(self.shared.limits.log_pause_ms);
        loop {
            match self.follow().await {
                Ok(Break::Shutdown) => break,
                Ok(Break::Silence) => {}
                Ok(Break::Gap) => self.lose(),
                Err(error) => self.failed_by(&error),
            }
            tokio::select! {
                () = self.token.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.shared.deployments.send_modify(|kept| {
            kept.remove(&self.deployment);
        });
        while let Some(ended) = self.jobs.join_next().await {
            ended.expect("a panic ends the process");
        }
        self.tell_open_bytes(0);
        let (is_gone, folder, heard) = (!self.shared.shutdown.is_cancelled(), self.folder(), self.heard);
        let indexes: Vec<_> = std::mem::take(&mut *self.known.indexes.write()).into_values().collect();
        let close = move || {
            if is_gone {
                let _ = std::fs::remove_dir_all(folder);
                return;
            }
            for index in indexes {
                if let Err(error) = index.close(heard) {
                    tracing::warn!(%error, "a search index was not saved: it is compared with the documents at the next start");
                }
            }
        };
        tokio::task::spawn_blocking(close).await.expect("a panic ends the process");
    }

    /// The commits were not followed on from the moment that was heard of.
    fn failed_by(&mut self, error: &Error) {
        let (moment, times) = self.failed;
        let times = if moment == self.heard { times + 1 } else { 1 };
        self.failed = (self.heard, times);
        match times {
            2 => tracing::warn!(%error, "the commits can't be followed now: searches wait"),
            _ => tracing::debug!(%error, "the commits can't be followed now"),
        }
        // One that is overloaded or not there will serve again.
        let is_for_good = error.kind == ErrorKind::Internal && times >= FAILURES_MAX;
        if is_for_good {
            tracing::warn!(%error, "what the commits wrote can't be read: the search indexes are compared with the documents");
        }
        if is_for_good || error.kind == ErrorKind::OutOfRetention {
            self.lose();
        }
    }

    /// There may be a gap: what the indexes hold has to be compared with the documents.
    fn lose(&mut self) {
        self.heard = None;
        self.may_resume = false;
        self.past = Past::default();
        self.known.heard.send_replace(None);
        for index in self.known.indexes.read().values() {
            index.set_progress(Progress::Reading { after: None });
        }
    }

    /// Follows one stream to its end.
    async fn follow(&mut self) -> Result<Break> {
        let log = self.shared.transactions.log.clone();
        let mut stream = match self.heard {
            Some(heard) => log.subscribe(self.deployment, heard).await?,
            None => {
                let published = log.position(self.deployment.group)?.borrow().published;
                self.began_at.get_or_insert(published);
                self.keep_indexes_of(published).await?;
                let from = self.saved_at().filter(|saved| *saved <= published).unwrap_or(published);
                let stream = log.subscribe(self.deployment, from).await?;
                for index in self.known.indexes.read().values() {
                    let is_whole = self.may_resume && index.complete_at == Some(from);
                    let progress =
                        if is_whole { Progress::Complete } else { Progress::Reading { after: None } };
                    index.set_progress(progress);
                }
                self.heard = Some(from);
                stream
            }
        };
        self.shared.metrics.streams.increment();
        let mut heard_at = Instant::now();
        let silence_max = Duration::from_millis(self.shared.limits.stream_silence_ms_max);
        let commits_max = self.shared.limits.commits_taken_max;
        loop {
            let is_reading = self.next_to_read().is_some();
            if !is_reading && !self.has_caught_up && self.heard >= self.began_at {
                self.has_caught_up = true;
                self.shared.caught_up(self.deployment);
            }
            let taken = tokio::select! {
                biased;
                () = self.token.cancelled() => return Ok(Break::Shutdown),
                taken = take(&mut stream, is_reading, silence_max, commits_max) => taken,
                Some(ended) = self.jobs.join_next(), if !self.jobs.is_empty() => {
                    ended.expect("a panic ends the process");
                    self.begin_jobs();
                    continue;
                }
            };
            let is_silent = taken.commits.is_empty() && taken.published.is_none();
            // What comes before a gap is lost with it.
            if let Some(broken) = taken.broken {
                return Ok(broken);
            }
            if !is_silent {
                heard_at = Instant::now();
            } else if heard_at.elapsed() >= silence_max {
                return Ok(Break::Silence);
            }
            self.hear(taken).await?;
            if is_reading {
                self.read_page().await?;
            }
            self.remake_broken().await?;
            self.begin_jobs();
            while self.is_memory_full() {
                // Searches wait for the indexes, and these for their files.
                let Some(ended) = self.jobs.join_next().await else { break };
                ended.expect("a panic ends the process");
                self.begin_jobs();
            }
            self.forget().await;
        }
    }

    async fn hear(&mut self, taken: Taken) -> Result<()> {
        let catalog = [SystemTable::Tables, SystemTable::Indexes].map(|table| table.table().by_id.id);
        let changes_catalog =
            |commit: &CommitNotice| commit.keys.iter().any(|touched| catalog.contains(&touched.index));
        let mut rest = &taken.commits[..];
        while !rest.is_empty() {
            let end = rest.iter().position(|commit| changes_catalog(commit)).map_or(rest.len(), |at| at + 1);
            let (run, after) = rest.split_at(end);
            self.hear_commits(run).await?;
            let last = run.last().expect("it has commits");
            if changes_catalog(last) {
                self.keep_indexes_of(last.timestamp).await?;
            }
            self.heard_of(last.timestamp);
            rest = after;
        }
        if let Some(published) = taken.published {
            self.heard_of(published);
        }
        Ok(())
    }

    fn heard_of(&mut self, at: Timestamp) {
        self.heard = self.heard.max(Some(at));
        self.known.heard.send_replace(self.heard);
    }

    /// Has the indexes hold what these commits have written, portion by portion.
    async fn hear_commits(&mut self, commits: &[Arc<CommitNotice>]) -> Result<()> {
        let Some(last) = commits.last() else { return Ok(()) };
        let mut indexes: HashMap<IndexId, Vec<Arc<KeptIndex>>> = HashMap::new();
        for index in self.known.indexes.read().values() {
            indexes.entry(index.definition.primary).or_default().push(index.clone());
        }
        // The last write of a key in these commits is what is there at their end; those before it are read at their own moments.
        let mut newest: HashMap<(IndexId, &Bytes), Timestamp> = HashMap::new();
        let mut writes: Vec<Written<'_>> = Vec::new();
        for commit in commits {
            for touched in commit.keys.iter().filter(|touched| indexes.contains_key(&touched.index)) {
                let (at, index, key) = (commit.timestamp, touched.index, &touched.key);
                if newest.insert((index, key), at) != Some(at) {
                    writes.push(Written { at, index, key, read_at: at });
                }
            }
        }
        for written in &mut writes {
            if newest[&(written.index, written.key)] == written.at {
                written.read_at = last.timestamp;
            }
        }
        let indexes = Arc::new(indexes);
        let mut rest = &writes[..];
        while !rest.is_empty() {
            let (portion, after) = rest.split_at(self.reads.min(rest.len()));
            let versions = match self.read_written(portion).await {
                Err(error) if error.code == NOT_UNDERSTOOD && portion.len() > 1 => {
                    self.reads = portion.len() / 2;
                    continue;
                }
                read => read?,
            };
            let bytes: usize = versions.iter().flatten().map(|version| version.document.len()).sum();
            if bytes > self.shared.limits.bytes_read_max {
                self.reads = (self.reads / 2).max(1);
            } else if bytes <= self.shared.limits.bytes_read_max / 4 {
                self.reads = (self.reads * 2).min(READS_MAX);
            }
            let mut changes: HashMap<IndexId, Vec<Change>> = HashMap::new();
            for (written, version) in portion.iter().zip(versions) {
                let document = version.map(read_document).transpose()?;
                let change = Change { at: written.at, id: internal_id(written.key)?, document };
                changes.entry(written.index).or_default().push(change);
            }
            // A change waits for the searches of its index.
            let (indexes, span) = (indexes.clone(), tracing::Span::current());
            let hear = move || {
                let _deployment = span.enter();
                for (primary, changes) in changes {
                    for index in &indexes[&primary] {
                        if let Err(error) = index.hear(&changes) {
                            tracing::error!(%error, index = ?index.definition.index, "a search index can't be changed");
                            index.broken();
                        }
                    }
                }
            };
            tokio::task::spawn_blocking(hear).await.expect("a panic ends the process");
            rest = after;
        }
        Ok(())
    }

    /// What was written, in the order of `portion`; `None` is what was deleted.
    async fn read_written(&self, portion: &[Written<'_>]) -> Result<Vec<Option<Version>>> {
        let mut reads: BTreeMap<Timestamp, Vec<usize>> = BTreeMap::new();
        for (number, written) in portion.iter().enumerate() {
            reads.entry(written.read_at).or_default().push(number);
        }
        let mut versions: Vec<Option<Version>> = vec![None; portion.len()];
        for (at, numbers) in reads {
            let point = |number: &usize| {
                let Written { index, key, .. } = portion[*number];
                Read::Point { index, key: key.clone() }
            };
            let points: Vec<Read> = numbers.iter().map(point).collect();
            let log = &self.shared.transactions.log;
            let results = log.read(self.deployment, ReadAt::published(at), &points).await?;
            for (number, result) in numbers.into_iter().zip(results) {
                let ReadResult::Point(version) = result else { return Err(unexpected_result()) };
                versions[number] = version;
            }
        }
        Ok(versions)
    }

    /// The moment until which indexes were complete when they were saved.
    fn saved_at(&self) -> Option<Timestamp> {
        let indexes = self.known.indexes.read();
        indexes.values().filter_map(|index| index.complete_at).filter(|_| self.may_resume).max()
    }

    /// Keeps exactly the indexes that there are at a moment, or at a later one of which they were kept already: an index that is gone does
    /// not come back, so nobody is at the files of one that is opened. Those that are broken are made anew, if it is time for that and nobody
    /// is at their files.
    async fn keep_indexes_of(&mut self, at: Timestamp) -> Result<()> {
        let at = at.max(*self.known.since.lock());
        let broken: BTreeSet<IndexId> = {
            let indexes = self.known.indexes.read();
            let broken = indexes.values().filter(|index| index.is_to_be_remade() && self.may_remake());
            broken.map(|index| index.definition.index).collect()
        };
        if !broken.is_empty() {
            self.remakes();
        }
        let transactions = &self.shared.transactions;
        let transaction = transactions.snapshot_at(self.deployment, ReadAt::published(at)).await?;
        let mut wanted: BTreeMap<IndexId, Definition> = BTreeMap::new();
        for catalog in transaction.deployment_catalog().components() {
            for table in catalog.all_tables().filter(|table| table.state != TableState::Deleting) {
                let definitions = table.indexes.iter().filter_map(|index| Definition::of(table, index));
                wanted.extend(definitions.map(|definition| (definition.index, definition)));
            }
        }
        let names: Vec<String> = wanted.keys().map(|id| hex::encode(id.0)).collect();
        // Whoever misses one from now on sees since when.
        *self.known.since.lock() = at;
        let mut gone = Vec::new();
        self.known.indexes.write().retain(|id, index| {
            let is_wanted = wanted.contains_key(id);
            if is_wanted && !broken.contains(id) {
                wanted.remove(id);
            } else {
                gone.push(index.clone());
            }
            // A broken one stays until there is another.
            is_wanted
        });
        let (folder, limits, is_first) = (self.folder(), self.shared.limits, self.heard.is_none());
        let opening = move || {
            gone.into_iter().for_each(|index| index.remove());
            let mut opened = Vec::new();
            if is_first {
                remove_others(&folder, &names);
            }
            for (id, definition) in wanted {
                let path = folder.join(hex::encode(id.0));
                opened.push(KeptIndex::open(definition, path, &limits).map(|index| (id, index)));
            }
            opened
        };
        let opened = tokio::task::spawn_blocking(opening).await.expect("a panic ends the process");
        for opened in opened {
            let (id, index) = opened.map_err(|error| {
                tracing::error!(%error, "a search index can't be opened");
                Error::internal(format!("a search index can't be opened: {error}"))
            })?;
            self.known.indexes.write().insert(id, Arc::new(index));
        }
        Ok(())
    }

    fn known_published(&self) -> Result<Timestamp> {
        Ok(self.shared.transactions.log.position(self.deployment.group)?.borrow().published)
    }

    fn next_to_read(&self) -> Option<(Arc<KeptIndex>, Option<InternalDocumentId>)> {
        let indexes = self.known.indexes.read();
        indexes.values().filter(|index| !index.is_broken()).find_map(|index| match index.progress() {
            Progress::Reading { after } => Some((index.clone(), after)),
            Progress::Complete => None,
        })
    }

    fn is_any_to_be_remade(&self) -> bool {
        self.known.indexes.read().values().any(|index| index.is_to_be_remade())
    }

    /// Reads the next documents of a table for an index that does not hold all, at the moment up to which commits were heard: what is
    /// written to them from then on it hears of by the commits.
    async fn read_page(&mut self) -> Result<()> {
        let (Some((index, after)), Some(at)) = (self.next_to_read(), self.heard) else { return Ok(()) };
        let definition = &index.definition;
        let start = match after {
            None => Bytes::new(),
            Some(after) => {
                let id = DocumentId::new(definition.table, InternalId::from_bytes(after));
                key::successor(&key::encode(&[Some(&id.into())])).into()
            }
        };
        let read = Read::Range {
            index: definition.primary,
            interval: Interval { start, end: None },
            order: Order::Ascending,
            rows_max: self.shared.limits.documents_read_max,
            bytes_max: self.shared.limits.bytes_read_max,
        };
        let log = &self.shared.transactions.log;
        let result = log.read(self.deployment, ReadAt::published(at), &[read]).await?.pop();
        let Some(ReadResult::Range { rows, more }) = result else { return Err(unexpected_result()) };
        self.shared.metrics.documents_read.add(rows.len() as u64);
        let last = match rows.last() {
            Some(row) if more => Some(internal_id(&row.key)?),
            _ => None,
        };
        let bounds =
            (after.map_or(Bound::Unbounded, Bound::Excluded), last.map_or(Bound::Unbounded, Bound::Included));
        let reading = index.clone();
        let compare = move || {
            let mut known = reading.documents_between(bounds).map_err(|error| error.to_string())?;
            let mut changes = Vec::new();
            for row in rows {
                let id = internal_id(&row.key).map_err(|error| error.to_string())?;
                let is_known = known.remove(&id) == Some(row.version.timestamp);
                if !is_known {
                    let document = read_document(row.version).map_err(|error| error.to_string())?;
                    changes.push(Change { at, id, document: Some(document) });
                }
            }
            changes.extend(known.into_keys().map(|id| Change { at, id, document: None }));
            let changed = reading.change(changes.iter()).map_err(|error| error.to_string());
            if last.is_none() {
                // What was before it came together is not in it.
                reading.forget_before(at);
            }
            changed
        };
        let compared = tokio::task::spawn_blocking(compare).await.expect("a panic ends the process");
        if let Err(error) = compared {
            tracing::error!(%error, index = ?index.definition.index, "a search index can't be filled");
            index.broken();
            return Ok(());
        }
        match last {
            Some(last) => index.set_progress(Progress::Reading { after: Some(last) }),
            None => {
                index.set_progress(Progress::Complete);
                // Whoever waits for it looks again.
                self.known.heard.send_replace(self.heard);
            }
        }
        Ok(())
    }

    /// Makes indexes anew whose files can't be used.
    async fn remake_broken(&mut self) -> Result<()> {
        if !self.is_any_to_be_remade() || !self.may_remake() {
            return Ok(());
        }
        let at = self.heard.map_or_else(|| self.known_published(), Ok)?;
        self.keep_indexes_of(at).await
    }

    /// What breaks again and again, because the disk is full, is not made anew all the time: each time the table is read.
    fn may_remake(&self) -> bool {
        self.remade.is_none_or(|(at, pause)| at.elapsed() >= pause)
    }

    fn remakes(&mut self) {
        let limits = &self.shared.limits;
        let (min, max) =
            (limits.remake_pause_ms_min, limits.remake_pause_ms_max.max(limits.remake_pause_ms_min));
        let (min, max) = (Duration::from_millis(min), Duration::from_millis(max));
        let pause = match self.remade {
            Some((at, pause)) if at.elapsed() < max * 2 => (pause * 2).min(max),
            _ => min,
        };
        self.remade = Some((Instant::now(), pause));
    }

    fn begin_jobs(&mut self) {
        let indexes: Vec<_> = self.known.indexes.read().values().cloned().collect();
        self.tell_open_bytes(indexes.iter().map(|index| index.open_bytes()).sum());
        let largest = self.shared.to_write();
        for index in indexes {
            let is_largest = largest.as_ref().is_some_and(|largest| Arc::ptr_eq(largest, &index));
            let open_bytes_max = if is_largest { 0 } else { index.open_bytes_max(&self.shared.limits) };
            if !index.begin_work(open_bytes_max) {
                continue;
            }
            let shared = self.shared.clone();
            self.jobs.spawn(async move {
                let permit = shared.builds.clone().acquire_owned().await.expect("it is never closed");
                let working = tokio::task::spawn_blocking(move || {
                    let _permit = permit;
                    if let Err(error) = index.work(open_bytes_max) {
                        tracing::error!(%error, index = ?index.definition.index, "a search index can't be written");
                    }
                });
                working.await.expect("a panic ends the process");
                shared.metrics.files_written.increment();
            });
        }
    }

    /// What is open takes so many bytes here now.
    fn tell_open_bytes(&mut self, bytes: usize) {
        // The sum goes round at the end of the numbers, and comes out right.
        self.shared.open_bytes.fetch_add(bytes.wrapping_sub(self.open_bytes), Ordering::Relaxed);
        self.open_bytes = bytes;
    }

    fn is_memory_full(&self) -> bool {
        let limits = &self.shared.limits;
        let max = limits.text_memory_bytes_max.max(limits.vectors_plain_bytes_max) * MEMORY_FACTOR_MAX;
        !self.jobs.is_empty() && self.known.indexes.read().values().any(|index| index.memory_bytes() > max)
    }

    async fn forget(&mut self) {
        let kept = Duration::from_millis(self.shared.limits.retention_ms);
        let Some(heard) = self.heard.filter(|_| self.forgot.elapsed() >= kept / PAST_STEPS) else { return };
        self.forgot = Instant::now();
        let Some(floor) = self.past.newest_before(self.forgot, heard, kept) else { return };
        *self.known.kept_from.lock() = floor;
        let indexes: Vec<_> = self.known.indexes.read().values().cloned().collect();
        let forget = move || indexes.iter().for_each(|index| index.forget_before(floor));
        tokio::task::spawn_blocking(forget).await.expect("a panic ends the process");
    }
}

impl Past {
    /// Notes what is the newest moment `now`. Returns the one that was it when `age` had still to pass until now; `None` if nobody has noted
    /// what was it then.
    fn newest_before(&mut self, now: Instant, newest: Timestamp, age: Duration) -> Option<Timestamp> {
        self.0.push_back((now, newest));
        let is_old = |(noted, _): &(Instant, Timestamp)| now.duration_since(*noted) >= age;
        while self.0.get(1).is_some_and(is_old) {
            self.0.pop_front();
        }
        self.0.front().filter(|first| is_old(first)).map(|(_, moment)| *moment)
    }
}

/// What the stream has: at once if `is_reading`, else as soon as there is something.
async fn take(
    stream: &mut StreamEvents,
    is_reading: bool,
    silence_max: Duration,
    commits_max: usize,
) -> Taken {
    let mut taken = Taken::default();
    let mut keys = 0;
    let mut next = if is_reading {
        stream.next().now_or_never()
    } else {
        tokio::time::timeout(silence_max, stream.next()).await.ok()
    };
    while let Some(event) = next {
        match event {
            Some(StreamEvent::Commit(commit)) => {
                keys += commit.keys.len();
                taken.published = None;
                taken.commits.push(commit);
            }
            Some(StreamEvent::Heartbeat { published, .. }) => taken.published = Some(published),
            Some(StreamEvent::Lagged { .. }) => {
                taken.broken = Some(Break::Gap);
                break;
            }
            None => {
                taken.broken = Some(Break::Silence);
                break;
            }
        }
        if taken.commits.len() >= commits_max || keys >= KEYS_TAKEN_MAX {
            break;
        }
        next = stream.next().now_or_never();
    }
    taken
}

/// Removes the files of indexes that are not there any more.
fn remove_others(folder: &Path, names: &[String]) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if !names.iter().any(|name| entry.file_name() == name.as_str()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn unexpected_result() -> Error {
    Error::internal("the log answered a read with a result of another kind")
}

/// The document's id, by its key in the primary index.
fn internal_id(key: &Bytes) -> Result<InternalDocumentId> {
    let wrong = || Error::internal("the key of a document is not its id");
    let parts = key::decode(key).map_err(|_| wrong())?;
    let [Some(Value::String(id))] = &parts[..] else { return Err(wrong()) };
    let id: DocumentId = id.parse().map_err(|_| wrong())?;
    Ok(*id.internal_id.as_bytes())
}

fn read_document(version: Version) -> Result<(Arc<Object>, Timestamp)> {
    let (json, _) = document::decode(&version.document)?;
    let value = Value::from_json_with_placeholder(json)
        .map_err(|error| Error::internal(format!("a stored document can't be read: {error}")))?;
    let object = value.into_object().map_err(|_| Error::internal("a stored document is not an object"))?;
    Ok((Arc::new(object), version.timestamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_as_old_as_the_time_since_it_was_the_newest_whatever_the_clock_of_timestamps_did() {
        let started = Instant::now();
        let hour = 3_600;
        let at = |seconds: u64| Timestamp::new(seconds * 1_000_000_000).expect("in range");
        let mut past = Past::default();
        // Seconds that have passed, the newest moment in seconds, and what is the newest one that is 10 seconds old.
        for (passed, newest, expected) in [
            (0, hour, None),
            (5, hour + 5, None),
            // Nothing is written, or the clock is put right that was ahead.
            (11, hour + 5, Some(hour)),
            (16, hour + 5, Some(hour + 5)),
            (1_000, hour + 5, Some(hour + 5)),
            // It jumps, and the moment before was the newest until now.
            (1_001, 2 * hour, Some(hour + 5)),
            (1_005, 2 * hour + 1, Some(hour + 5)),
            (1_011, 2 * hour + 2, Some(2 * hour)),
            // Not noted for long.
            (2_000, 3 * hour, Some(2 * hour + 2)),
        ] {
            let now = started + Duration::from_secs(passed);
            let found = past.newest_before(now, at(newest), Duration::from_secs(10));
            assert_eq!(found, expected.map(at), "after {passed} seconds");
        }
        assert_eq!(past.0.len(), 2, "what is older is not looked for any more");
    }
}
