//! Compiled modules, kept so that a push compiles only what changed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// Bytecode by the hash of a module's path and source. It belongs to one engine, so to one format. A module of 1 MB has
/// some 0.7 MB of it.
#[derive(Debug)]
pub struct BytecodeCache {
    entries: HashMap<Key, Arc<[u8]>>,
    /// The oldest first.
    order: VecDeque<Key>,
    bytes: usize,
    bytes_max: usize,
}

/// Names a module's bytecode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    pub fn new(path: &str, source: &str) -> Key {
        let mut hash = Sha256::new();
        hash.update((path.len() as u64).to_le_bytes());
        hash.update(path);
        hash.update(source);
        Key(hash.finalize().into())
    }
}

impl BytecodeCache {
    pub fn new(bytes_max: usize) -> BytecodeCache {
        BytecodeCache { entries: HashMap::new(), order: VecDeque::new(), bytes: 0, bytes_max }
    }

    pub fn get(&self, key: &Key) -> Option<Arc<[u8]>> {
        self.entries.get(key).cloned()
    }

    /// Keeps an entry, and drops the oldest ones where there is no room.
    pub fn insert(&mut self, key: Key, bytecode: Arc<[u8]>) {
        if bytecode.len() > self.bytes_max || self.entries.contains_key(&key) {
            return;
        }
        self.bytes += bytecode.len();
        self.entries.insert(key, bytecode);
        self.order.push_back(key);
        while self.bytes > self.bytes_max {
            let oldest = self.order.pop_front().expect("entries take up the bytes");
            self.bytes -= self.entries.remove(&oldest).expect("in both").len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entries_make_room() {
        let mut cache = BytecodeCache::new(400);
        let keys: Vec<Key> = (0..5).map(|number| Key::new("a.js", &number.to_string())).collect();
        for key in &keys {
            cache.insert(*key, vec![0; 100].into());
        }
        assert_eq!(cache.get(&keys[0]), None);
        assert!(keys[1..].iter().all(|key| cache.get(key).is_some()));
        assert_eq!(cache.bytes, 400);
    }

    #[test]
    fn a_key_tells_path_and_source_apart() {
        assert_ne!(Key::new("ab", "c"), Key::new("a", "bc"));
    }
}
