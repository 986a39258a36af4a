//! One vector index: its parts, and how they change.

use std::{
    collections::BTreeMap,
    ops::{Bound, RangeBounds as _},
    sync::Arc,
};

use contract::{InternalDocumentId, Timestamp, VectorMatch, VectorSearch};
use parking_lot::{RwLock, RwLockReadGuard};
use roaring::RoaringBitmap;

use super::{
    VectorDocument,
    part::{Found, VectorPart},
};
use crate::{
    error::Result,
    files::{Checksums, Folder, Saved, SavedPart},
    limits::SearchLimits,
};

/// A part of which more than this is dead is written anew, in percent.
const DEAD_PERCENT_MAX: u64 = 20;

pub(crate) struct VectorIndex {
    folder: Folder,
    limits: SearchLimits,
    dimensions: usize,
    filter_count: usize,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The last one is open if it is in memory and not taken.
    parts: Vec<Part>,
    documents: u64,
    next_number: u64,
}

#[derive(Debug)]
struct Part {
    /// Names its folder, once it has one.
    number: u64,
    /// Shared only once it is closed.
    data: Arc<VectorPart>,
    dead: RoaringBitmap,
    /// In memory: the document of each id that is there.
    by_id: BTreeMap<InternalDocumentId, u32>,
    /// Of its files, once it has them.
    checksums: Checksums,
    /// Somebody makes another part of it.
    is_taken: bool,
}

/// Makes one part of several, which searches and changes don't wait for.
pub(crate) struct Job {
    into: u64,
    /// Each with the dead documents, which are left out.
    parts: Vec<(u64, Arc<VectorPart>, RoaringBitmap)>,
}

/// What came of a [`Job`].
pub(crate) struct Done {
    job: Job,
    written: Option<(VectorPart, Checksums)>,
}

impl Part {
    /// The number of the document with this id that is there.
    fn find(&self, id: &InternalDocumentId) -> Option<u32> {
        match self.data.is_in_memory() {
            true => self.by_id.get(id).copied(),
            false => {
                let number = self.data.ids().binary_search(id).ok()? as u32;
                (!self.dead.contains(number)).then_some(number)
            }
        }
    }

    fn alive(&self) -> u64 {
        u64::from(self.data.len()) - self.dead.len()
    }
}

impl VectorIndex {
    /// Opens the index in a folder: what was saved of it, and until when that is all.
    pub fn open(
        folder: Folder,
        dimensions: usize,
        filter_count: usize,
        limits: SearchLimits,
    ) -> Result<(VectorIndex, Option<Timestamp>)> {
        let saved = folder.saved()?;
        let complete_at = saved.complete_at;
        let mut state = State::default();
        for saved in saved.parts {
            folder.check(&saved)?;
            let SavedPart { number, dead, checksums } = saved;
            let data = VectorPart::open(&folder.part(number), dimensions, filter_count, &limits)?;
            let dead: RoaringBitmap = dead.into_iter().filter(|document| *document < data.len()).collect();
            state.next_number = state.next_number.max(number + 1);
            let data = Arc::new(data);
            let part = Part { number, data, dead, by_id: BTreeMap::new(), checksums, is_taken: false };
            state.documents += part.alive();
            state.parts.push(part);
        }
        let index = VectorIndex { folder, limits, dimensions, filter_count, state: RwLock::new(state) };
        Ok((index, complete_at))
    }

    /// For what only looks: unlike others it does not wait behind a change that waits for searches.
    fn look(&self) -> RwLockReadGuard<'_, State> {
        self.state.read_recursive()
    }

    /// The number of documents.
    pub fn documents(&self) -> u64 {
        self.look().documents
    }

    /// Bytes of what is in memory and of no file yet.
    pub fn memory_bytes(&self) -> usize {
        let state = self.look();
        state.parts.iter().filter(|part| part.data.is_in_memory()).map(|part| part.data.memory_bytes()).sum()
    }

    /// Bytes of the part that is changed.
    pub fn open_bytes(&self) -> usize {
        let state = self.look();
        let open = state.parts.last().filter(|part| part.data.is_in_memory() && !part.is_taken);
        open.map_or(0, |part| part.data.memory_bytes())
    }

    /// Bytes that what is in files takes in memory: ids, filter values and graphs.
    pub fn file_memory_bytes(&self) -> usize {
        let state = self.look();
        state.parts.iter().filter(|part| !part.data.is_in_memory()).map(|part| part.data.memory_bytes()).sum()
    }

    /// Puts each document in the place of the one with its id, or none.
    pub fn change(&self, changes: impl IntoIterator<Item = (InternalDocumentId, Option<VectorDocument>)>) {
        let mut state = self.state.write();
        for (id, document) in changes {
            for part in state.parts.iter_mut().rev() {
                if let Some(number) = part.find(&id) {
                    part.by_id.remove(&id);
                    part.dead.insert(number);
                    state.documents -= 1;
                    break;
                }
            }
            if let Some(document) = document {
                let part = state.open_part(self.dimensions, self.filter_count);
                let data = Arc::get_mut(&mut part.data).expect("nobody else has the open part");
                part.by_id.insert(document.id, data.len());
                data.add(document);
                state.documents += 1;
            }
        }
    }

    /// The documents in a range of ids, by id, and the commit that wrote each.
    pub fn documents_between(
        &self,
        bounds: (Bound<InternalDocumentId>, Bound<InternalDocumentId>),
    ) -> BTreeMap<InternalDocumentId, Timestamp> {
        let state = self.state.read();
        let mut found = BTreeMap::new();
        for part in &state.parts {
            let mut add = |id: InternalDocumentId, number: u32| {
                found.insert(id, part.data.from(number));
            };
            if part.data.is_in_memory() {
                part.by_id.range(bounds).for_each(|(id, number)| add(*id, *number));
                continue;
            }
            let ids = part.data.ids();
            let first = match &bounds.0 {
                Bound::Included(from) => ids.partition_point(|id| id < from),
                Bound::Excluded(from) => ids.partition_point(|id| id <= from),
                Bound::Unbounded => 0,
            };
            let in_range = ids[first..].iter().take_while(|id| bounds.contains(*id));
            for (number, id) in (first as u32..).zip(in_range) {
                if !part.dead.contains(number) {
                    add(*id, number);
                }
            }
        }
        found
    }

    pub fn search(&self, asked: &VectorSearch) -> Result<Vec<VectorMatch>> {
        let state = self.state.read();
        let count = asked.matches_max;
        let mut best: Vec<Found> = Vec::new();
        let mut least = f32::NEG_INFINITY;
        for part in &state.parts {
            part.data.search(
                &asked.vector,
                &asked.any_of,
                &part.dead,
                count,
                &self.limits,
                &mut |found| {
                    if found.score < least {
                        return;
                    }
                    best.push(found);
                    if best.len() >= 2 * count + 64 {
                        least = keep_best(&mut best, count);
                    }
                },
            )?;
        }
        keep_best(&mut best, count);
        Ok(best
            .into_iter()
            .map(|found| VectorMatch { id: found.id, score: found.score.clamp(-1.0, 1.0) })
            .collect())
    }

    /// Whether [`VectorIndex::next_job`] has some. Waits for no search.
    pub fn has_job(&self, open_bytes_max: usize) -> bool {
        !self.look().parts_to_make_one_of(open_bytes_max, &self.limits).is_empty()
    }

    /// The next work on its files, if there is some. The open part is written if it has more than `open_bytes_max`. Waits for searches.
    pub fn next_job(&self, open_bytes_max: usize) -> Option<Job> {
        let mut state = self.state.write();
        let chosen = state.parts_to_make_one_of(open_bytes_max, &self.limits);
        (!chosen.is_empty()).then(|| state.job(&chosen))
    }

    /// Does the work; takes as long as it takes.
    pub fn work(&self, job: Job) -> Result<Done> {
        self.write(job, &self.limits)
    }

    fn write(&self, job: Job, limits: &SearchLimits) -> Result<Done> {
        let sources: Vec<(&VectorPart, Vec<u32>)> = job
            .parts
            .iter()
            .map(|(_, part, dead)| {
                (&**part, (0..part.len()).filter(|number| !dead.contains(*number)).collect())
            })
            .collect();
        let is_any = sources.iter().any(|(_, numbers)| !numbers.is_empty());
        self.folder.remove_part(job.into);
        let written = match is_any {
            true => {
                let part = VectorPart::write(&sources, limits, &self.folder.part(job.into))?;
                Some((part, self.folder.checksums(job.into)?))
            }
            false => None,
        };
        Ok(Done { job, written })
    }

    /// Puts what came of the work in its place, and saves the list of parts.
    pub fn finish(&self, done: Done) -> Result<()> {
        let removed: Vec<u64> = done.job.parts.iter().map(|(number, ..)| *number).collect();
        self.state.write().made(done);
        self.save(None)?;
        removed.into_iter().for_each(|number| self.folder.remove_part(number));
        Ok(())
    }

    /// Puts everything into files, and notes that it is all until `complete_at`.
    pub fn close(&self, complete_at: Option<Timestamp>) -> Result<()> {
        let job = {
            let mut state = self.state.write();
            let open: Vec<u64> = state
                .parts
                .iter()
                .filter(|part| part.data.is_in_memory() && !part.is_taken)
                .map(|part| part.number)
                .collect();
            (!open.is_empty()).then(|| state.job(&open))
        };
        if let Some(job) = job {
            // Without a graph: the next start makes it, when there is time.
            let plain = SearchLimits { vectors_plain_bytes_max: usize::MAX, ..self.limits };
            self.finish(self.write(job, &plain)?)?;
        }
        self.save(complete_at)
    }

    fn save(&self, complete_at: Option<Timestamp>) -> Result<()> {
        let state = self.state.read();
        // Of work that failed something is in memory still.
        let is_all = state.parts.iter().all(|part| !part.data.is_in_memory());
        let on_disk = state.parts.iter().filter(|part| !part.data.is_in_memory());
        let parts = on_disk.map(|part| SavedPart {
            number: part.number,
            dead: part.dead.clone(),
            checksums: part.checksums.clone(),
        });
        let parts = parts.collect();
        drop(state);
        self.folder.save(&Saved { parts, complete_at: complete_at.filter(|_| is_all) })
    }

    /// Where it lies.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }
}

/// Keeps the best: by score, then the smallest id. Returns the least score among them, once there are enough.
fn keep_best(found: &mut Vec<Found>, count: usize) -> f32 {
    found
        .sort_unstable_by(|one, other| other.score.total_cmp(&one.score).then_with(|| one.id.cmp(&other.id)));
    found.truncate(count);
    match found.last() {
        Some(last) if found.len() >= count => last.score,
        _ => f32::NEG_INFINITY,
    }
}

impl State {
    fn open_part(&mut self, dimensions: usize, filter_count: usize) -> &mut Part {
        let is_open = |part: &Part| part.data.is_in_memory() && !part.is_taken;
        if !self.parts.last().is_some_and(is_open) {
            let number = self.take_number();
            self.parts.push(Part {
                number,
                data: Arc::new(VectorPart::new(dimensions, filter_count)),
                dead: RoaringBitmap::new(),
                by_id: BTreeMap::new(),
                checksums: Checksums::default(),
                is_taken: false,
            });
        }
        self.parts.last_mut().expect("it was just looked at")
    }

    fn take_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    /// The numbers of parts to make one of, if there are such.
    fn parts_to_make_one_of(&self, open_bytes_max: usize, limits: &SearchLimits) -> Vec<u64> {
        let is_full = |part: &Part| part.data.is_in_memory() && part.data.memory_bytes() > open_bytes_max;
        match self.parts.last() {
            Some(open) if is_full(open) && !open.is_taken => {
                // With it go the parts before it that are not larger than all that go with it so far, so that the sizes of those that stay
                // double, and each vector is put into few graphs.
                let mut going = open.alive();
                let mut chosen = vec![open.number];
                let mut others: Vec<(u64, u64)> = self
                    .parts
                    .iter()
                    .filter(|part| part.number != open.number && !part.is_taken)
                    .map(|part| (part.alive(), part.number))
                    .collect();
                others.sort_unstable();
                for (alive, number) in others {
                    if alive > going {
                        break;
                    }
                    going += alive;
                    chosen.push(number);
                }
                chosen
            }
            _ => {
                let is_to_be_made_anew = |part: &&Part| {
                    let is_much_dead = part.dead.len() * 100 > u64::from(part.data.len()) * DEAD_PERCENT_MAX;
                    !part.data.is_in_memory()
                        && !part.is_taken
                        && (is_much_dead || part.data.lacks_graph(limits.vectors_plain_bytes_max))
                };
                self.parts.iter().find(is_to_be_made_anew).map(|part| part.number).into_iter().collect()
            }
        }
    }

    fn job(&mut self, numbers: &[u64]) -> Job {
        let mut parts = Vec::with_capacity(numbers.len());
        for part in self.parts.iter_mut().filter(|part| numbers.contains(&part.number)) {
            part.is_taken = true;
            parts.push((part.number, part.data.clone(), part.dead.clone()));
        }
        Job { into: self.take_number(), parts }
    }

    fn made(&mut self, done: Done) {
        let Done { job, written } = done;
        let is_old = |part: &Part| job.parts.iter().any(|(number, ..)| *number == part.number);
        let place = self.parts.iter().position(is_old).expect("parts that are taken stay");
        let mut died_since = Vec::new();
        for part in self.parts.iter().filter(|part| is_old(part)) {
            let (_, data, dead) =
                job.parts.iter().find(|(number, ..)| *number == part.number).expect("it is old");
            died_since.extend((&part.dead - dead).iter().map(|number| data.id(number)));
        }
        self.parts.retain(|part| !is_old(part));
        let Some((written, checksums)) = written else {
            assert!(died_since.is_empty(), "who was left out was dead");
            return;
        };
        let dead = died_since.iter().map(|id| {
            let number = written.ids().binary_search(id).expect("who was alive was written");
            number as u32
        });
        let dead = dead.collect();
        let data = Arc::new(written);
        let part = Part { number: job.into, data, dead, by_id: BTreeMap::new(), checksums, is_taken: false };
        self.parts.insert(place, part);
        let counted: u64 = self.parts.iter().map(Part::alive).sum();
        assert_eq!(counted, self.documents, "what is alive is counted");
    }
}
