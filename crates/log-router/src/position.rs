//! What the positions of the replicas say together. Pure.

use std::sync::Arc;

use contract::{LeaderHint, Position};

/// The position of a group as its callers see it: the newest epoch that anybody knows of and who leads it; whether that one takes
/// commits; and what is published where reads go, which is `nearest`. `known` is what was so before: neither the epoch nor what is
/// published goes back.
pub(crate) fn merged(known: &Position, replicas: &[Position], nearest: &Position) -> Position {
    let epoch = replicas.iter().map(|position| position.epoch).fold(known.epoch, Ord::max);
    let of_epoch = || replicas.iter().filter(move |position| position.epoch == epoch);
    let still_known = || (known.epoch == epoch).then(|| known.leader.clone()).flatten();
    // Whoever leads knows it best.
    let leading = of_epoch().find(|position| position.ready);
    let leader: Option<Arc<LeaderHint>> = match leading {
        Some(position) => position.leader.clone().or_else(still_known),
        None => of_epoch().find_map(|position| position.leader.clone()).or_else(still_known),
    };
    let position = Position {
        epoch,
        ready: leading.is_some(),
        published: known.published.max(nearest.published),
        leader,
    };
    assert!(known.epoch <= position.epoch && known.published <= position.published, "it does not go back");
    position
}

#[cfg(test)]
mod tests {
    use contract::{Epoch, NodeId, Timestamp};

    use super::*;

    fn position(term: u64, ready: bool, published: u64, leader: Option<u64>) -> Position {
        let hint =
            |node: u64| LeaderHint { node: NodeId(node), address: format!("node{node}:1"), zone: None };
        Position {
            epoch: Epoch { term, reset: 0 },
            ready,
            published: Timestamp::new(published).expect("small"),
            leader: leader.map(|node| Arc::new(hint(node))),
        }
    }

    fn leader_of(position: &Position) -> Option<u64> {
        position.leader.as_ref().map(|leader| leader.node.0)
    }

    #[test]
    fn the_newest_epoch_counts_and_who_is_nearest_says_what_is_published() {
        let known = position(0, false, 0, None);
        let replicas =
            [position(3, false, 7, Some(1)), position(4, false, 9, None), position(4, true, 10, Some(2))];
        let merged = merged(&known, &replicas, &replicas[0]);
        assert_eq!((merged.epoch.term, merged.ready, merged.published.as_nanoseconds()), (4, true, 7));
        assert_eq!(leader_of(&merged), Some(2));
    }

    #[test]
    fn a_follower_points_to_a_leader_that_does_not_show_itself() {
        let known = position(4, true, 9, Some(1));
        // The leader's own position is lost.
        let replicas = [position(0, false, 0, None), position(4, false, 8, Some(1))];
        let merged = merged(&known, &replicas, &replicas[1]);
        assert!(!merged.ready);
        assert_eq!(
            (leader_of(&merged), merged.published.as_nanoseconds()),
            (Some(1), 9),
            "nothing goes back"
        );
    }

    #[test]
    fn nobody_leads_a_new_epoch_until_somebody_says_so() {
        let known = position(4, true, 9, Some(1));
        let replicas = [position(5, false, 9, None)];
        let merged = merged(&known, &replicas, &replicas[0]);
        assert_eq!((merged.epoch.term, merged.ready, leader_of(&merged)), (5, false, None));
    }
}
