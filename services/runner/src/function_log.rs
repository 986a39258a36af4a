//! The function log: what ran lately, in memory.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{Clock, FunctionLogLimits};
use contract::{DeploymentRef, ExecutionRecord, FunctionLogPage};
use parking_lot::Mutex;
use tokio::sync::watch;

/// What every entry costs besides its texts.
const ENTRY_BYTES: usize = 256;

/// The newest executions of each deployment. The oldest go first, and those of the deployment that keeps most; all are
/// gone when the process ends.
pub struct FunctionLog {
    entries_max: usize,
    bytes_max: usize,
    clock: Clock,
    rings: Mutex<HashMap<DeploymentRef, Arc<Ring>>>,
    /// Of all rings.
    bytes: AtomicUsize,
}

struct Ring {
    kept: Mutex<Kept>,
    /// The newest cursor; readers wait on it.
    newest: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    entries: VecDeque<(u64, usize, ExecutionRecord)>,
    bytes: usize,
}

impl Kept {
    fn push(&mut self, cursor: u64, bytes: usize, entry: ExecutionRecord) {
        self.bytes += bytes;
        self.entries.push_back((cursor, bytes, entry));
    }

    /// How many bytes the oldest entry had, which is gone.
    fn pop(&mut self) -> usize {
        let bytes = self.entries.pop_front().map_or(0, |(_, bytes, _)| bytes);
        self.bytes -= bytes;
        bytes
    }
}

impl FunctionLog {
    /// Each deployment keeps as many entries as `limits` say, and all together as many bytes.
    pub fn new(limits: FunctionLogLimits, clock: Clock) -> FunctionLog {
        let FunctionLogLimits { entries_max, bytes_max } = limits;
        FunctionLog { entries_max, bytes_max, clock, rings: Mutex::default(), bytes: AtomicUsize::new(0) }
    }

    pub fn append(&self, deployment: DeploymentRef, entry: ExecutionRecord) {
        let ring = self.ring(deployment);
        let bytes = size(&entry);
        let mut kept = ring.kept.lock();
        let cursor = next_cursor(*ring.newest.borrow(), self.clock.now());
        assert!(kept.entries.back().is_none_or(|(last, ..)| *last < cursor), "cursors only grow");
        kept.push(cursor, bytes, entry);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        while kept.entries.len() > self.entries_max {
            self.bytes.fetch_sub(kept.pop(), Ordering::Relaxed);
        }
        // Told under the lock, so that cursors are told in their order.
        ring.newest.send_replace(cursor);
        drop(kept);
        if self.bytes() > self.bytes_max {
            self.make_room();
        }
    }

    /// Roughly what all of them take in memory.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Forgets a deployment that is served no more.
    pub fn forget(&self, deployment: DeploymentRef) {
        let Some(ring) = self.rings.lock().remove(&deployment) else { return };
        let mut kept = ring.kept.lock();
        while !kept.entries.is_empty() {
            self.bytes.fetch_sub(kept.pop(), Ordering::Relaxed);
        }
    }

    /// Lets go of the oldest entries of the deployments that keep most, somewhat more than must be, since looking for them
    /// takes a while; the newest entry of each stays.
    fn make_room(&self) {
        let rings = self.rings.lock();
        let enough = self.bytes_max - self.bytes_max / 16;
        while self.bytes() > enough {
            let have_several = rings.values().filter(|ring| ring.kept.lock().entries.len() > 1);
            let Some(largest) = have_several.max_by_key(|ring| ring.kept.lock().bytes) else { return };
            let mut kept = largest.kept.lock();
            let half = kept.bytes / 2;
            while self.bytes() > enough && kept.bytes > half && kept.entries.len() > 1 {
                self.bytes.fetch_sub(kept.pop(), Ordering::Relaxed);
            }
        }
    }

    /// The entries behind `cursor`, oldest first. Waits up to `wait` for the first one, but not at cursor 0.
    pub async fn page(&self, deployment: DeploymentRef, cursor: u64, wait: Duration) -> FunctionLogPage {
        let ring = self.ring(deployment);
        if cursor != 0 {
            let mut newest = ring.newest.subscribe();
            // An error would mean that the sender is gone, but the ring holds it.
            let _ = tokio::time::timeout(wait, newest.wait_for(|newest| *newest > cursor)).await;
        }
        let kept = ring.kept.lock();
        let newest = *ring.newest.borrow();
        let first = kept.entries.partition_point(|(position, _, _)| *position <= cursor);
        FunctionLogPage {
            records: kept.entries.range(first..).map(|(_, _, entry)| entry.clone()).collect(),
            cursor: newest.max(cursor),
        }
    }

    fn ring(&self, deployment: DeploymentRef) -> Arc<Ring> {
        let mut rings = self.rings.lock();
        Arc::clone(rings.entry(deployment).or_insert_with(|| {
            let start = next_cursor(0, self.clock.now());
            Arc::new(Ring { kept: Mutex::default(), newest: watch::Sender::new(start) })
        }))
    }
}

/// Microseconds of the wall clock, but always growing: a client that comes back after a restart of the server with a
/// cursor from before then sees what is new, and nothing twice. Below 2⁵³ until the year 2255.
fn next_cursor(last: u64, now: SystemTime) -> u64 {
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    (last + 1).max(u64::try_from(now).unwrap_or(0))
}

fn size(entry: &ExecutionRecord) -> usize {
    let lines: usize = entry
        .lines
        .iter()
        .map(|line| ENTRY_BYTES / 4 + line.messages.iter().map(String::len).sum::<usize>())
        .sum();
    ENTRY_BYTES + lines + entry.identifier.len() + entry.error.as_ref().map_or(0, String::len)
}

#[cfg(test)]
mod tests {
    use contract::{Caller, ConsoleLevel, ConsoleLine, DeploymentId, FunctionKind, GroupId};

    use super::*;

    const DEPLOYMENT: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
    const LARGE: FunctionLogLimits = FunctionLogLimits { entries_max: 10_000, bytes_max: 64 << 20 };

    /// Its clock stands still.
    fn log_of(limits: FunctionLogLimits) -> FunctionLog {
        FunctionLog::new(limits, Clock::new(|| UNIX_EPOCH + Duration::from_secs(1_800_000_000)))
    }

    fn entry(text: &str) -> ExecutionRecord {
        ExecutionRecord {
            kind: FunctionKind::Query,
            identifier: "messages:list".to_owned(),
            component: None,
            ended_at_s: 0.0,
            execution_time: Duration::ZERO,
            lines: vec![ConsoleLine {
                level: ConsoleLevel::Log,
                messages: vec![text.to_owned()],
                truncated: false,
                logged_at_ms: 0.0,
            }],
            error: None,
            http_status: None,
            cached: false,
            caller: Caller::HttpApi,
            identity: contract::IdentityKind::User,
            request_id: String::new(),
            execution_id: String::new(),
            conflict: None,
            will_retry: false,
        }
    }

    fn texts(page: &FunctionLogPage) -> Vec<&str> {
        page.records.iter().map(|entry| entry.lines[0].messages[0].as_str()).collect()
    }

    #[tokio::test]
    async fn every_entry_is_read_once_in_order() {
        let log = log_of(LARGE);
        log.append(DEPLOYMENT, entry("one"));
        log.append(DEPLOYMENT, entry("two"));
        let first = log.page(DEPLOYMENT, 0, Duration::ZERO).await;
        assert_eq!(texts(&first), ["one", "two"]);
        log.append(DEPLOYMENT, entry("three"));
        let second = log.page(DEPLOYMENT, first.cursor, Duration::ZERO).await;
        assert_eq!(texts(&second), ["three"]);
        assert!(second.cursor < 1 << 53);
    }

    #[tokio::test]
    async fn cursor_zero_answers_at_once_and_its_cursor_misses_nothing() {
        let log = log_of(LARGE);
        let empty = log.page(DEPLOYMENT, 0, Duration::from_secs(3_600)).await;
        assert!(empty.records.is_empty());
        log.append(DEPLOYMENT, entry("one"));
        let page = log.page(DEPLOYMENT, empty.cursor, Duration::from_secs(3_600)).await;
        assert_eq!(texts(&page), ["one"]);
    }

    #[tokio::test]
    async fn a_reader_waits_for_the_next_entry() {
        let log = Arc::new(log_of(LARGE));
        let cursor = log.page(DEPLOYMENT, 0, Duration::ZERO).await.cursor;
        let reader = {
            let log = Arc::clone(&log);
            tokio::spawn(async move { log.page(DEPLOYMENT, cursor, Duration::from_secs(60)).await })
        };
        tokio::task::yield_now().await;
        log.append(DEPLOYMENT, entry("late"));
        let page = reader.await.expect("the reader does not panic");
        assert_eq!(texts(&page), ["late"]);
    }

    #[tokio::test]
    async fn the_oldest_entries_go_when_there_are_too_many_or_too_large_ones() {
        let log = log_of(FunctionLogLimits { entries_max: 2, bytes_max: 10_000 });
        for text in ["one", "two", "three"] {
            log.append(DEPLOYMENT, entry(text));
        }
        assert_eq!(texts(&log.page(DEPLOYMENT, 0, Duration::ZERO).await), ["two", "three"]);
        let large = "x".repeat(20_000);
        log.append(DEPLOYMENT, entry(&large));
        assert_eq!(texts(&log.page(DEPLOYMENT, 0, Duration::ZERO).await), [large.as_str()]);
    }

    #[tokio::test]
    async fn a_deployment_that_keeps_much_makes_room_for_its_neighbours_and_one_that_goes_keeps_nothing() {
        let other = DeploymentRef { deployment: DeploymentId(2), ..DEPLOYMENT };
        let log = log_of(FunctionLogLimits { entries_max: 1_000, bytes_max: 100_000 });
        log.append(other, entry("first of all"));
        for number in 0..1_000 {
            log.append(DEPLOYMENT, entry(&format!("{number} {}", "x".repeat(500))));
        }
        assert!(log.bytes() <= 100_000);
        assert_eq!(texts(&log.page(other, 0, Duration::ZERO).await), ["first of all"]);
        let kept = log.page(DEPLOYMENT, 0, Duration::ZERO).await;
        assert!(texts(&kept).last().is_some_and(|text| text.starts_with("999 ")));
        log.forget(DEPLOYMENT);
        assert!(log.bytes() < 1_000, "{}", log.bytes());
        assert!(log.page(DEPLOYMENT, 0, Duration::ZERO).await.records.is_empty());
    }

    #[tokio::test]
    async fn deployments_do_not_see_each_other() {
        let other = DeploymentRef { deployment: DeploymentId(2), ..DEPLOYMENT };
        let log = log_of(LARGE);
        log.append(DEPLOYMENT, entry("mine"));
        assert!(log.page(other, 0, Duration::ZERO).await.records.is_empty());
    }
}
