//! Stretches of the store in which no document is: what a queue leaves behind.
//!
//! A deletion can be swept only once nobody reads below it, minutes later. Until then it lies in the way of whoever reads
//! the first rows of an index. So a reader that has passed many deleted keys in a row leaves a note, and those that come
//! later go on behind it. Only memory: without a note one walks.
//!
//! ```text
//!        x x x x x x x x x x x x x x x x o o o      x deleted, o a document
//!       [ since 40     )[ since 55      )
//! ```
//!
//! A gap says: from its `since` on, up to all that is applied, no document was in it. It stays true because apply takes
//! the keys that it is about to fill out of the gaps *before* it writes them. A reader that walks does so in a snapshot;
//! keys that are written after that snapshot and before its note are caught by a [`Watch`], which it opens first.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use contract::Timestamp;
use parking_lot::Mutex;

use crate::{limits::StoreLimits, planted};

/// Keys that a watch remembers; a note over more of them is given up.
const WATCHED_KEYS_MAX: usize = 1_024;
/// Gaps to the left of a new one that are looked at, to join them.
const JOINED_MAX: usize = 512;

/// What is noted, and when two gaps become one.
#[derive(Clone, Copy, Debug)]
pub struct GapLimits {
    /// Gaps that are remembered.
    pub gaps_max: usize,
    /// So many deleted keys in a row are worth a note.
    pub keys_min: usize,
    /// Younger gaps stay as small as they were found, for readers that are a little behind.
    pub young_ns: u64,
    /// From then on those that came within such a stretch of time are joined.
    pub same_ns: u64,
    /// Older gaps are joined whenever they came.
    pub old_ns: u64,
}

impl GapLimits {
    pub const fn of(limits: &StoreLimits) -> GapLimits {
        const NS_IN_MS: u64 = 1_000_000;
        GapLimits {
            gaps_max: limits.gaps_max,
            keys_min: limits.gap_keys_min,
            young_ns: limits.gap_young_ms.saturating_mul(NS_IN_MS),
            same_ns: limits.gap_same_ms.saturating_mul(NS_IN_MS),
            old_ns: limits.gap_old_ms.saturating_mul(NS_IN_MS),
        }
    }

    /// Whether one gap may stand for both: who reads before the later moment can use neither then.
    fn may_join(&self, one: Timestamp, other: Timestamp, now: Timestamp) -> bool {
        let (one, other, now) = (one.as_nanoseconds(), other.as_nanoseconds(), now.as_nanoseconds());
        let age = now.saturating_sub(one.max(other));
        age >= self.old_ns || (age >= self.young_ns && one / self.same_ns == other / self.same_ns)
    }
}

/// Keys, one after the other in one buffer.
#[derive(Debug, Default)]
pub struct KeyList {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl KeyList {
    pub fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| &self.bytes[begin..*end])
    }
}

/// The gaps that are known in a node's store.
#[derive(Debug)]
pub struct Gaps {
    limits: GapLimits,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By where each begins. They do not overlap.
    gaps: BTreeMap<Vec<u8>, Gap>,
    /// What is being written, by whoever writes it.
    writing: HashMap<u64, KeyList>,
    watches: HashMap<u64, Watched>,
    next_number: u64,
    /// Behind the gap that was forgotten last.
    forgotten: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq)]
struct Gap {
    /// The first place behind it.
    end: Vec<u8>,
    /// No document is in it from here on.
    since: Timestamp,
}

/// The keys that were written to a stretch since it was watched.
#[derive(Debug)]
struct Watched {
    from: Vec<u8>,
    to: Vec<u8>,
    /// `None`: too many.
    written: Option<Vec<Vec<u8>>>,
}

impl Watched {
    fn note(&mut self, key: &[u8]) {
        if key < &self.from[..] || key >= &self.to[..] {
            return;
        }
        match &mut self.written {
            Some(written) if written.len() < WATCHED_KEYS_MAX => written.push(key.to_vec()),
            written => *written = None,
        }
    }
}

impl Gaps {
    pub fn new(limits: GapLimits) -> Gaps {
        Gaps { limits, inner: Mutex::default() }
    }

    /// So many deleted keys in a row are worth a note.
    pub fn keys_min(&self) -> usize {
        self.limits.keys_min
    }

    /// Runs `write`, which puts documents at these keys (without timestamps) into the store.
    pub fn writing<T>(&self, keys: KeyList, write: impl FnOnce() -> T) -> T {
        let number = {
            let mut inner = self.inner.lock();
            let inner = &mut *inner;
            if !planted::is(planted::Bug::GapsIgnoreWrites) {
                for key in keys.iter() {
                    inner.fill(key);
                    inner.watches.values_mut().for_each(|watched| watched.note(key));
                }
            }
            inner.next_number += 1;
            inner.writing.insert(inner.next_number, keys);
            inner.next_number
        };
        let result = write();
        self.inner.lock().writing.remove(&number);
        result
    }

    /// Where a reader at `at` can go on that stands at `place`, if there is a gap: at the end of it.
    pub fn end(&self, place: &[u8], at: Timestamp) -> Option<Vec<u8>> {
        let inner = self.inner.lock();
        let mut end: Option<&Vec<u8>> = None;
        while let Some((_, gap)) = inner.around(end.map_or(place, |end| &end[..]))
            && gap.since <= at
        {
            end = Some(&gap.end);
        }
        end.cloned()
    }

    /// The same backwards: everything from what is returned on and before `place` is a gap.
    pub fn start(&self, place: &[u8], at: Timestamp) -> Option<Vec<u8>> {
        let inner = self.inner.lock();
        let mut start: Option<&Vec<u8>> = None;
        loop {
            let place = start.map_or(place, |start| &start[..]);
            let before = inner.before(place);
            match before.filter(|(_, gap)| &gap.end[..] >= place && gap.since <= at) {
                Some((begin, _)) => start = Some(begin),
                None => return start.cloned(),
            }
        }
    }

    /// Watches what is written from `from` on and before `to`, from now on. Whoever then takes a snapshot may leave a note.
    pub fn watch(&self, from: &[u8], to: &[u8]) -> Watch<'_> {
        let mut inner = self.inner.lock();
        let mut watched = Watched { from: from.to_vec(), to: to.to_vec(), written: Some(Vec::new()) };
        // It may come into the store at any moment, before or after the snapshot.
        for key in inner.writing.values().flat_map(KeyList::iter) {
            watched.note(key);
        }
        inner.next_number += 1;
        let number = inner.next_number;
        inner.watches.insert(number, watched);
        Watch { gaps: self, number }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.inner.lock().gaps.len()
    }
}

/// An open watch of a stretch; see [`Gaps::watch`].
#[derive(Debug)]
pub struct Watch<'g> {
    gaps: &'g Gaps,
    number: u64,
}

impl Watch<'_> {
    /// In a snapshot that was taken after this watch was opened, no document was from `start` on and before `end`, nor at
    /// any moment from `since` up to the snapshot. `now` is a moment near the newest.
    pub fn found(self, start: &[u8], end: &[u8], since: Timestamp, now: Timestamp) {
        let mut inner = self.gaps.inner.lock();
        let Some(Watched { from, to, written: Some(written) }) = inner.watches.get(&self.number) else {
            return;
        };
        assert!(start >= &from[..] && end <= &to[..], "what was not watched is not known");
        if start >= end || written.iter().any(|key| &key[..] >= start && &key[..] < end) {
            return;
        }
        let limits = &self.gaps.limits;
        inner.insert(start, end, since, |one, other| limits.may_join(one, other, now));
        while inner.gaps.len() > limits.gaps_max {
            inner.forget_one();
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.gaps.inner.lock().watches.remove(&self.number);
    }
}

impl Inner {
    /// The gap in which `place` lies.
    fn around(&self, place: &[u8]) -> Option<(&Vec<u8>, &Gap)> {
        self.gaps
            .range::<[u8], _>((Bound::Unbounded, Bound::Included(place)))
            .next_back()
            .filter(|(_, gap)| place < &gap.end[..])
    }

    /// The last gap that begins before `place`.
    fn before(&self, place: &[u8]) -> Option<(&Vec<u8>, &Gap)> {
        self.gaps.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(place))).next_back()
    }

    /// A document comes to `key`.
    fn fill(&mut self, key: &[u8]) {
        let Some((start, _)) = self.around(key) else { return };
        let start = start.clone();
        let Some(gap) = self.gaps.remove(&start) else { return };
        let behind = crate::keys::behind(key).filter(|behind| *behind < gap.end);
        if &start[..] < key {
            self.put(start, Gap { end: key.to_vec(), since: gap.since });
        }
        if let Some(behind) = behind {
            self.put(behind, gap);
        }
    }

    fn insert(
        &mut self,
        start: &[u8],
        end: &[u8],
        since: Timestamp,
        may_join: impl Fn(Timestamp, Timestamp) -> bool,
    ) {
        self.clear(start, end);
        let mut start = start.to_vec();
        let mut gap = Gap { end: end.to_vec(), since };
        if let Some((right, next)) = self.gaps.get_key_value(&gap.end)
            && may_join(next.since, gap.since)
        {
            let right = right.clone();
            if let Some(next) = self.gaps.remove(&right) {
                gap = Gap { end: next.end, since: gap.since.max(next.since) };
            }
        }
        // From right to left through those that touch each other. The one in hand is not among the others.
        for _ in 0..JOINED_MAX {
            let before = self.before(&start);
            let Some(left) = before.filter(|(_, before)| before.end == start).map(|(left, _)| left.clone())
            else {
                break;
            };
            let Some(before) = self.gaps.remove(&left) else { break };
            if may_join(before.since, gap.since) {
                gap.since = gap.since.max(before.since);
            } else {
                self.put(start, gap);
                if planted::is(planted::Bug::GapsOverlap) {
                    self.gaps.insert(left.clone(), before.clone());
                }
                gap = before;
            }
            start = left;
        }
        self.put(start, gap);
    }

    /// Two that overlap would hide a document: what fills one of them would still be in the other.
    fn put(&mut self, start: Vec<u8>, gap: Gap) {
        assert!(start < gap.end, "something is in a gap");
        let apart = self.before(&gap.end).is_none_or(|(_, before)| before.end <= start);
        assert!(apart || planted::is(planted::Bug::GapsOverlap), "gaps do not overlap");
        self.gaps.insert(start, gap);
    }

    /// Forgets what is known between two places.
    fn clear(&mut self, start: &[u8], end: &[u8]) {
        let before = self.before(start);
        let mut behind_end = None;
        if let Some((left, gap)) = before.filter(|(_, gap)| &gap.end[..] > start) {
            let (left, gap) = (left.clone(), gap.clone());
            self.gaps.remove(&left);
            self.put(left, Gap { end: start.to_vec(), since: gap.since });
            behind_end = Some(gap).filter(|gap| &gap.end[..] > end);
        }
        while let Some((within, _)) =
            self.gaps.range::<[u8], _>((Bound::Included(start), Bound::Excluded(end))).next()
        {
            let within = within.clone();
            let gap = self.gaps.remove(&within);
            behind_end = behind_end.or(gap.filter(|gap| &gap.end[..] > end));
        }
        if let Some(gap) = behind_end {
            self.put(end.to_vec(), gap);
        }
    }

    /// Forgets one, another one each time.
    fn forget_one(&mut self) {
        let next =
            self.gaps.range::<[u8], _>((Bound::Included(&self.forgotten[..]), Bound::Unbounded)).next();
        let next = next.or_else(|| self.gaps.iter().next()).map(|(start, _)| start.clone());
        if let Some(start) = next
            && let Some(gap) = self.gaps.remove(&start)
        {
            self.forgotten = gap.end;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn timestamp(nanoseconds: u64) -> Timestamp {
        Timestamp::new(nanoseconds).unwrap()
    }

    const NOW: Timestamp = Timestamp::ZERO;
    const LIMITS: GapLimits = GapLimits::of(&StoreLimits::DEFAULT);

    fn remembering(gaps_max: usize) -> Gaps {
        Gaps::new(GapLimits { gaps_max, ..LIMITS })
    }

    fn note(gaps: &Gaps, start: &[u8], end: &[u8], since: u64) {
        gaps.watch(b"", b"\xff").found(start, end, timestamp(since), NOW);
    }

    fn write(gaps: &Gaps, key: &[u8]) {
        let mut keys = KeyList::default();
        keys.push(key);
        gaps.writing(keys, || ());
    }

    #[test]
    fn readers_go_on_behind_what_touches_as_far_as_it_was_a_gap_at_their_moment() {
        let gaps = remembering(10);
        note(&gaps, b"b", b"d", 10);
        note(&gaps, b"d", b"f", 20);
        assert_eq!(gaps.end(b"a", timestamp(30)), None);
        assert_eq!(gaps.end(b"b", timestamp(30)).unwrap(), b"f");
        assert_eq!(gaps.end(b"c", timestamp(15)).unwrap(), b"d");
        assert_eq!(gaps.end(b"c", timestamp(9)), None);
        assert_eq!(gaps.end(b"f", timestamp(30)), None);
        assert_eq!(gaps.start(b"f", timestamp(30)).unwrap(), b"b");
        assert_eq!(gaps.start(b"f", timestamp(15)), None, "what is next to it was not yet a gap");
        assert_eq!(gaps.start(b"d", timestamp(15)).unwrap(), b"b");
        assert_eq!(gaps.start(b"b", timestamp(30)), None);
    }

    #[test]
    fn a_document_ends_the_gap_in_which_it_is_written_and_a_note_that_did_not_see_it() {
        let gaps = remembering(10);
        note(&gaps, b"b", b"f", 10);
        write(&gaps, b"d");
        assert_eq!(gaps.end(b"b", timestamp(30)).unwrap(), b"d");
        assert_eq!(gaps.end(b"d", timestamp(30)), None);
        assert_eq!(gaps.end(b"e", timestamp(30)).unwrap(), b"f");

        let watch = gaps.watch(b"m", b"p");
        write(&gaps, b"n");
        watch.found(b"m", b"p", timestamp(10), NOW);
        assert_eq!(gaps.end(b"m", timestamp(30)), None);

        // It is about to be written when the watch is opened, and written when the note comes.
        let mut keys = KeyList::default();
        keys.push(b"n");
        let watch = gaps.writing(keys, || gaps.watch(b"m", b"p"));
        watch.found(b"m", b"p", timestamp(10), NOW);
        assert_eq!(gaps.end(b"m", timestamp(30)), None);
        let watch = gaps.watch(b"m", b"p");
        watch.found(b"m", b"n", timestamp(10), NOW);
        assert_eq!(gaps.end(b"m", timestamp(30)).unwrap(), b"n");
    }

    #[test]
    fn old_neighbours_become_one_and_no_more_are_kept_than_allowed() {
        let gaps = remembering(4);
        let second = 1_000_000_000;
        for at in 0..200u64 {
            let (start, end) = (at.to_be_bytes(), (at + 1).to_be_bytes());
            let watch = gaps.watch(b"", b"\xff");
            watch.found(&start, &end, timestamp(at * second), timestamp((at + 40) * second));
        }
        assert_eq!(gaps.len(), 1);
        for at in 0..20u64 {
            note(&gaps, &[b'x', at as u8 * 2], &[b'x', at as u8 * 2 + 1], 1);
        }
        assert_eq!(gaps.len(), 4);
    }

    #[test]
    fn what_a_queue_leaves_is_few_gaps_however_long_it_goes_on() {
        let gaps = remembering(100_000);
        let turn = 40_000_000;
        for at in 1_000..11_000u64 {
            let (start, end) = (at.to_be_bytes(), (at + 1).to_be_bytes());
            gaps.watch(b"", b"\xff").found(&start, &end, timestamp(at * turn), timestamp(at * turn));
        }
        // One a second of the last half minute, and the youngest as they are.
        assert!(gaps.len() < 50, "{} gaps", gaps.len());
    }

    proptest! {
        /// Places are single bytes; each knows since when nothing is there, if that is noted. Gaps that were joined stand
        /// for less than is known, never for more, and for all of it to whoever reads now.
        #[test]
        fn those_that_are_joined_hide_no_document(
            steps in prop::collection::vec((any::<bool>(), 0u8..20, 1u8..5, 0u64..4, 0u64..4), 1..80)
        ) {
            let gaps = remembering(1_000);
            let mut known: Vec<Option<u64>> = vec![None; 32];
            let GapLimits { young_ns, same_ns, old_ns, .. } = LIMITS;
            let mut now = 100 * same_ns;
            for (is_note, start, len, age, later) in steps {
                // From less than makes two of the same second one to more than makes any two one.
                now += [0, young_ns / 2, young_ns, old_ns / 3][later as usize];
                if is_note {
                    let since = now - [0, young_ns, same_ns, old_ns][age as usize];
                    let watch = gaps.watch(b"", b"\xff");
                    watch.found(&[start], &[start + len], timestamp(since), timestamp(now));
                    known[start as usize..(start + len) as usize].fill(Some(since));
                } else {
                    write(&gaps, &[start]);
                    known[start as usize] = None;
                }
                for at in [0, same_ns / 2, same_ns, 2 * same_ns, old_ns].map(|behind| now - behind) {
                    let usable = |place: u8| known[place as usize].is_some_and(|since| since <= at);
                    for place in 0..25u8 {
                        let end = gaps.end(&[place], timestamp(at)).map_or(place, |end| end[0]);
                        prop_assert!((place..end).all(usable), "from {place} to {end} at {at}");
                        let start = gaps.start(&[place], timestamp(at)).map_or(place, |start| start[0]);
                        prop_assert!((start..place).all(usable), "from {place} back to {start} at {at}");
                        if at == now {
                            prop_assert!(!usable(end), "{place}: no further than {end}");
                            prop_assert!(start == 0 || !usable(start - 1), "{place}: back no further than {start}");
                        }
                    }
                }
            }
        }

        /// Places are single bytes; each knows since when nothing is there, if that is noted.
        #[test]
        fn it_answers_like_a_list_of_places(
            steps in prop::collection::vec((0u8..3, 0u8..20, 0u8..20, 0u64..50), 1..60)
        ) {
            let gaps = remembering(1_000);
            let mut known: Vec<Option<u64>> = vec![None; 64];
            for (step, one, other, since) in steps {
                let (start, end) = (one.min(other), one.max(other) + 1);
                match step {
                    0 => {
                        // Young ones, so that none are joined.
                        note(&gaps, &[start], &[end], since);
                        known[start as usize..end as usize].fill(Some(since));
                    }
                    1 => {
                        write(&gaps, &[one]);
                        known[one as usize] = None;
                    }
                    _ => {
                        let usable = |place: u8| known[place as usize].is_some_and(|known| known <= since);
                        let mut end = one;
                        while usable(end) {
                            end += 1;
                        }
                        prop_assert_eq!(gaps.end(&[one], timestamp(since)), (end > one).then(|| vec![end]));
                        let mut start = one;
                        while start > 0 && usable(start - 1) {
                            start -= 1;
                        }
                        prop_assert_eq!(gaps.start(&[one], timestamp(since)), (start < one).then(|| vec![start]));
                    }
                }
            }
        }
    }
}
