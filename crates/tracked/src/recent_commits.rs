//! The newest commits of the stream.

use std::{collections::VecDeque, sync::Arc};

use contract::{CommitNotice, ReadSet, Timestamp};

/// Keeps what the newest commits touched, bounded in bytes, so that a result whose run began a while ago can be shown
/// to hold still.
#[derive(Debug)]
pub struct RecentCommits {
    commits: VecDeque<Arc<CommitNotice>>,
    /// Every commit above this one is in `commits`.
    floor: Timestamp,
    bytes: usize,
    bytes_max: usize,
}

impl RecentCommits {
    /// Knows the commits above `floor`, once they are pushed.
    pub fn new(floor: Timestamp, bytes_max: usize) -> Self {
        RecentCommits { commits: VecDeque::new(), floor, bytes: 0, bytes_max }
    }

    pub fn push(&mut self, commit: Arc<CommitNotice>) {
        self.bytes += bytes_of(&commit);
        self.commits.push_back(commit);
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.commits.pop_front() else { break };
            self.bytes -= bytes_of(&oldest);
            self.floor = oldest.timestamp;
        }
    }

    /// Whether it is certain that no commit above `after` touched anything in `read_set`.
    pub fn untouched_since(&self, after: Timestamp, read_set: &ReadSet) -> bool {
        if after < self.floor {
            return false;
        }
        let first = self.commits.partition_point(|commit| commit.timestamp <= after);
        self.commits
            .range(first..)
            .flat_map(|commit| &commit.keys)
            .all(|touched| !read_set.contains(touched.index, &touched.key))
    }
}

fn bytes_of(commit: &CommitNotice) -> usize {
    let keys: usize = commit.keys.iter().map(|touched| touched.key.len()).sum();
    size_of::<CommitNotice>() + commit.keys.len() * size_of::<contract::TouchedKey>() + keys
}

#[cfg(test)]
mod tests {
    use contract::{IndexId, Interval, TouchedKey};

    use super::*;

    const INDEX: IndexId = IndexId([1; 16]);

    fn at(nanoseconds: u64) -> Timestamp {
        Timestamp::new(nanoseconds).unwrap()
    }

    fn commit(timestamp: u64, key: &'static [u8]) -> Arc<CommitNotice> {
        let keys = vec![TouchedKey { index: INDEX, key: key.into() }];
        Arc::new(CommitNotice { timestamp: at(timestamp), keys })
    }

    fn point(key: &[u8]) -> ReadSet {
        let mut set = ReadSet::new();
        set.add(INDEX, Interval::point(key));
        set
    }

    #[test]
    fn only_later_commits_that_touch_the_read_set_count() {
        let mut recent = RecentCommits::new(at(10), 1 << 20);
        recent.push(commit(20, b"a"));
        recent.push(commit(30, b"b"));
        assert!(!recent.untouched_since(at(10), &point(b"a")));
        assert!(recent.untouched_since(at(20), &point(b"a")));
        assert!(!recent.untouched_since(at(29), &point(b"b")));
        assert!(recent.untouched_since(at(10), &point(b"c")));
    }

    #[test]
    fn what_is_older_than_what_is_kept_is_in_doubt() {
        let mut recent = RecentCommits::new(at(10), 2 * bytes_of(&commit(0, b"a")));
        assert!(!recent.untouched_since(at(9), &point(b"c")));
        for timestamp in 11..=14 {
            recent.push(commit(timestamp, b"a"));
        }
        assert!(!recent.untouched_since(at(11), &point(b"c")));
        assert!(recent.untouched_since(at(12), &point(b"c")));
    }
}
