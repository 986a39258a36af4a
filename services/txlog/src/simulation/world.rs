//! A simulated world: a cluster, those who use it, what goes wrong, and the judgement.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use contract::{
    CommitId, DeploymentId, DeploymentRef, IndexId, Interval, Order, Read, ReadResult, Timestamp,
};
use openraft::async_runtime::WatchReceiver;
use rand::RngExt;

use super::{
    caller::Caller,
    cluster::{Cluster, DOCUMENTS, GROUP, LISTS, options},
    documents,
    faults::Trouble,
    holders::{self, Holder},
    lists,
    network::Server,
    runtime,
    streams::{Given as Streamed, Newest, Subscriber},
};
use crate::{
    apply::Family,
    keys,
    model_tests::client::{BY_ID, BY_NAME, Documents, Given, Keys},
    reads::{RangeLimits, Reader},
};

const CLIENTS: usize = 3;
const HOLDERS: usize = 2;
const SUBSCRIBERS: usize = 2;
/// How long things go wrong.
const TROUBLE: Duration = Duration::from_secs(6);
/// How long everybody may take to finish once nothing goes wrong any more.
const END: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// What happened in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    pub commits: usize,
    pub term: u64,
    pub seconds: u64,
}

/// Lives through a history and judges it.
pub async fn live() -> Result<Summary, String> {
    let founders = if runtime::happens(250) { 5 } else { 3 };
    let holders = if runtime::happens(500) { HOLDERS } else { 0 };
    let mut options = options(founders);
    // Where nobody holds anything the horizon goes on soon after a change of the leader.
    options.limits.hold_ms = if holders > 0 { holders::LEASE_MS } else { 50 };
    let cluster = Cluster::new(options);
    (1..=founders).for_each(|id| cluster.add(id));
    let keys = runtime::random(Keys::choose);
    let healed = Arc::new(AtomicBool::new(false));
    let of_documents = Arc::<documents::Past>::default();
    let of_lists = Arc::<lists::Past>::default();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let caller = Caller::new(cluster.network.clone());
        let client = documents::Client::new(caller, of_documents.clone(), keys.clone());
        clients.push(runtime::spawn(client.run(healed.clone())));
        let client = lists::Client::new(Caller::new(cluster.network.clone()), of_lists.clone());
        clients.push(runtime::spawn(client.run(healed.clone())));
    }
    for _ in 0..holders {
        let holder = Holder::new(Caller::new(cluster.network.clone()), of_documents.clone(), keys.clone());
        clients.push(runtime::spawn(holder.run(healed.clone())));
    }
    let mut streams = Vec::new();
    let newest: Newest = {
        let (of_documents, of_lists) = (of_documents.clone(), of_lists.clone());
        Arc::new(move || of_documents.newest().max(of_lists.newest()))
    };
    for at in [DOCUMENTS, LISTS] {
        for _ in 0..SUBSCRIBERS {
            let (subscriber, given) = Subscriber::new(cluster.network.clone(), at, newest.clone());
            runtime::spawn(subscriber.run());
            streams.push(given);
        }
    }
    let downtime = runtime::random(|random| random.random_range(50..2_500));
    cluster.set_downtime(Duration::from_millis(downtime));
    Trouble::new(cluster.clone(), founders).make(TROUBLE).await;
    let before = of_documents.commits() + of_lists.commits();
    healed.store(true, Ordering::Relaxed);
    let all = async {
        for client in clients {
            client.await.expect("it lives");
        }
    };
    if runtime::timeout(END, all).await.is_err() {
        return Err(format!("commits do not go on: {:?}", cluster.applied()));
    }
    let commits = of_documents.commits() + of_lists.commits();
    if commits <= before {
        return Err("nothing was committed after everything was healed".into());
    }
    let members = settled(&cluster, &streams).await?;
    let judged = judge(&members, &of_documents, &of_lists, &streams);
    let term = members.values().map(|server| server.group.applied().epoch.term).max().unwrap_or(0);
    // Nodes hold their network, and it holds them.
    for id in cluster.nodes() {
        cluster.retire(id);
    }
    while !cluster.network.servers().is_empty() {
        runtime::sleep(LOOK).await;
    }
    judged.map(|()| Summary { commits, term, seconds: runtime::time().as_secs() })
}

/// Waits until every member has come to the same, and nothing is under way; the members.
async fn settled(cluster: &Cluster, streams: &[Streamed]) -> Result<BTreeMap<u64, Server>, String> {
    let until = runtime::time() + END;
    let mut before = BTreeMap::new();
    loop {
        runtime::sleep(LOOK * 4).await;
        let applied = cluster.applied();
        if let Some((_, leader)) = cluster.leader() {
            let members: Vec<u64> = {
                let metrics = leader.raft.server_metrics();
                let metrics = metrics.borrow_watched();
                metrics.membership_config.membership().nodes().map(|(id, _)| *id).collect()
            };
            let state = leader.group.applied();
            let same = members.iter().all(|id| applied.get(id) == Some(&state));
            let streamed = streams.iter().all(|given| given.to() == state.last_timestamp);
            if same && streamed && before == applied {
                let servers = cluster.network.servers();
                return Ok(servers.into_iter().filter(|(id, _)| members.contains(id)).collect());
            }
        }
        if runtime::time() > until {
            let streamed: Vec<Timestamp> = streams.iter().map(Streamed::to).collect();
            return Err(format!("the replicas do not come together: {applied:?}, streams: {streamed:?}"));
        }
        before = applied;
    }
}

type Recorded = BTreeMap<DeploymentRef, BTreeMap<Timestamp, (CommitId, u32)>>;

fn judge(
    members: &BTreeMap<u64, Server>,
    of_documents: &documents::Past,
    of_lists: &lists::Past,
    streams: &[Streamed],
) -> Result<(), String> {
    let mut first: Option<(Recorded, BTreeMap<IndexId, Vec<ReadResult>>)> = None;
    for (id, server) in members {
        let found = (recorded(server)?, all_rows(server)?);
        match &first {
            None => first = Some(found),
            Some(first) if *first != found => {
                return Err(format!("node {id} has {found:?}, and another one {first:?}"));
            }
            Some(_) => {}
        }
        let parts = server.group.parts_staged().map_err(|error| error.to_string())?;
        if parts > 0 {
            return Err(format!("node {id} has {parts} parts of commits that will never be"));
        }
    }
    let (recorded, rows) = first.ok_or("nobody is a member")?;
    let nothing = BTreeMap::new();
    let documents = of_documents.judge(recorded.get(&DOCUMENTS).unwrap_or(&nothing))?;
    judge_documents(&rows, &documents)?;
    of_lists.judge(recorded.get(&LISTS).unwrap_or(&nothing))?;
    streams.iter().try_for_each(|given| given.judge(&recorded))
}

/// Which run of which request has committed when, as a node has recorded it.
fn recorded(server: &Server) -> Result<Recorded, String> {
    let mut recorded = Recorded::new();
    for (key, value) in server.group.store.memory().rows(Family::Records) {
        if keys::incarnation(&key) != Some(server.group.incarnation()) {
            continue;
        }
        let id = CommitId(*key.last_chunk().ok_or("a record's key is short")?);
        let deployment = key.get(4..8).and_then(|bytes| bytes.try_into().ok()).ok_or("its key is short")?;
        let at = DeploymentRef { group: GROUP, deployment: DeploymentId(u32::from_be_bytes(deployment)) };
        let committed = keys::decode_record(&value).map_err(|error| error.to_string())?;
        let before = recorded.entry(at).or_default().insert(committed.timestamp, (id, committed.run));
        if let Some(before) = before {
            return Err(format!("{} was given to {id:?} and to {before:?}", committed.timestamp));
        }
    }
    Ok(recorded)
}

const LIMITS: RangeLimits = RangeLimits { rows_max: usize::MAX, bytes_max: usize::MAX };

/// Everything that a node has, by each of the indexes.
fn all_rows(server: &Server) -> Result<BTreeMap<IndexId, Vec<ReadResult>>, String> {
    let group = &server.group;
    let mut all = BTreeMap::new();
    for (deployment, indexes) in [(DOCUMENTS, [BY_ID, BY_NAME]), (LISTS, lists::INDEXES)] {
        let reader =
            Reader::new(&*group.store, group.incarnation(), deployment.deployment, group.published());
        for index in indexes {
            let rows = reader
                .range(index, &Interval::all(), Order::Ascending, LIMITS, BTreeMap::new())
                .map_err(|error| error.to_string())?;
            let (rows, more) = rows;
            all.insert(index, vec![ReadResult::Range { rows, more }]);
        }
    }
    Ok(all)
}

/// What is there in the end is what the history made.
fn judge_documents(rows: &BTreeMap<IndexId, Vec<ReadResult>>, documents: &Documents) -> Result<(), String> {
    for index in [BY_ID, BY_NAME] {
        let read = Read::Range {
            index,
            interval: Interval::all(),
            order: Order::Ascending,
            rows_max: usize::MAX,
            bytes_max: usize::MAX,
        };
        let (given, expected) = (Given::new(&read, &rows[&index][0]), Given::expected(&read, documents));
        if given != expected {
            return Err(format!("{index:?} has {given:?}, and the history made {expected:?}"));
        }
    }
    Ok(())
}
