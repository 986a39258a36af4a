//! How a group begins that several nodes have from the start.
//!
//! The voters are the nodes 1, 2, … up to their number. Only node 1 begins the group, once it has found all of them and none has
//! begun it: so it begins once, however often and in whichever order they are started. The membership names each node's disk.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use contract::{GroupId, NodeId};
use tokio_util::sync::CancellationToken;

use crate::{
    network::{Introduction, Peers},
    proposer::GroupRaft,
    raft_types::Node,
    runtime,
};

/// How a group begins that is new on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// With this node alone.
    Alone,
    /// With the nodes from 1 to `voters`. A node beyond them waits until it is added.
    Together {
        voters: u64,
        /// Where they may be found: `host:port`, or `dns:host:port` for every address that the name has.
        peers: Vec<String>,
    },
}

/// The node that begins groups with others.
pub const FIRST: NodeId = NodeId(1);

/// Begins a group as its first node; ends when that is done, or with the token.
pub async fn begin(
    raft: GroupRaft,
    peers: Arc<Peers>,
    (group, own): (GroupId, Node),
    (voters, addresses): (u64, Vec<String>),
    look: Duration,
    token: CancellationToken,
) {
    let mut told = false;
    loop {
        match find(&peers, group, own.clone(), voters, &addresses).await {
            Found::All(members) => {
                match raft.initialize(members).await {
                    // Nobody else can be elected yet.
                    Ok(()) => drop(raft.trigger().elect(false).await),
                    // A restart may have been in between.
                    Err(error) => tracing::warn!(group = group.0, %error, "the group was not begun"),
                }
                return;
            }
            Found::Begun(by) if !std::mem::replace(&mut told, true) => {
                tracing::error!(
                    group = group.0,
                    %by,
                    "the group has begun elsewhere, and this node does not have it: with an empty disk it must be another node"
                );
            }
            Found::Begun(_) | Found::Some => {}
        }
        tokio::select! {
            biased;
            () = token.cancelled() => return,
            () = runtime::sleep(look) => {}
        }
    }
}

enum Found {
    All(BTreeMap<u64, Node>),
    Some,
    /// On this node.
    Begun(NodeId),
}

async fn find(peers: &Peers, group: GroupId, own: Node, voters: u64, addresses: &[String]) -> Found {
    let mut members = BTreeMap::from([(FIRST.0, own)]);
    let mut resolved = Vec::new();
    for address in addresses {
        // A name that is not there yet has no addresses.
        resolved.extend(resolve(address).await.unwrap_or_default());
    }
    let introductions = resolved.iter().map(|address| peers.introduce(group, address));
    for introduction in futures::future::join_all(introductions).await {
        let Ok(Introduction { node, place, begun, .. }) = introduction else { continue };
        if begun {
            return Found::Begun(node);
        }
        if (FIRST.0 + 1..=voters).contains(&node.0) {
            members.insert(node.0, place);
        }
    }
    if members.len() as u64 == voters { Found::All(members) } else { Found::Some }
}

async fn resolve(address: &str) -> io::Result<Vec<String>> {
    match address.strip_prefix("dns:") {
        None => Ok(vec![address.to_owned()]),
        Some(name) => Ok(tokio::net::lookup_host(name).await?.map(|address| address.to_string()).collect()),
    }
}
