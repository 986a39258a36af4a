//! Holds this node's clock against those of the other replicas.
//!
//! Timestamps never go back: a leader whose clock is ahead takes the time of its group with it, and the next one can only count
//! on from there. So whoever is further ahead than most is held back, before it leads as well.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use contract::NodeId;
use openraft::async_runtime::WatchReceiver;
use tokio_util::sync::CancellationToken;

use crate::{clock::Clock, group::Group, network::Peers, proposer::GroupRaft, raft_types::Node, runtime};

/// Looks every `look`, until the token is cancelled.
pub async fn level_in_time(
    groups: Vec<(Arc<Group>, GroupRaft)>,
    peers: Arc<Peers>,
    node: NodeId,
    look: Duration,
    token: CancellationToken,
) {
    loop {
        level(&groups, &peers, node).await;
        tokio::select! {
            biased;
            () = token.cancelled() => return,
            () = runtime::sleep(look) => {}
        }
    }
}

async fn level(groups: &[(Arc<Group>, GroupRaft)], peers: &Peers, node: NodeId) {
    let members_of = |raft: &GroupRaft| -> BTreeMap<u64, Node> {
        let membership = raft.server_metrics().borrow_watched().membership_config.clone();
        let others = membership.membership().nodes().filter(|(id, _)| **id != node.0);
        others.map(|(id, place)| (*id, place.clone())).collect()
    };
    let members: Vec<_> = groups.iter().map(|(_, raft)| members_of(raft)).collect();
    // Each node once, by one of the groups that it has.
    let mut asked = BTreeMap::new();
    for ((group, _), members) in groups.iter().zip(&members) {
        for (id, place) in members {
            asked.entry(*id).or_insert_with(|| (group.clone(), place.clone()));
        }
    }
    let answers = asked.into_iter().map(|(id, (group, place))| async move {
        Some((id, ahead_of(&group, peers, NodeId(id), &place).await?))
    });
    let answers = futures::future::join_all(answers).await;
    let ahead: BTreeMap<u64, i128> = answers.into_iter().flatten().collect();
    for ((group, _), members) in groups.iter().zip(&members) {
        let of_group = members.keys().filter_map(|id| ahead.get(id).copied()).collect();
        let Some(held_back) = held_back(of_group, members.len() + 1, group.limits.clock_ahead_ms_max) else {
            continue;
        };
        let before = group.hold_clock_back(held_back);
        if held_back > 0 && before == 0 {
            let ahead_ms = held_back / 1_000_000;
            tracing::error!(
                group = group.id.0,
                ahead_ms,
                "this node's clock is ahead of the others': it is held back"
            );
        } else if held_back == 0 && before > 0 {
            tracing::info!(group = group.id.0, "this node's clock is right again");
        }
    }
}

/// By how many nanoseconds this node's clock is ahead of another one's. It answered somewhere between question and answer.
async fn ahead_of(group: &Group, peers: &Peers, other: NodeId, place: &Node) -> Option<i128> {
    let read = |clock: &Clock| i128::from(clock.now().as_nanoseconds());
    let before = read(&group.clock);
    let there = peers.introduce_member(group.id, other, place).await.ok()?.now;
    let after = read(&group.clock);
    Some((before + after) / 2 - i128::from(there.as_nanoseconds()))
}

/// By how many nanoseconds a clock is held back that is `ahead` of the others'; `None` if fewer than most of all `replicas`
/// are known, itself among them.
fn held_back(mut ahead: Vec<i128>, replicas: usize, ahead_ms_max: u64) -> Option<u64> {
    ahead.push(0);
    if ahead.len() * 2 <= replicas {
        return None;
    }
    ahead.sort_unstable();
    // Of two in the middle the one that says less.
    let median = ahead[(ahead.len() - 1) / 2];
    let ahead = u64::try_from(median).unwrap_or(0);
    Some(if ahead > ahead_ms_max.saturating_mul(1_000_000) { ahead } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_ahead_of_most_is_held_back_to_the_median() {
        let ms = |milliseconds: &[i64]| milliseconds.iter().map(|ms| i128::from(*ms) * 1_000_000).collect();
        assert_eq!(held_back(ms(&[700, 900]), 3, 500), Some(700_000_000));
        assert_eq!(held_back(ms(&[400, 900]), 3, 500), Some(0), "not far enough");
        assert_eq!(held_back(ms(&[-50, 90_000]), 3, 500), Some(0), "one of them is far behind");
        assert_eq!(held_back(ms(&[-90_000, -90_000]), 3, 500), Some(0), "the others are ahead");
        assert_eq!(held_back(ms(&[900]), 3, 500), Some(0), "of two nobody can tell which is right");
        assert_eq!(held_back(ms(&[]), 3, 500), None, "most are not known");
        assert_eq!(held_back(ms(&[]), 1, 500), Some(0), "it is alone");
        assert_eq!(held_back(ms(&[800, 810, 820, -5]), 5, 500), Some(800_000_000));
    }
}
