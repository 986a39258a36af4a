//! Groups of three and more voters, each node with its own folder, over gRPC on loopback: what is acknowledged is there on all of
//! them, whoever dies, comes back, joins or leaves.

mod support;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use contract::{Hold, HoldId, NodeId, Read, ReadAt, ReadResult, Timestamp, TransactionLog};
use proto::txlog::v1::{self as wire, raft_client::RaftClient};
use support::{BY_ID, CLUSTER, Cluster, DEV, Fault, commit_at, delete, write};
use tokio::task::JoinSet;
use tonic::Code;
use txlog::Handle;

/// Writers that commit by whoever leads, each its own keys, until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<(BTreeMap<Bytes, Bytes>, Timestamp, u64)>,
    acknowledged: Arc<AtomicU64>,
}

impl Load {
    /// By the nodes that the cluster has now.
    fn start(cluster: &Cluster, run: u64, writers: u64) -> Load {
        let logs: Vec<Handle> = cluster.nodes.values().map(|running| running.log.clone()).collect();
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        for writer in 0..writers {
            let (logs, stop, acknowledged) = (logs.clone(), stop.clone(), acknowledged.clone());
            tasks.spawn(async move {
                let (mut written, mut last, mut refused) = (BTreeMap::new(), Timestamp::ZERO, 0);
                let mut number = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    let key = format!("{run}-{writer}-{number}");
                    let id = u128::from(run) << 96 | u128::from(writer) << 64 | u128::from(number);
                    let (timestamp, times) = commit_at(&logs, id, vec![write(&key, key.as_bytes())]).await;
                    assert!(timestamp > last, "time does not go back");
                    written.insert(Bytes::from(key.clone()), Bytes::from(key));
                    (last, refused, number) = (timestamp, refused + times, number + 1);
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                (written, last, refused)
            });
        }
        Load { stop, tasks, acknowledged }
    }

    async fn acknowledged(&self, more: u64) {
        let target = self.acknowledged.load(Ordering::Relaxed) + more;
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.acknowledged.load(Ordering::Relaxed) < target {
            assert!(Instant::now() < deadline, "commits go on");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// What was acknowledged, the moment of the last, and how often commits were refused: by `NotLeader`, and, times a million,
    /// otherwise.
    async fn end(mut self) -> (BTreeMap<Bytes, Bytes>, Timestamp, u64) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut all, mut last, mut refused) = (BTreeMap::new(), Timestamp::ZERO, 0);
        while let Some(ended) = self.tasks.join_next().await {
            let (written, at, times) = ended.expect("a writer ends in order");
            all.extend(written);
            last = last.max(at);
            refused += times;
        }
        (all, last, refused)
    }
}

async fn all_have(cluster: &Cluster, expected: &BTreeMap<Bytes, Bytes>, at: Timestamp) {
    for node in cluster.nodes.keys() {
        let found = cluster.documents(*node, at).await;
        assert_eq!(found.len(), expected.len(), "node {node}");
        assert!(found == *expected, "node {node} has other documents");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_begin_a_cluster_once_and_all_have_what_is_committed() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let last = cluster.commit(1, vec![write("a", b"one"), write("b", b"two")]).await;
    all_have(&cluster, &BTreeMap::from([("a".into(), "one".into()), ("b".into(), "two".into())]), last).await;
    for status in cluster.statuses() {
        assert_eq!(status.leader.as_ref().map(|leader| leader.node.0), Some(leader), "{status:?}");
        let members: Vec<_> = status.replicas.iter().map(|replica| (replica.node.0, replica.voter)).collect();
        assert_eq!(members, [(1, true), (2, true), (3, true)]);
        assert_eq!(status.replicas[1].zone, "zone-2");
        assert_eq!(status.replicas[1].address, cluster.address(2));
        assert_eq!(status.ready, status.node.0 == leader);
    }
    let behind = cluster.status(leader).replicas.into_iter().map(|replica| replica.entries_behind.is_some());
    assert_eq!(behind.filter(|known| *known).count(), 2, "the leader knows how far the others are");
    // Who follows takes no commits, and says who does.
    let follower = cluster.log(leader % 3 + 1);
    let position = follower.position(DEV.group).unwrap().borrow().clone();
    assert!(!position.ready);
    assert_eq!(position.leader.unwrap().address, cluster.address(leader));
    // It holds the node's store.
    drop(follower);
    cluster.stop_all().await;
    // Every one of them again: the same cluster.
    for node in [2, 1, 3] {
        cluster.start_node(node).await;
    }
    cluster.ready().await;
    let last = cluster.commit(2, vec![delete("a")]).await;
    all_have(&cluster, &BTreeMap::from([("b".into(), "two".into())]), last).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_leader_dies_the_others_go_on_and_it_comes_back_as_a_follower() {
    let mut cluster = Cluster::start(3).await;
    let mut expected = BTreeMap::new();
    for run in 0..2 {
        let leader = cluster.leader().await;
        let load = Load::start(&cluster, run, 4);
        load.acknowledged(50).await;
        cluster.isolate(leader, Some(Fault::Closed));
        let next = cluster.leader_of(|node| node != leader).await;
        load.acknowledged(50).await;
        let (written, last, _) = load.end().await;
        expected.extend(written);
        cluster.kill(leader).await;
        all_have(&cluster, &expected, last).await;
        let term = cluster.status(next).term;
        cluster.restart(leader).await;
        cluster.ready().await;
        all_have(&cluster, &expected, last).await;
        assert_eq!(cluster.leader().await, next, "who comes back does not disturb");
        assert_eq!(cluster.status(next).term, term);
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_cut_off_does_not_disturb_when_it_comes_back() {
    for fault in [Fault::Closed, Fault::Silent] {
        let mut cluster = Cluster::start(3).await;
        let leader = cluster.leader().await;
        let term = cluster.status(leader).term;
        let cut_off = leader % 3 + 1;
        cluster.isolate(cut_off, Some(fault));
        let load = Load::start(&cluster, 1, 2);
        // It would have been elected three times, or at least have wanted to be.
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(cluster.status(cut_off).term, term, "{fault:?}: it asks first, and nobody answers");
        load.acknowledged(50).await;
        cluster.isolate(cut_off, None);
        load.acknowledged(50).await;
        let (written, last, refused) = load.end().await;
        all_have(&cluster, &written, last).await;
        assert_eq!((cluster.leader().await, cluster.status(leader).term), (leader, term), "{fault:?}");
        assert_eq!(refused, 0, "{fault:?}: nobody noticed");
        cluster.stop_all().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_not_there_is_asked_with_pauses() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    cluster.isolate(leader % 3 + 1, Some(Fault::Closed));
    let load = Load::start(&cluster, 1, 2);
    load.acknowledged(50).await;
    let before = cluster.network.connects.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let connects = cluster.network.connects.load(Ordering::Relaxed) - before;
    assert!(connects < 200, "{connects} connections were asked for in two seconds");
    load.end().await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_hangs_is_replaced_and_proves_nothing_any_more() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let load = Load::start(&cluster, 1, 2);
    load.acknowledged(20).await;
    cluster.isolate(leader, Some(Fault::Silent));
    let cut_off = cluster.log(leader);
    cluster.leader_of(|node| node != leader).await;
    let confirmed = tokio::time::timeout(Duration::from_secs(3), cut_off.confirm_leadership(DEV.group)).await;
    assert!(!matches!(confirmed, Ok(Ok(_))), "no quorum confirms it: {confirmed:?}");
    drop(cut_off);
    load.acknowledged(20).await;
    cluster.isolate(leader, None);
    let (written, last, _) = load.end().await;
    all_have(&cluster, &written, last).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hears_of_no_leader_and_a_leader_of_no_quorum_say_so_until_they_do() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let (one, other) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    cluster.are_without_leader(&[]).await;
    for fault in [Fault::Closed, Fault::Silent] {
        cluster.isolate(one, Some(fault));
        cluster.are_without_leader(&[one]).await;
        assert_eq!(cluster.leader().await, leader, "it has a quorum all the same");
        cluster.isolate(other, Some(fault));
        cluster.are_without_leader(&[1, 2, 3]).await;
        // Nobody could have been elected, and nobody has stepped down.
        let status = cluster.status(leader);
        assert!(status.ready, "{status:?}");
        let error =
            cluster.log(leader).confirm_leadership(DEV.group).await.expect_err("no quorum confirms it");
        assert!(error.message.ends_with("nobody is known to"), "it does not name itself: {error}");
        cluster.isolate(one, None);
        cluster.isolate(other, None);
        cluster.ready().await;
        cluster.are_without_leader(&[]).await;
    }
    // One that starts where nobody answers knows who led last, and has not heard of it.
    cluster.kill(one).await;
    cluster.start_node(one).await;
    cluster.are_without_leader(&[one]).await;
    cluster.isolate(one, None);
    cluster.are_without_leader(&[]).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_takes_one_message_of_raft_at_a_time_goes_on() {
    let mut cluster = Cluster::start_with(3, |options| options.store.raft_messages_queued_max = 1).await;
    let load = Load::start(&cluster, 1, 8);
    load.acknowledged(200).await;
    let (written, last, _) = load.end().await;
    all_have(&cluster, &written, last).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lead_is_handed_over_without_a_failed_commit() {
    let mut cluster = Cluster::start(3).await;
    let load = Load::start(&cluster, 1, 8);
    load.acknowledged(50).await;
    let mut leader = cluster.leader().await;
    for to in [None, Some(leader), None, Some(leader % 3 + 1)] {
        let to = to.filter(|to| *to != leader).map(NodeId);
        let next = cluster.log(leader).transfer_leader(DEV.group, to).await.expect("it is handed over").0;
        assert_ne!(next, leader);
        assert!(to.is_none_or(|to| to.0 == next));
        assert_eq!(cluster.leader_of(|node| node == next).await, next);
        leader = next;
        load.acknowledged(50).await;
    }
    let error = cluster.log(leader).transfer_leader(DEV.group, Some(NodeId(9))).await.unwrap_err();
    assert_eq!(error.code, "NodeNotVoter");
    let error = cluster.log(leader % 3 + 1).transfer_leader(DEV.group, None).await.unwrap_err();
    assert_eq!(error.code, "NotLeader");
    let (written, last, refused) = load.end().await;
    assert!(refused < 1_000_000, "some commit heard something else than that another one leads");
    all_have(&cluster, &written, last).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lead_that_can_not_be_handed_over_is_kept_and_commits_are_taken_again() {
    let mut cluster = Cluster::start_with(3, |options| options.store.hand_over_ms_max = 300).await;
    let leader = cluster.leader().await;
    let to = leader % 3 + 1;
    // What is asked of it does not reach it.
    cluster.network.set(leader, to, Some(Fault::Closed));
    let result = cluster.log(leader).transfer_leader(DEV.group, Some(NodeId(to))).await;
    assert!(result.is_err_and(|error| error.code == "LeaderNotTransferred"));
    let last = cluster.commit(1, vec![write("a", b"one")]).await;
    cluster.network.set(leader, to, None);
    all_have(&cluster, &BTreeMap::from([("a".into(), "one".into())]), last).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stops_in_order_leaves_another_one_leading() {
    let mut cluster = Cluster::start(3).await;
    let load = Load::start(&cluster, 1, 4);
    load.acknowledged(20).await;
    let leader = cluster.leader().await;
    let term = cluster.status(leader).term;
    cluster.stop(leader).await;
    let next = cluster.statuses().into_iter().max_by_key(|status| status.term).unwrap();
    assert_eq!(next.term, term + 1, "one election, which was asked for");
    assert!(next.leader.is_some_and(|next| next.node.0 != leader), "it leads already");
    load.acknowledged(20).await;
    let (written, last, _) = load.end().await;
    all_have(&cluster, &written, last).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn voters_are_added_and_removed_while_commits_go_on() {
    let mut cluster = Cluster::start(3).await;
    cluster.start_node(4).await;
    let load = Load::start(&cluster, 1, 4);
    load.acknowledged(50).await;
    let leader = cluster.leader().await;
    let place = (cluster.address(4).to_owned(), "zone-4".to_owned());
    let add = async |cluster: &Cluster, by: u64, node: u64, instead_of: Option<u64>| {
        let place = (&*place.0, &*place.1);
        cluster.log(by).add_node(DEV.group, NodeId(node), place, instead_of.map(NodeId)).await
    };
    assert_eq!(add(&cluster, leader % 3 + 1, 4, None).await.unwrap_err().code, "NotLeader");
    assert_eq!(add(&cluster, leader, 5, None).await.unwrap_err().code, "NodeIsAnother");
    let error = add(&cluster, leader, 4, Some(9)).await.unwrap_err();
    assert_eq!(error.code, "NodeNotVoter", "whom should it replace?");
    assert_eq!(cluster.status(leader).replicas.len(), 3, "nothing was begun");
    add(&cluster, leader, 4, None).await.expect("it is added");
    add(&cluster, leader, 4, None).await.expect("it is there already");
    let own = cluster.address(leader).to_owned();
    let itself = cluster.log(leader).add_node(DEV.group, NodeId(leader), (&own, ""), None).await;
    itself.expect("the leader is there already as well");
    let voters = |cluster: &Cluster, of: u64| -> Vec<u64> {
        let replicas = cluster.status(of).replicas.into_iter().filter(|replica| replica.voter);
        replicas.map(|replica| replica.node.0).collect()
    };
    assert_eq!(voters(&cluster, leader), [1, 2, 3, 4]);
    load.acknowledged(50).await;
    // The leader itself: it hands over first.
    let error = cluster.log(leader).remove_node(DEV.group, NodeId(leader)).await.unwrap_err();
    assert_eq!(error.code, "NotLeader");
    let next = cluster.leader_of(|node| node != leader).await;
    for (node, is_there) in [(leader, true), (leader, false), (99, false)] {
        let removed = cluster.log(next).remove_node(DEV.group, NodeId(node)).await;
        assert_eq!(removed.expect("it is not there any more"), is_there, "node {node}");
    }
    let left: Vec<u64> = (1..=4).filter(|node| *node != leader).collect();
    assert_eq!(voters(&cluster, next), left);
    load.acknowledged(50).await;
    let (written, last, refused) = load.end().await;
    assert!(refused < 1_000_000, "some commit heard something else than that another one leads");
    cluster.stop(leader).await;
    cluster.ready().await;
    all_have(&cluster, &written, last).await;
    // Of three, one dies: without another one the group would end.
    let next = cluster.leader().await;
    let others: Vec<u64> = left.into_iter().filter(|node| *node != next).collect();
    let (dead, alive) = (others[0], others[1]);
    cluster.kill(dead).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let error = cluster.log(next).remove_node(DEV.group, NodeId(alive)).await.unwrap_err();
    assert_eq!(error.code, "QuorumWouldBeLost");
    let error = cluster.log(next).transfer_leader(DEV.group, Some(NodeId(dead))).await.unwrap_err();
    assert_eq!(error.code, "NodeUnreachable", "it can't lead");
    assert!(cluster.status(next).ready, "who led leads on");
    cluster.log(next).remove_node(DEV.group, NodeId(dead)).await.expect("the dead one can go");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_node_is_replaced_by_another_one() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let dead = leader % 3 + 1;
    cluster.kill(dead).await;
    cluster.start_node(4).await;
    let load = Load::start(&cluster, 1, 2);
    load.acknowledged(50).await;
    let leader = cluster.leader().await;
    let address = cluster.address(4).to_owned();
    cluster
        .log(leader)
        .add_node(DEV.group, NodeId(4), (&address, "zone-4"), Some(NodeId(dead)))
        .await
        .expect("it is replaced");
    let again = (&*address, "zone-4");
    let again = cluster.log(leader).add_node(DEV.group, NodeId(4), again, Some(NodeId(dead))).await;
    again.expect("it is replaced already");
    let members: Vec<_> = cluster.status(leader).replicas.iter().map(|replica| replica.node.0).collect();
    assert_eq!(members, (1..=4).filter(|node| *node != dead).collect::<Vec<_>>());
    let (written, last, _) = load.end().await;
    cluster.ready().await;
    all_have(&cluster, &written, last).await;
    // Now another one may die.
    let other = (1..=3).find(|node| *node != dead && *node != leader).unwrap();
    cluster.kill(other).await;
    cluster.commit(u128::MAX, vec![write("after", b"it")]).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_has_moved_with_its_disk_is_found_where_it_is_once_that_is_said() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let moved = leader % 3 + 1;
    cluster.stop(moved).await;
    // More than a new voter may lack.
    let load = Load::start(&cluster, 1, 4);
    load.acknowledged(200).await;
    cluster.move_node(moved).await;
    cluster.start_node(moved).await;
    cluster.are_without_leader(&[moved]).await;
    let address = cluster.address(moved).to_owned();
    let tell = async |zone: &str| {
        cluster.log(leader).add_node(DEV.group, NodeId(moved), (&address, zone), None).await
    };
    let place = || {
        let replicas = cluster.status(leader).replicas;
        let replica = replicas.into_iter().find(|replica| replica.node.0 == moved).expect("it is a member");
        (replica.address, replica.zone, replica.voter)
    };
    tell("").await.expect("it is there");
    assert_eq!(place(), (address.clone(), format!("zone-{moved}"), true), "in the zone that it says");
    tell("elsewhere").await.expect("it is there");
    assert_eq!(place(), (address.clone(), "elsewhere".into(), true));
    let (written, last, refused) = load.end().await;
    assert_eq!(refused, 0, "nobody noticed");
    cluster.are_without_leader(&[]).await;
    all_have(&cluster, &written, last).await;
    // It counts: without it there would be no quorum.
    cluster.kill((leader + 1) % 3 + 1).await;
    cluster.commit(u128::MAX, vec![write("after", b"it")]).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_node_that_is_not_heard_of_is_not_waited_for_and_other_changes_are_not_held_up() {
    let mut cluster = Cluster::start(3).await;
    cluster.start_node(4).await;
    let leader = cluster.leader().await;
    cluster.network.shy.lock().unwrap().insert(4);
    let address = cluster.address(4).to_owned();
    let add = async |cluster: &Cluster| {
        cluster.log(leader).add_node(DEV.group, NodeId(4), (&address, ""), None).await
    };
    let meanwhile = async {
        while cluster.status(leader).replicas.len() < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cluster.log(leader).transfer_leader(DEV.group, None).await
    };
    let both = async { tokio::join!(add(&cluster), meanwhile) };
    let (added, meanwhile) = tokio::time::timeout(Duration::from_secs(60), both).await.expect("both end");
    assert_eq!(added.unwrap_err().code, "NodeUnreachable");
    assert_eq!(meanwhile.unwrap_err().code, "MembershipNotChanged", "one after the other");
    let last = cluster.commit(1, vec![write("a", b"one")]).await;
    cluster.network.shy.lock().unwrap().clear();
    add(&cluster).await.expect("what was begun goes on");
    all_have(&cluster, &BTreeMap::from([("a".into(), "one".into())]), last).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_has_lost_its_disk_is_not_taken_for_the_one_it_was() {
    let mut cluster = Cluster::start(3).await;
    let last = cluster.commit(1, vec![write("a", b"one")]).await;
    let leader = cluster.leader().await;
    let lost = leader % 3 + 1;
    cluster.kill(lost).await;
    std::fs::remove_dir_all(cluster.folder(lost)).unwrap();
    cluster.restart(lost).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status = cluster.status(lost);
    assert_eq!((status.last_index, status.replicas.len()), (0, 0), "it has heard nothing: {status:?}");
    cluster.commit(2, vec![write("b", b"two")]).await;
    let leader = cluster.leader().await;
    let address = cluster.address(lost).to_owned();
    let again = cluster.log(leader).add_node(DEV.group, NodeId(lost), (&address, ""), None).await;
    assert_eq!(again.unwrap_err().code, "NodeIdTaken");
    // Under another id it is welcome.
    cluster.stop(lost).await;
    cluster.start_node(4).await;
    let address = cluster.address(4).to_owned();
    cluster
        .log(leader)
        .add_node(DEV.group, NodeId(4), (&address, ""), Some(NodeId(lost)))
        .await
        .expect("it is added");
    assert_eq!(cluster.documents(4, last).await.len(), 1);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_began_alone_and_lost_its_disk_does_not_begin_again() {
    let mut cluster = Cluster::start(1).await;
    cluster.commit(1, vec![write("a", b"one")]).await;
    for node in [2, 3] {
        cluster.start_node(node).await;
        let place = (cluster.address(node).to_owned(), format!("zone-{node}"));
        let added = cluster.log(1).add_node(DEV.group, NodeId(node), (&place.0, &place.1), None).await;
        added.expect("it is added");
    }
    cluster.kill(1).await;
    cluster.leader_of(|node| node != 1).await;
    std::fs::remove_dir_all(cluster.folder(1)).unwrap();
    cluster.restart(1).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status = cluster.status(1);
    assert_eq!((status.last_index, status.replicas.len()), (0, 0), "it has begun nothing: {status:?}");
    assert!(!status.ready);
    cluster.commit(2, vec![write("b", b"two")]).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_not_for_this_node_are_refused() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let follower = leader % 3 + 1;
    let term = cluster.status(follower).term;
    let mut client = RaftClient::connect(format!("http://{}", cluster.address(follower))).await.unwrap();
    let right = wire::Route {
        cluster: CLUSTER.into(),
        group: DEV.group.0,
        from: leader,
        to: follower,
        to_disk: Bytes::new(),
    };
    let vote = |route: Option<wire::Route>| {
        // What would make it follow another leader.
        let vote = wire::Vote { term: term + 100, voted_for: leader, committed: true };
        wire::AppendRequest { route, vote: Some(vote), ..wire::AppendRequest::default() }
    };
    for (what, route, code) in [
        (
            "cluster",
            Some(wire::Route { cluster: "another".into(), ..right.clone() }),
            Code::FailedPrecondition,
        ),
        ("node", Some(wire::Route { to: leader, ..right.clone() }), Code::FailedPrecondition),
        (
            "disk",
            Some(wire::Route { to_disk: vec![7; 16].into(), ..right.clone() }),
            Code::FailedPrecondition,
        ),
        (
            "name of a disk",
            Some(wire::Route { to_disk: vec![7; 3].into(), ..right.clone() }),
            Code::InvalidArgument,
        ),
        ("group", Some(wire::Route { group: 99, ..right.clone() }), Code::Unavailable),
        ("route", None, Code::InvalidArgument),
    ] {
        let status = client.heartbeat(vote(route.clone())).await.expect_err(what);
        assert_eq!(status.code(), code, "{what}: {status}");
        let mut answers = client.append(futures::stream::iter([vote(route)])).await.unwrap().into_inner();
        assert_eq!(answers.message().await.expect_err(what).code(), code, "{what}");
    }
    let no_vote = wire::AppendRequest { route: Some(right.clone()), ..wire::AppendRequest::default() };
    assert_eq!(client.heartbeat(no_vote).await.expect_err("no vote").code(), Code::InvalidArgument);
    let pieces = wire::SnapshotPiece { piece: Some(wire::snapshot_piece::Piece::Rows(Bytes::new())) };
    let refused = client.install_snapshot(futures::stream::iter([pieces])).await;
    assert_eq!(refused.expect_err("no beginning").code(), Code::InvalidArgument);
    assert_eq!(cluster.status(follower).term, term, "nothing of it was taken");
    let mut right_one = vote(Some(right));
    right_one.vote = Some(wire::Vote { term: 0, voted_for: leader, committed: true });
    let reply = client.heartbeat(right_one).await.expect("it is for this node").into_inner();
    assert!(matches!(reply.result, Some(wire::append_reply::Result::HigherVote(_))), "and too old");
    drop(client);
    cluster.stop_all().await;
}

/// Limits by which every replica that misses something misses too much for the log, and states go in many small files.
fn tiny(options: &mut txlog::Options) {
    options.store.log_entries_kept = 2;
    options.store.log_bytes_kept_max = 100_000;
    options.store.log_write_buffer_bytes_max = 64 << 10;
    options.store.unflushed_look_ms = 5;
    options.store.unflushed_ms_max = 20;
    options.store.snapshot_file_bytes_max = 20_000;
    options.store.snapshot_piece_bytes_max = 1_000;
    options.store.sweep_look_ms = 20;
    options.limits.retention_ms_min = 500;
    options.limits.hold_ms = 500;
}

/// Writes, overwrites and deletes until the leader's log begins behind `index`.
async fn until_purged(cluster: &Cluster, index: u64, run: u64) -> (BTreeMap<Bytes, Bytes>, Timestamp) {
    let mut expected = BTreeMap::new();
    let leader = cluster.leader().await;
    let mut number = 0u64;
    loop {
        let text = format!("{run}-{number}").repeat(200);
        let mut writes = vec![write(format!("key-{}", number % 200), text.as_bytes())];
        expected.insert(Bytes::from(format!("key-{}", number % 200)), Bytes::from(text));
        if number % 5 == 4 {
            let gone = format!("key-{}", (number / 2) % 200);
            if expected.remove(gone.as_bytes()).is_some() && gone != format!("key-{}", number % 200) {
                writes.push(delete(gone));
            } else {
                expected.insert(
                    Bytes::from(format!("key-{}", number % 200)),
                    writes[0].document.clone().unwrap(),
                );
            }
        }
        let last = cluster.commit(u128::from(run + 1) << 64 | u128::from(number), writes).await;
        number += 1;
        let measures = cluster.log(leader).measures(DEV.group).unwrap();
        if number >= 400 && measures.entries_purged_before > index + 1 {
            return (expected, last);
        }
        assert!(number < 20_000, "the log is purged: {measures:?}");
        if number > 400 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_too_far_behind_gets_the_whole_state_once_more_if_it_is_interrupted() {
    let mut cluster = Cluster::start_with(3, tiny).await;
    let leader = cluster.leader().await;
    let behind = leader % 3 + 1;
    cluster.commit(u128::MAX, vec![write("first", b"of all")]).await;
    for run in 0..3u64 {
        let leader = cluster.leader().await;
        let behind = if behind == leader { leader % 3 + 1 } else { behind };
        let had = cluster.status(behind).last_index;
        cluster.kill(behind).await;
        let (mut expected, last) = until_purged(&cluster, had, run).await;
        expected.insert("first".into(), "of all".into());
        cluster.restart(behind).await;
        if run > 0 {
            // Interrupted in the middle, and the other side dies in the middle.
            for pause in [2, 5, 10, 20] {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                cluster.network.set(leader, behind, Some(Fault::Closed));
                tokio::time::sleep(Duration::from_millis(20)).await;
                cluster.network.set(leader, behind, None);
            }
            cluster.kill(behind).await;
            cluster.restart(behind).await;
        }
        let load = Load::start(&cluster, 100 + run, 2);
        load.acknowledged(20).await;
        cluster.ready().await;
        let (more, later, _) = load.end().await;
        let found = cluster.documents(behind, later).await;
        let all: BTreeMap<Bytes, Bytes> = cluster.documents(leader, later).await;
        assert_eq!(found.len(), all.len());
        assert!(found == all, "it has what the leader has");
        assert!(more.iter().all(|(key, document)| found.get(key) == Some(document)));
        assert!(expected.iter().all(|(key, document)| found.get(key) == Some(document)), "up to {last}");
        let purged = cluster.log(behind).measures(DEV.group).unwrap().entries_purged_before;
        assert!(purged > had + 1, "it got the state: its log begins with {purged}, and ended with {had}");
        // It has all that it needs to lead.
        cluster.log(leader).transfer_leader(DEV.group, Some(NodeId(behind))).await.expect("it can lead");
        cluster.leader_of(|node| node == behind).await;
        cluster.commit(u128::MAX - 1 - u128::from(run), vec![write(format!("lead-{run}"), b"by it")]).await;
        assert!(!cluster.folder(behind).join("state/incoming").join("1").exists(), "nothing is left of it");
    }
    // What was installed is there after a restart.
    cluster.stop_all().await;
    for node in 1..=3 {
        cluster.start_node(node).await;
    }
    cluster.ready().await;
    let last = cluster.commit(7, vec![write("last", b"of all")]).await;
    let all = cluster.documents(1, last).await;
    for node in [2, 3] {
        assert!(cluster.documents(node, last).await == all, "node {node} has the same");
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_node_gets_the_state_while_commits_go_on() {
    let mut cluster = Cluster::start_with(3, tiny).await;
    let (_, _) = until_purged(&cluster, 10, 1).await;
    cluster.start_node(4).await;
    let load = Load::start(&cluster, 9, 4);
    let leader = cluster.leader().await;
    let address = cluster.address(4).to_owned();
    cluster
        .log(leader)
        .add_node(DEV.group, NodeId(4), (&address, "zone-4"), None)
        .await
        .expect("it is added");
    load.acknowledged(20).await;
    let (written, last, _) = load.end().await;
    let all = cluster.documents(leader, last).await;
    let found = cluster.documents(4, last).await;
    assert!(found == all, "{} of {} documents", found.len(), all.len());
    assert!(written.iter().all(|(key, document)| found.get(key) == Some(document)));
    cluster.stop_all().await;
}

/// Holds a moment at whoever leads, several times in the time for which it is held, until it is told to let it go.
async fn keep_held(logs: Vec<Handle>, hold: Hold, stop: Arc<AtomicBool>) {
    let mut leader = 0;
    while !stop.load(Ordering::Relaxed) {
        let asked = tokio::time::timeout(Duration::from_millis(500), logs[leader].hold(DEV.group, hold));
        match asked.await {
            Ok(Ok(held_for)) => tokio::time::sleep(held_for / 10).await,
            Ok(Err(error)) if error.code != "NotLeader" => panic!("it is not held: {error}"),
            _ => leader = (leader + 1) % logs.len(),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Those who do not lead hold nothing.
    futures::future::join_all(logs.iter().map(|log| log.release(DEV.group, hold.id))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_moment_stays_readable_on_every_node_whoever_comes_to_lead() {
    const HOLD: Duration = Duration::from_millis(3_000);
    let mut cluster = Cluster::start_with(3, |options| {
        options.limits.retention_ms_min = 500;
        options.limits.hold_ms = HOLD.as_millis() as u64;
    })
    .await;
    let before = cluster.commit(1, vec![write("key", b"before")]).await;
    let at = cluster.commit(2, vec![write("key", b"held")]).await;
    let logs: Vec<Handle> = cluster.nodes.values().map(|running| running.log.clone()).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let hold = Hold { id: HoldId([1; 16]), at };
    let holding = tokio::spawn(keep_held(logs.clone(), hold, stop.clone()));
    cluster.commit(3, vec![write("key", b"after")]).await;
    let read = async |log: &Handle, at: Timestamp| {
        let read = Read::Point { index: BY_ID, key: "key".into() };
        match log.read(DEV, ReadAt::published(at), &[read]).await {
            Ok(results) => match &results[..] {
                [ReadResult::Point(Some(version))] => Ok(version.document.clone()),
                other => panic!("it is there: {other:?}"),
            },
            Err(error) => Err(error.code),
        }
    };
    let load = Load::start(&cluster, 1, 2);
    for is_cut_off in [true, false] {
        let leader = cluster.leader().await;
        if is_cut_off {
            cluster.isolate(leader, Some(Fault::Closed));
        } else {
            cluster.log(leader).transfer_leader(DEV.group, None).await.expect("another one can lead");
        }
        let next = cluster.leader_of(|node| node != leader).await;
        // Until it lets go of what is not held.
        let until = Instant::now() + HOLD + Duration::from_secs(1);
        while Instant::now() < until {
            load.acknowledged(1).await;
            for log in &logs {
                assert_eq!(read(log, at).await, Ok(Bytes::from_static(b"held")), "led by {next}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(read(&cluster.log(next), before).await, Err("OutOfRetention".into()));
        cluster.isolate(leader, None);
        cluster.ready().await;
    }
    stop.store(true, Ordering::Relaxed);
    holding.await.expect("it was held all the time");
    let gone = async {
        for log in &logs {
            while read(log, at).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.expect("nobody holds it any more");
    load.end().await;
    drop(logs);
    cluster.stop_all().await;
}
