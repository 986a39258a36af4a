//! Compiled modules, kept so that a push compiles only what changed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// After so many further images, bytecode that none of them needed goes: code that is pushed again and again in new
/// versions would otherwise fill the cache with old ones.
const IMAGES_KEPT_FOR: u64 = 8;

/// Bytecode by the hash of a module's path and source. It belongs to one engine, so to one format. A module of 1 MB has
/// some 0.7 MB of it.
#[derive(Debug)]
pub struct BytecodeCache {
    entries: HashMap<Key, Entry>,
    /// The one that was needed longest ago first; as of several moments for entries that were needed again.
    order: VecDeque<(u64, Key)>,
    bytes: usize,
    bytes_max: usize,
    /// How many images were begun.
    images: u64,
}

#[derive(Debug)]
struct Entry {
    bytecode: Arc<[u8]>,
    /// The number of the image that needed it last.
    needed: u64,
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
        BytecodeCache { entries: HashMap::new(), order: VecDeque::new(), bytes: 0, bytes_max, images: 0 }
    }

    /// The modules of another image are going to be asked for.
    pub fn begin_image(&mut self) {
        self.images += 1;
        while self.order.front().is_some_and(|(needed, _)| needed + IMAGES_KEPT_FOR < self.images) {
            self.drop_oldest();
        }
    }

    pub fn get(&mut self, key: &Key) -> Option<Arc<[u8]>> {
        let entry = self.entries.get_mut(key)?;
        if entry.needed != self.images {
            entry.needed = self.images;
            self.order.push_back((self.images, *key));
        }
        Some(entry.bytecode.clone())
    }

    /// Keeps an entry, and drops the oldest ones where there is no room.
    pub fn insert(&mut self, key: Key, bytecode: Arc<[u8]>) {
        if bytecode.len() > self.bytes_max || self.entries.contains_key(&key) {
            return;
        }
        self.bytes += bytecode.len();
        self.entries.insert(key, Entry { bytecode, needed: self.images });
        self.order.push_back((self.images, key));
        while self.bytes > self.bytes_max {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let (needed, key) = self.order.pop_front().expect("entries take up the bytes");
        // If it was needed again since, it stands further behind as well.
        if self.entries.get(&key).is_some_and(|entry| entry.needed == needed) {
            self.bytes -= self.entries.remove(&key).expect("it was just seen").bytecode.len();
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
    fn what_no_image_has_needed_for_long_goes_and_what_each_needs_stays() {
        let mut cache = BytecodeCache::new(400);
        let shared = Key::new("shared.js", "");
        cache.insert(shared, vec![0; 10].into());
        for version in 0..100 {
            cache.begin_image();
            assert!(cache.get(&shared).is_some(), "version {version}");
            cache.insert(Key::new("a.js", &version.to_string()), vec![0; 1].into());
        }
        assert_eq!(cache.bytes as u64, 10 + IMAGES_KEPT_FOR + 1);
        assert!(cache.get(&Key::new("a.js", "91")).is_some());
        assert!(cache.order.len() < 30, "what was needed again is not remembered for ever");
    }

    #[test]
    fn a_key_tells_path_and_source_apart() {
        assert_ne!(Key::new("ab", "c"), Key::new("a", "bc"));
    }
}
