//! The window beside a plain model, under random commits, late events, gaps and runs.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use crate::window::Window;

/// The index as it is, and as the stream has told of it.
struct World {
    random: ChaCha12Rng,
    window: Window,
    /// All entries at the newest moment, and as of what was heard.
    index: BTreeSet<Bytes>,
    heard: BTreeSet<Bytes>,
    /// Commits that were not heard yet, each with the keys that it has touched.
    unheard: VecDeque<Vec<Bytes>>,
    running: Vec<Bytes>,
    next: u32,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        let waiting_max = random.random_range(2..12);
        World {
            window: Window::new(waiting_max),
            random,
            index: BTreeSet::new(),
            heard: BTreeSet::new(),
            unheard: VecDeque::new(),
            running: Vec::new(),
            next: 0,
        }
    }

    /// A key that was never used: a time and a number.
    fn new_key(&mut self) -> Bytes {
        self.next += 1;
        let time: u8 = self.random.random();
        [&[time][..], &self.next.to_be_bytes()].concat().into()
    }

    fn some_key(&mut self) -> Option<Bytes> {
        let count = self.index.len();
        (count > 0)
            .then(|| self.index.iter().nth(self.random.random_range(0..count)).expect("it is there").clone())
    }

    fn commit(&mut self, touched: Vec<Bytes>) {
        for key in &touched {
            toggle(&mut self.index, key);
        }
        self.unheard.push_back(touched);
    }

    fn step(&mut self) {
        match self.random.random_range(0..100) {
            // Something is scheduled.
            0..35 => {
                let count = self.random.random_range(1..4);
                let keys = (0..count).map(|_| self.new_key()).collect();
                self.commit(keys);
            }
            // Something is cancelled or put off.
            35..45 => {
                if let Some(key) = self.some_key() {
                    let mut keys = vec![key];
                    if self.random.random_bool(0.5) {
                        keys.push(self.new_key());
                    }
                    self.commit(keys);
                }
            }
            45..70 => {
                if let Some(touched) = self.unheard.pop_front() {
                    for key in &touched {
                        toggle(&mut self.heard, key);
                        self.window.touch(key);
                    }
                }
            }
            70..72 => {
                self.window.forget();
                self.heard = self.index.clone();
                self.unheard.clear();
            }
            72..85 => {
                let end: [u8; 1] = [self.random.random()];
                if let Some(key) = self.window.begin_before(&end) {
                    assert!(key < end[..]);
                    self.running.push(key);
                }
            }
            85..95 => {
                if !self.running.is_empty() {
                    let at = self.random.random_range(0..self.running.len());
                    let key = self.running.swap_remove(at);
                    if self.random.random_bool(0.8) {
                        // Its commit; it may have been cancelled meanwhile.
                        if self.index.contains(&key) {
                            self.commit(vec![key.clone()]);
                        }
                        self.window.end(&key);
                    } else {
                        self.window.put_back(&key);
                    }
                }
            }
            _ => self.look_ahead(),
        }
    }

    fn look_ahead(&mut self) {
        while let Some((start, rows_max)) = self.window.wants() {
            let page = self.random.random_range(1..=rows_max);
            let mut rows = self.heard.range(start..);
            let keys: Vec<Bytes> = rows.by_ref().take(page).cloned().collect();
            let more = rows.next().is_some();
            self.window.fill(&keys, more);
        }
    }

    /// Hears and reads everything, and runs all that is left, in order.
    fn drain(&mut self) -> Vec<Bytes> {
        for key in std::mem::take(&mut self.running) {
            self.window.put_back(&key);
        }
        let mut ran = Vec::new();
        loop {
            while let Some(touched) = self.unheard.pop_front() {
                for key in &touched {
                    toggle(&mut self.heard, key);
                    self.window.touch(key);
                }
            }
            self.look_ahead();
            let Some(key) = self.window.begin_before(&[255; 6]) else { return ran };
            assert!(self.index.contains(&key), "only what is there is begun, once everything was heard");
            ran.push(key.clone());
            self.commit(vec![key.clone()]);
            self.window.end(&key);
        }
    }
}

fn toggle(index: &mut BTreeSet<Bytes>, key: &Bytes) {
    if !index.remove(key) {
        index.insert(key.clone());
    }
}

#[test]
fn nothing_is_lost_and_the_order_is_that_of_the_index() {
    for seed in 0..3_000 {
        let mut world = World::new(seed);
        for _ in 0..200 {
            world.step();
        }
        let left: Vec<Bytes> = world.index.iter().cloned().collect();
        // Nothing new comes, so the order is that of the keys.
        assert_eq!(world.drain(), left, "seed {seed}");
    }
}

#[test]
fn what_runs_is_not_begun_again_while_the_stream_has_no_gap() {
    let mut window = Window::new(4);
    window.fill(&[], false);
    let key = Bytes::from_static(b"a");
    window.touch(&key);
    assert_eq!(window.begin_before(b"b"), Some(key.clone()));
    assert_eq!(window.begin_before(b"b"), None);
    window.end(&key);
    assert_eq!(window.begin_before(b"b"), None, "its commit is on its way");
    window.touch(&key);
    assert_eq!(window.begin_before(b"b"), None);
}

#[test]
fn what_runs_over_a_gap_is_begun_again_only_if_it_is_still_there() {
    let key = Bytes::from_static(b"a");
    for still_there in [true, false] {
        let mut window = Window::new(4);
        window.touch(&key);
        window.fill(std::slice::from_ref(&key), false);
        assert_eq!(window.begin_before(b"b"), Some(key.clone()));
        window.forget();
        let read: &[Bytes] = if still_there { std::slice::from_ref(&key) } else { &[] };
        window.fill(read, false);
        assert_eq!(window.begin_before(b"b"), None, "it runs");
        window.put_back(&key);
        assert_eq!(window.begin_before(b"b").is_some(), still_there);
    }
}

#[test]
fn however_many_wait_few_are_known() {
    let mut window = Window::new(8);
    assert_eq!(window.wants(), Some((Bytes::new(), 8)));
    let keys: Vec<Bytes> = (0..8_u8).map(|n| vec![n].into()).collect();
    window.fill(&keys, true);
    assert_eq!(window.wants(), None);
    // What comes behind the horizon is not known, what comes before it pushes the last one out.
    window.touch(&Bytes::from_static(&[200]));
    window.touch(&Bytes::from_static(&[3, 1]));
    for expected in [&[0][..], &[1], &[2], &[3]] {
        assert_eq!(window.begin_before(&[255]).as_deref(), Some(expected));
    }
    let (from, rows) = window.wants().expect("half is used up");
    assert_eq!((&from[..], rows), (&[7][..], 4));
}
