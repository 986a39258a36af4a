//! A queue in which deployments take turns.

use std::collections::{HashMap, VecDeque};

use contract::DeploymentRef;

use crate::Shares;

/// What waits: first come, first served within a deployment, and the deployments one after another.
pub struct FairQueue<T> {
    waiting: HashMap<DeploymentRef, VecDeque<T>>,
    /// The deployments with something that waits, each once, and how often it is still served in this turn; the first one is
    /// served next.
    turns: VecDeque<(DeploymentRef, u32)>,
    len: usize,
    shares: Shares,
}

impl<T> Default for FairQueue<T> {
    fn default() -> FairQueue<T> {
        FairQueue::new(Shares::default())
    }
}

impl<T> FairQueue<T> {
    /// In which a deployment is served as often in a turn as its share says.
    pub fn new(shares: Shares) -> FairQueue<T> {
        FairQueue { waiting: HashMap::new(), turns: VecDeque::new(), len: 0, shares }
    }

    /// How many items wait, of all deployments.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many items of a deployment wait.
    pub fn len_of(&self, deployment: DeploymentRef) -> usize {
        self.waiting.get(&deployment).map_or(0, VecDeque::len)
    }

    /// The deployments with something that waits, in the order of their turns.
    pub fn deployments(&self) -> impl Iterator<Item = DeploymentRef> {
        self.turns.iter().map(|(deployment, _)| *deployment)
    }

    /// What a deployment has waited with the longest.
    pub fn oldest_of(&self, deployment: DeploymentRef) -> Option<&T> {
        self.waiting.get(&deployment)?.front()
    }

    /// Puts the item behind those of its deployment.
    pub fn push(&mut self, deployment: DeploymentRef, item: T) {
        let own = self.waiting.entry(deployment).or_default();
        if own.is_empty() {
            self.turns.push_back((deployment, self.shares.weight(deployment)));
        }
        own.push_back(item);
        self.len += 1;
        self.check();
    }

    /// The oldest of the deployment whose turn it is, among those that `may` be served.
    pub fn pop(&mut self, may: impl Fn(DeploymentRef) -> bool) -> Option<(DeploymentRef, T)> {
        let turn = self.turns.iter().position(|(deployment, _)| may(*deployment))?;
        let (deployment, left) = self.turns[turn];
        let own = self.waiting.get_mut(&deployment)?;
        let item = own.pop_front()?;
        if own.is_empty() {
            self.waiting.remove(&deployment);
            self.turns.remove(turn);
        } else if left > 1 {
            self.turns[turn].1 = left - 1;
        } else {
            self.turns.remove(turn);
            self.turns.push_back((deployment, self.shares.weight(deployment)));
        }
        self.len -= 1;
        self.check();
        Some((deployment, item))
    }

    /// Takes back what a deployment has pushed last.
    pub fn pop_newest(&mut self, deployment: DeploymentRef) -> Option<T> {
        let own = self.waiting.get_mut(&deployment)?;
        let item = own.pop_back()?;
        if own.is_empty() {
            self.waiting.remove(&deployment);
            self.turns.retain(|(turn, _)| *turn != deployment);
        }
        self.len -= 1;
        self.check();
        Some(item)
    }

    /// Drops what `keep` refuses.
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.waiting.values_mut().for_each(|own| own.retain(&keep));
        self.waiting.retain(|_, own| !own.is_empty());
        self.turns.retain(|(deployment, _)| self.waiting.contains_key(deployment));
        self.len = self.waiting.values().map(VecDeque::len).sum();
        self.check();
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        *self = FairQueue::new(self.shares.clone());
    }

    fn check(&self) {
        assert_eq!(self.turns.len(), self.waiting.len(), "whoever waits has a turn, and nobody else");
        assert!(self.len >= self.turns.len(), "no deployment has a turn for nothing");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use contract::{Deployment, DeploymentId, Deployments, DirectoryEntry, GroupId, Share};
    use tokio::sync::watch;

    use super::*;

    fn deployment(number: u32) -> DeploymentRef {
        DeploymentRef { group: GroupId(1), deployment: DeploymentId(number) }
    }

    fn queue(items: &[(u32, &'static str)]) -> FairQueue<&'static str> {
        let mut queue = FairQueue::default();
        items.iter().for_each(|(number, item)| queue.push(deployment(*number), *item));
        queue
    }

    fn drained(
        queue: &mut FairQueue<&'static str>,
        may: impl Fn(DeploymentRef) -> bool,
    ) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.pop(&may).map(|(_, item)| item)).collect()
    }

    #[test]
    fn deployments_take_turns_and_each_keeps_its_order() {
        let mut queue = queue(&[(1, "a"), (1, "b"), (1, "c"), (2, "x"), (3, "m"), (2, "y")]);
        assert_eq!(queue.len(), 6);
        assert_eq!(drained(&mut queue, |_| true), ["a", "x", "m", "b", "y", "c"]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn who_may_not_be_served_keeps_its_turn() {
        let mut queue = queue(&[(1, "a"), (2, "x"), (2, "y")]);
        assert_eq!(drained(&mut queue, |of| of != deployment(1)), ["x", "y"]);
        queue.push(deployment(2), "z");
        assert_eq!(drained(&mut queue, |_| true), ["a", "z"]);
    }

    #[test]
    fn one_with_a_larger_share_is_served_more_often_in_turn() {
        let entries = [(1, 1), (2, 3)].map(|(number, weight)| {
            let (reference, name) = (deployment(number), format!("d{number}"));
            let known = Deployment { reference, name, cloud_url: String::new(), site_url: String::new() };
            Arc::new(DirectoryEntry {
                share: Share { weight, percent_max: None },
                ..DirectoryEntry::of(known)
            })
        });
        let (directory, deployments) = watch::channel(Arc::new(Deployments::new("d1", entries, Vec::new())));
        let mut queue = FairQueue::new(Shares::of(deployments));
        for item in ["a", "b", "c"] {
            queue.push(deployment(1), item);
        }
        for item in ["p", "q", "r", "s", "t"] {
            queue.push(deployment(2), item);
        }
        assert_eq!(drained(&mut queue, |_| true), ["a", "p", "q", "r", "b", "s", "t", "c"]);
        // Who is not known is served like all others, and what the directory says last counts.
        directory.send_replace(Arc::default());
        for (number, item) in [(2, "x"), (1, "a"), (2, "y")] {
            queue.push(deployment(number), item);
        }
        assert_eq!(drained(&mut queue, |_| true), ["x", "a", "y"]);
    }

    #[test]
    fn what_is_taken_back_leaves_the_others_their_turns() {
        let mut queue = queue(&[(1, "a"), (2, "x"), (1, "b"), (3, "m")]);
        assert_eq!(queue.pop_newest(deployment(1)), Some("b"));
        assert_eq!((queue.len_of(deployment(1)), queue.len_of(deployment(9))), (1, 0));
        queue.retain(|item| *item != "x");
        assert_eq!(drained(&mut queue, |_| true), ["a", "m"]);
        assert_eq!(queue.pop_newest(deployment(1)), None);
    }
}
