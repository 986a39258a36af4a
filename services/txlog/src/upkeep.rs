//! What a node does for its store beside the commits: flushes it, purges the log, sweeps what was deleted, lets the horizon
//! follow while a group is idle, and gives back the disk.

use std::{sync::Arc, time::Duration};

use contract::NodeId;
use openraft::async_runtime::WatchReceiver;
use tokio_util::sync::CancellationToken;

use crate::{
    apply::ApplyError,
    clock::passed,
    entry::{EntryVersion, LogEntry},
    fatal::FatalHandler,
    group::Group,
    limits::StoreLimits,
    members::{is_heard_of, keep_in_order},
    network::Peers,
    options::Options,
    planted::{self, Bug},
    proposer::{GroupRaft, propose},
    raft_log::RaftLog,
    raft_types::{LogId, Node},
    runtime::{self, Instant, JoinError},
    state_machine::flush,
    state_store::NodeStore,
};

/// Flushes the node's store by bytes and age of what it has not flushed, and lets each group's log go up to there. While
/// nothing is written, compacts what was written before.
pub async fn flush_in_time(
    groups: Vec<(Arc<Group>, GroupRaft, RaftLog)>,
    store: Arc<NodeStore>,
    options: Options,
    token: CancellationToken,
) {
    let age = Duration::from_millis(options.store.unflushed_ms_max);
    let look = Duration::from_millis(options.store.unflushed_look_ms);
    let logs: Vec<_> = groups.iter().map(|(group, _, log)| (group.clone(), log.clone())).collect();
    let mut changed_since: Option<Instant> = None;
    loop {
        tokio::select! {
            biased;
            () = token.cancelled() => return,
            () = runtime::sleep(look) => {}
        }
        for (group, raft, log) in &groups {
            if planted::is(Bug::PurgePassesFlushed) {
                let _ = raft.trigger().snapshot().await;
            }
            purge(group, raft, log, &options.store).await;
        }
        let bytes = store.unflushed_bytes();
        if bytes == 0 {
            changed_since = None;
            if groups.iter().all(|(group, ..)| group.is_settled()) {
                compact(&store, &options, &token).await;
            }
            continue;
        }
        let since = *changed_since.get_or_insert_with(Instant::now);
        if bytes < options.store.unflushed_bytes_max as u64 && since.elapsed() < age {
            continue;
        }
        changed_since = None;
        if flush(&logs, &options.fatal).await.is_err() {
            return;
        }
        for (_, raft, _) in &groups {
            // Once Raft has ended there is nothing to purge.
            let _ = raft.trigger().snapshot().await;
        }
    }
}

/// Lets go of entries of the log that are flushed, and that no other replica needs, as far as is known here.
async fn purge(group: &Group, raft: &GroupRaft, log: &RaftLog, limits: &StoreLimits) {
    if group.is_sending() {
        return;
    }
    let metrics = raft.metrics().borrow_watched().clone();
    let next = |id: Option<LogId>| id.map_or(0, |id| id.index + 1);
    let replicas = metrics.replication.iter().flatten().map(|(node, matched)| Replica {
        lacks: next(*matched),
        is_there: is_heard_of(&metrics, *node, limits),
    });
    let kept = Kept { entries: limits.log_entries_kept, bytes: log.file_bytes(), limits };
    let up_to = purged_up_to(metrics.snapshot.map(|flushed| flushed.index), replicas, &kept);
    if let Some(up_to) = up_to.filter(|up_to| *up_to >= next(metrics.purged)) {
        // Once Raft has ended there is nothing to purge.
        let _ = raft.trigger().purge_log(up_to).await;
    }
}

/// Another replica, as its leader knows it.
struct Replica {
    /// The first entry that it does not have.
    lacks: u64,
    is_there: bool,
}

struct Kept<'l> {
    entries: u64,
    /// What the log takes.
    bytes: u64,
    limits: &'l StoreLimits,
}

/// The last entry that can go. Some are kept in any case, and what a replica lacks as well, unless the log has become too large:
/// with the state it can do without.
fn purged_up_to(
    flushed: Option<u64>,
    replicas: impl Iterator<Item = Replica>,
    kept: &Kept<'_>,
) -> Option<u64> {
    let up_to = flushed?.checked_sub(kept.entries)?;
    let is_kept_for = |replica: &Replica| {
        let bytes_max = match replica.is_there {
            true => kept.limits.log_bytes_catching_up_max,
            false => kept.limits.log_bytes_kept_max,
        };
        kept.bytes <= bytes_max as u64
    };
    let lacked = replicas.filter(is_kept_for).map(|replica| replica.lacks).min();
    match lacked {
        Some(lacked) if lacked <= up_to => lacked.checked_sub(1),
        _ => Some(up_to),
    }
}

/// Gives back the disk that old versions take, if it is worth it.
async fn compact(store: &Arc<NodeStore>, options: &Options, token: &CancellationToken) {
    let percent_min = options.store.idle_compaction_percent_min;
    let (store, token) = (store.clone(), token.clone());
    let compacted = runtime::spawn_blocking(move || {
        if store.is_worth_compacting(percent_min)? {
            store.compact(|| !token.is_cancelled())?;
        }
        Ok(())
    });
    end_if_failed(compacted.await, "the state can't be compacted", &options.fatal);
}

/// Sweeps a group, drops what large commits have left, and tells its leader when the group is idle, so that the horizon goes on.
/// A leader sees to its membership as well: `place` is where this node stands.
pub async fn sweep_in_time(
    (group, raft, peers): (Arc<Group>, GroupRaft, Arc<Peers>),
    place: Node,
    options: Options,
    token: CancellationToken,
) {
    let look = Duration::from_millis(options.store.sweep_look_ms);
    let keys_max = options.store.sweep_keys_max;
    loop {
        tokio::select! {
            biased;
            () = token.cancelled() => return,
            () = runtime::sleep(look) => {}
        }
        if group.queue.write().idle(passed(), group.horizon(), group.records_floor()) {
            group.work.notify_one();
        }
        let by_log = async {
            drop_given_up(&group, &raft).await;
            if group.position().borrow().ready {
                keep_in_order(&group, &raft, options.node, &place).await;
            }
            write_own_version(&group, &raft, &peers, options.node).await;
        };
        // Without the other replicas it would not end.
        tokio::select! {
            biased;
            () = token.cancelled() => return,
            () = by_log => {}
        }
        loop {
            let sweeping = group.clone();
            let swept = runtime::spawn_blocking(move || sweeping.sweep(keys_max)).await;
            if !end_if_failed(swept, "what was deleted can't be swept", &options.fatal).unwrap_or(false) {
                break;
            }
            if token.is_cancelled() {
                return;
            }
        }
    }
}

/// Drops the parts of large commits that could not be dropped when they were given up, as when a lease had lapsed.
async fn drop_given_up(group: &Group, raft: &GroupRaft) {
    let position = group.position().borrow().clone();
    if !position.ready {
        return;
    }
    let term = position.epoch.term;
    for stage in group.take_given_up(term) {
        let dropped = match propose(group, raft, term, LogEntry::DropStage { term, stage }).await {
            Ok(done) => done.await,
            Err(refused) => Err(refused),
        };
        if dropped.is_err() {
            group.give_up_stage(term, stage);
        }
    }
}

/// Moves a group to this program's version of entries, once every replica says that it can read it.
async fn write_own_version(group: &Group, raft: &GroupRaft, peers: &Peers, node: NodeId) {
    let position = group.position().borrow().clone();
    if !position.ready || group.write_version() == EntryVersion::OWN {
        return;
    }
    let membership = raft.server_metrics().borrow_watched().membership_config.clone();
    let others = membership.membership().nodes().filter(|(id, _)| **id != node.0);
    let introductions = others.map(|(id, place)| peers.introduce_member(group.id, NodeId(*id), place));
    let introduced = futures::future::join_all(introductions).await;
    let all_read_it = introduced.iter().all(|introduced| {
        introduced.as_ref().is_ok_and(|introduced| introduced.entry_version >= EntryVersion::OWN.number())
    });
    if all_read_it {
        let entry = LogEntry::SetWriteVersion(EntryVersion::OWN);
        // Refused or lost, it is proposed again at the next look.
        if let Ok(done) = propose(group, raft, position.epoch.term, entry).await {
            let _ = done.await;
        }
    }
}

fn end_if_failed<T>(
    result: Result<Result<T, ApplyError>, JoinError>,
    what: &str,
    fatal: &FatalHandler,
) -> Option<T> {
    match result {
        Ok(Ok(done)) => Some(done),
        Ok(Err(error)) => {
            fatal.end(&format!("{what}: {error}"));
            None
        }
        Err(error) => {
            fatal.end(&format!("{what}: {error}"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_kept_for_who_is_behind_until_it_is_too_large() {
        let limits =
            StoreLimits { log_bytes_kept_max: 100, log_bytes_catching_up_max: 200, ..StoreLimits::DEFAULT };
        let up_to = |replicas: &[(u64, bool)], bytes: u64| {
            let replicas =
                replicas.iter().map(|(lacks, is_there)| Replica { lacks: *lacks, is_there: *is_there });
            purged_up_to(Some(1_000), replicas, &Kept { entries: 10, bytes, limits: &limits })
        };
        assert_eq!(up_to(&[], 0), Some(990), "it is alone, or follows");
        assert_eq!(up_to(&[(1_001, true), (995, true)], 0), Some(990), "they have more than goes");
        assert_eq!(up_to(&[(1_001, true), (500, true)], 0), Some(499));
        assert_eq!(up_to(&[(1_001, true), (500, false)], 100), Some(499), "it may come back");
        assert_eq!(up_to(&[(1_001, true), (500, false)], 101), Some(990), "it gets the state instead");
        assert_eq!(up_to(&[(700, true), (500, false)], 101), Some(699), "the other one is about to catch up");
        assert_eq!(up_to(&[(700, true), (500, false)], 201), Some(990), "and is too slow");
        assert_eq!(up_to(&[(0, true)], 0), None, "nothing has come to it yet");
        let kept = Kept { entries: 10, bytes: 0, limits: &limits };
        assert_eq!(purged_up_to(Some(9), std::iter::empty(), &kept), None);
        assert_eq!(purged_up_to(None, std::iter::empty(), &kept), None);
    }
}
