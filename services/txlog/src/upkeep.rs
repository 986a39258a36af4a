//! What a node does for its store beside the commits: flushes it, sweeps what was deleted, lets the horizon follow while
//! a group is idle, and gives back the disk.

use std::{sync::Arc, time::Duration};

use contract::NodeId;
use openraft::async_runtime::WatchReceiver;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    apply::ApplyError,
    entry::{EntryVersion, LogEntry},
    fatal::FatalHandler,
    group::Group,
    options::Options,
    proposer::{GroupRaft, propose},
    raft_log::RaftLog,
    state_machine::flush,
    state_store::StateStore,
};

/// Flushes the node's store by bytes and age of what it has not flushed, and lets each group's log go up to there. While
/// nothing is written, compacts what was written before.
pub async fn flush_in_time(
    groups: Vec<(Arc<Group>, GroupRaft, RaftLog)>,
    store: Arc<StateStore>,
    options: Options,
    token: CancellationToken,
) {
    let age = Duration::from_millis(options.store.unflushed_ms_max);
    let look = Duration::from_millis(options.store.unflushed_look_ms);
    let logs: Vec<_> = groups.iter().map(|(group, _, log)| (group.clone(), log.clone())).collect();
    let mut changed_since: Option<Instant> = None;
    loop {
        tokio::select! {
            () = token.cancelled() => return,
            () = tokio::time::sleep(look) => {}
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

/// Gives back the disk that old versions take, if it is worth it.
async fn compact(store: &Arc<StateStore>, options: &Options, token: &CancellationToken) {
    let percent_min = options.store.idle_compaction_percent_min;
    let (store, token) = (store.clone(), token.clone());
    let compacted = tokio::task::spawn_blocking(move || {
        if store.is_worth_compacting(percent_min)? {
            store.compact(|| !token.is_cancelled())?;
        }
        Ok(())
    });
    end_if_failed(compacted.await, "the state can't be compacted", &options.fatal);
}

/// Sweeps a group, drops what large commits have left, and tells its leader when the group is idle, so that the horizon goes on.
pub async fn sweep_in_time(group: Arc<Group>, raft: GroupRaft, options: Options, token: CancellationToken) {
    let look = Duration::from_millis(options.store.sweep_look_ms);
    let keys_max = options.store.sweep_keys_max;
    let mut idle = (group.published(), Instant::now());
    loop {
        tokio::select! {
            () = token.cancelled() => return,
            () = tokio::time::sleep(look) => {}
        }
        if group.published() != idle.0 {
            idle = (group.published(), Instant::now());
        }
        let idle_for = idle.1.elapsed();
        if group.queue.write().idle(idle_for, group.horizon(), group.records_floor()) {
            group.work.notify_one();
        }
        drop_given_up(&group, &raft).await;
        write_own_version(&group, &raft, options.node).await;
        loop {
            let sweeping = group.clone();
            let swept = tokio::task::spawn_blocking(move || sweeping.sweep(keys_max)).await;
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

/// Moves a group that has no other replicas to this program's version of entries: nobody else must read them.
async fn write_own_version(group: &Group, raft: &GroupRaft, node: NodeId) {
    let position = group.position().borrow().clone();
    if !position.ready || group.write_version() == EntryVersion::OWN {
        return;
    }
    let alone = {
        let metrics = raft.server_metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.membership().nodes().map(|(id, _)| *id).eq([node.0])
    };
    if alone {
        let entry = LogEntry::SetWriteVersion(EntryVersion::OWN);
        // Refused or lost, it is proposed again at the next look.
        if let Ok(done) = propose(group, raft, position.epoch.term, entry).await {
            let _ = done.await;
        }
    }
}

fn end_if_failed<T>(
    result: Result<Result<T, ApplyError>, tokio::task::JoinError>,
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
