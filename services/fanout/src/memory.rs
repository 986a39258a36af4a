//! The memory for queries and their results, which the deployments of a process share.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use fair_queue::share_of;

/// What the queries and results of all deployments take, and how much they may.
#[derive(Debug)]
pub(crate) struct Memory {
    bytes_max: usize,
    /// What one of several deployments may have of it.
    share: usize,
    /// For results that nobody listens to, of all deployments.
    idle_bytes_max: usize,
    bytes: AtomicUsize,
    deployments: AtomicUsize,
}

/// One deployment's part of it, given back when dropped.
#[derive(Debug)]
pub(crate) struct Account {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Memory {
    pub fn new(bytes_max: usize, idle_bytes_max: usize, share_percent: usize) -> Arc<Memory> {
        Arc::new(Memory {
            bytes_max,
            share: share_of(bytes_max, share_percent),
            idle_bytes_max,
            bytes: AtomicUsize::new(0),
            deployments: AtomicUsize::new(0),
        })
    }

    /// What queries and results take, and how much they may.
    pub fn load_bytes(&self) -> (usize, usize) {
        (self.bytes.load(Ordering::Relaxed), self.bytes_max)
    }

    pub fn open(self: &Arc<Memory>) -> Account {
        self.deployments.fetch_add(1, Ordering::Relaxed);
        Account { memory: self.clone(), bytes: 0 }
    }
}

impl Account {
    /// So much do the deployment's queries and results take now.
    pub fn set(&mut self, bytes: usize) {
        // Wraps around where it becomes less, and so does the sum.
        self.memory.bytes.fetch_add(bytes.wrapping_sub(self.bytes), Ordering::Relaxed);
        self.bytes = bytes;
    }

    /// Whether there may be no further query while they take as much as they do. A deployment that is alone may
    /// have all.
    pub fn is_full(&self) -> bool {
        let memory = &self.memory;
        let is_alone = memory.deployments.load(Ordering::Relaxed) <= 1;
        memory.bytes.load(Ordering::Relaxed) >= memory.bytes_max || (!is_alone && self.bytes >= memory.share)
    }

    /// What the deployment may keep without listeners: the same for each.
    pub fn idle_bytes_max(&self) -> usize {
        self.memory.idle_bytes_max / self.memory.deployments.load(Ordering::Relaxed).max(1)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.set(0);
        let before = self.memory.deployments.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0, "a deployment that ends was counted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deployments_share_one_bound_and_one_alone_may_have_all_of_it() {
        let memory = Memory::new(100, 60, 75);
        let mut one = memory.open();
        one.set(99);
        assert!(!one.is_full(), "it is alone");
        assert_eq!(one.idle_bytes_max(), 60);
        let mut two = memory.open();
        assert_eq!((one.idle_bytes_max(), two.idle_bytes_max()), (30, 30));
        assert!(one.is_full() && !two.is_full(), "one has more than its share");
        two.set(1);
        assert!(two.is_full(), "together they have all");
        one.set(74);
        assert!(!one.is_full() && !two.is_full());
        one.set(75);
        assert!(one.is_full() && !two.is_full());
        drop(one);
        two.set(99);
        assert!(!two.is_full(), "it is alone again");
        drop(two);
        assert_eq!(memory.bytes.load(Ordering::Relaxed), 0);
    }
}
