//! One text index: its parts, and how they change.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::Arc,
};

use contract::{InternalDocumentId, TextMatches, TextSearch, Timestamp};
use parking_lot::{RwLock, RwLockReadGuard};
use relevance::Statistics;
use roaring::RoaringBitmap;

use super::{
    TextDocument,
    disk::DiskPart,
    memory::MemoryPart,
    parts::{Data, Deaths, Part, View},
    search::search,
};
use crate::{
    error::Result,
    files::{Checksums, Folder, Saved, SavedPart},
};

/// Parts of one class are merged when there are so many; each class is so many times as large as the one before.
const CLASS: usize = 4;
/// The largest part of the first class.
const FIRST_CLASS_DOCUMENTS: u32 = 4_096;
/// A part of which more than this is dead is written anew, in percent.
const DEAD_PERCENT_MAX: u64 = 20;

pub(crate) struct TextIndex {
    folder: Folder,
    prefix_terms_visited_max: usize,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The oldest first. The last one is open if it is in memory and not taken.
    parts: Vec<Part>,
    /// At the newest moment.
    documents: i64,
    tokens: i64,
    /// What has changed at moments that are kept.
    recent: VecDeque<Change>,
    /// The first moment that can be asked for.
    floor: Timestamp,
    /// Parts that are not there any more. Their folders go once a list without them is saved.
    gone: Vec<u64>,
    next_number: u64,
}

#[derive(Clone, Copy, Debug)]
struct Change {
    at: Timestamp,
    documents: i64,
    tokens: i64,
}

/// Work on the files of an index, which searches and changes don't wait for.
pub(crate) enum Job {
    /// Puts into files what is in memory.
    Write { number: u64, part: Arc<MemoryPart> },
    /// Makes one part of several, without the documents that are left out.
    Merge { into: u64, parts: Vec<(u64, Arc<DiskPart>, Vec<u32>)> },
    /// Removes the folders of parts that are gone.
    Remove,
}

/// What came of a [`Job`].
pub(crate) struct Done {
    job: Job,
    /// The new part, if it makes one.
    written: Option<(DiskPart, Checksums)>,
}

/// Why there is no answer.
pub(crate) enum Unanswered {
    /// The moment is not kept any more.
    OutOfRetention,
    Failed(crate::error::Error),
}

impl From<crate::error::Error> for Unanswered {
    fn from(error: crate::error::Error) -> Unanswered {
        Unanswered::Failed(error)
    }
}

impl TextIndex {
    /// Opens the index in a folder: what was saved of it, and until when that is all.
    pub fn open(folder: Folder, prefix_terms_visited_max: usize) -> Result<(TextIndex, Option<Timestamp>)> {
        let saved = folder.saved()?;
        let complete_at = saved.complete_at;
        let mut state = State::default();
        for saved in saved.parts {
            folder.check(&saved)?;
            let SavedPart { number, dead, checksums } = saved;
            let disk = Arc::new(DiskPart::open(&folder.part(number))?);
            let mut deaths = Deaths::default();
            dead.iter().filter(|document| *document < disk.len()).for_each(|document| {
                deaths.add(document, Timestamp::ZERO);
            });
            deaths.forget_before(Timestamp::MAX);
            for document in (0..disk.len()).filter(|document| !deaths.has(*document)) {
                state.documents += 1;
                state.tokens += i64::from(disk.length(document));
            }
            state.next_number = state.next_number.max(number + 1);
            let newest = disk.newest_from();
            let data = Data::Disk(disk);
            state.parts.push(Part { number, data, deaths, newest, checksums, is_taken: false });
        }
        state.floor = complete_at.unwrap_or_default();
        Ok((TextIndex { folder, prefix_terms_visited_max, state: RwLock::new(state) }, complete_at))
    }

    /// For what only looks: unlike others it does not wait behind a change that waits for searches.
    fn look(&self) -> RwLockReadGuard<'_, State> {
        self.state.read_recursive()
    }

    /// The number of documents at the newest moment.
    pub fn documents(&self) -> u64 {
        self.look().documents.max(0) as u64
    }

    /// Bytes of what is in memory and of no file yet.
    pub fn memory_bytes(&self) -> usize {
        let state = self.look();
        let bytes = state.parts.iter().map(|part| match &part.data {
            Data::Memory(part) => part.bytes(),
            Data::Disk(_) => 0,
        });
        bytes.sum()
    }

    /// Bytes of the part that is changed.
    pub fn open_bytes(&self) -> usize {
        match self.look().parts.last() {
            Some(Part { data: Data::Memory(part), is_taken: false, .. }) => part.bytes(),
            _ => 0,
        }
    }

    /// Puts each document in the place of the one with its id, or none, at the given moments, which come in order. What has been heard may
    /// be heard again, from any moment on that is kept.
    pub fn change(
        &self,
        changes: impl IntoIterator<Item = (Timestamp, InternalDocumentId, Option<TextDocument>)>,
    ) -> Result<()> {
        let mut state = self.state.write();
        for (at, id, document) in changes {
            state.change(at, id, document)?;
        }
        Ok(())
    }

    /// The documents in a range of ids, by id, and the commit that wrote each.
    pub fn documents_between(
        &self,
        bounds: (Bound<InternalDocumentId>, Bound<InternalDocumentId>),
    ) -> Result<BTreeMap<InternalDocumentId, Timestamp>> {
        let state = self.state.read();
        let mut found = BTreeMap::new();
        for part in &state.parts {
            for id in part.data.ids_between(bounds)? {
                for version in part.data.versions(&id)? {
                    if !part.deaths.has(version) {
                        let twice = found.insert(id, part.data.from(version));
                        debug_assert!(twice.is_none(), "a document is there once");
                    }
                }
            }
        }
        Ok(found)
    }

    /// Moments before `floor` are not asked for any more.
    pub fn forget_before(&self, floor: Timestamp) {
        let mut state = self.state.write();
        if floor <= state.floor {
            return;
        }
        state.floor = floor;
        while state.recent.front().is_some_and(|change| change.at <= floor) {
            state.recent.pop_front();
        }
        state.parts.iter_mut().for_each(|part| part.deaths.forget_before(floor));
    }

    pub fn search(&self, asked: &TextSearch) -> Result<TextMatches, Unanswered> {
        let state = self.state.read();
        if asked.at < state.floor {
            return Err(Unanswered::OutOfRetention);
        }
        let (mut documents, mut tokens) = (state.documents, state.tokens);
        for change in state.recent.iter().rev().take_while(|change| change.at > asked.at) {
            documents -= change.documents;
            tokens -= change.tokens;
        }
        let mut written = MemoryPart::default();
        for document in &asked.written {
            let document = TextDocument {
                id: document.id,
                creation_time_bits: document.creation_time_bits,
                from: Timestamp::ZERO,
                filters: document.filters.clone(),
                terms: document.terms.clone(),
            };
            documents += 1;
            tokens += i64::from(document.length());
            written.add(document);
        }
        let written = Data::Memory(Arc::new(written));
        let mut views = Vec::with_capacity(state.parts.len() + 1);
        for part in &state.parts {
            views.push(View::of_part(part, asked.at, &asked.condition)?);
        }
        for id in &asked.replaced {
            for view in &mut views {
                for version in view.data.versions(id)? {
                    if view.is_there(version) {
                        documents -= 1;
                        tokens -= i64::from(view.data.length(version));
                        view.replaced.insert(version);
                    }
                }
            }
        }
        views.push(View::of_written(&written));
        let statistics = Statistics { documents: documents.max(0) as u64, tokens: tokens.max(0) as u64 };
        let visited_max = self.prefix_terms_visited_max;
        Ok(search(&views, statistics, &asked.condition, asked.matches_max, visited_max)?)
    }

    /// Whether [`TextIndex::next_job`] has some. Waits for no search.
    pub fn has_job(&self, open_bytes_max: usize) -> bool {
        self.look().has_job(open_bytes_max)
    }

    /// The next work on its files, if there is some. The open part is written if it has more than `open_bytes_max`. Waits for searches.
    pub fn next_job(&self, open_bytes_max: usize) -> Option<Job> {
        let mut state = self.state.write();
        state.close_if_full(open_bytes_max);
        let write = state.parts.iter().find_map(|part| match &part.data {
            Data::Memory(memory) if part.is_taken => {
                Some(Job::Write { number: part.number, part: memory.clone() })
            }
            _ => None,
        });
        write.or_else(|| state.next_merge()).or_else(|| (!state.gone.is_empty()).then_some(Job::Remove))
    }

    /// Does the work; takes as long as it takes.
    pub fn work(&self, job: Job) -> Result<Done> {
        let (number, written) = match &job {
            Job::Write { number, part } => {
                self.folder.remove_part(*number);
                (*number, DiskPart::write(part, &self.folder.part(*number))?)
            }
            Job::Merge { into, parts } => {
                let parts: Vec<_> =
                    parts.iter().map(|(_, part, left_out)| (part.clone(), left_out.clone())).collect();
                self.folder.remove_part(*into);
                (*into, DiskPart::merge(&parts, &self.folder.part(*into))?)
            }
            Job::Remove => return Ok(Done { job, written: None }),
        };
        let checksums = self.folder.checksums(number)?;
        Ok(Done { job, written: Some((written, checksums)) })
    }

    /// Puts what came of the work in its place, and saves the list of parts.
    pub fn finish(&self, done: Done) -> Result<()> {
        if let Some((written, checksums)) = done.written {
            let mut state = self.state.write();
            match done.job {
                Job::Write { number, part } => {
                    assert_eq!(
                        part.len(),
                        written.len(),
                        "every document that was in memory is in the files"
                    );
                    let part = state.part(number);
                    part.data = Data::Disk(Arc::new(written));
                    part.checksums = checksums;
                    part.is_taken = false;
                }
                Job::Merge { into, parts } => state.merged(into, &parts, written, checksums),
                Job::Remove => unreachable!("it makes no part"),
            }
        }
        self.save(None)
    }

    /// Puts everything into files, and notes that it is all until `complete_at`.
    pub fn close(&self, complete_at: Option<Timestamp>) -> Result<()> {
        while let Some(job @ Job::Write { .. }) = self.next_job(0) {
            self.finish(self.work(job)?)?;
        }
        self.save(complete_at)
    }

    /// Saves the list of parts, and removes those that are gone.
    fn save(&self, complete_at: Option<Timestamp>) -> Result<()> {
        let gone = std::mem::take(&mut self.state.write().gone);
        let state = self.state.read();
        // Of work that failed something is in memory still.
        let is_all = state.parts.iter().all(|part| matches!(part.data, Data::Disk(_)));
        let on_disk = state.parts.iter().filter(|part| matches!(part.data, Data::Disk(_)));
        let parts = on_disk.map(|part| SavedPart {
            number: part.number,
            dead: RoaringBitmap::from_iter(part.deaths.all()),
            checksums: part.checksums.clone(),
        });
        let parts = parts.collect();
        drop(state);
        self.folder.save(&Saved { parts, complete_at: complete_at.filter(|_| is_all) })?;
        gone.into_iter().for_each(|number| self.folder.remove_part(number));
        Ok(())
    }

    /// Where it lies.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }
}

impl State {
    fn part(&mut self, number: u64) -> &mut Part {
        self.parts.iter_mut().find(|part| part.number == number).expect("a part that is taken stays")
    }

    fn change(
        &mut self,
        at: Timestamp,
        id: InternalDocumentId,
        document: Option<TextDocument>,
    ) -> Result<()> {
        let mut alive = None;
        for (place, part) in self.parts.iter().enumerate().rev() {
            for version in part.data.versions(&id)? {
                if part.data.from(version) >= at {
                    // This was heard before, and what came after it.
                    return Ok(());
                }
                if !part.deaths.has(version) {
                    alive = Some((place, version));
                }
            }
        }
        if let Some((place, version)) = alive {
            let part = &mut self.parts[place];
            part.deaths.add(version, at);
            let tokens = -i64::from(part.data.length(version));
            self.note(at, -1, tokens);
        }
        if let Some(document) = document {
            self.note(at, 1, i64::from(document.length()));
            let part = self.open_part();
            part.newest = part.newest.max(document.from);
            let Data::Memory(memory) = &mut part.data else { unreachable!("the open part is in memory") };
            Arc::get_mut(memory).expect("nobody else has the open part").add(document);
        }
        Ok(())
    }

    fn note(&mut self, at: Timestamp, documents: i64, tokens: i64) {
        self.documents += documents;
        self.tokens += tokens;
        assert!(self.documents >= 0 && self.tokens >= 0, "what is gone was there");
        // Mostly the last one.
        let place = self.recent.partition_point(|change| change.at < at);
        match self.recent.get_mut(place) {
            Some(change) if change.at == at => {
                change.documents += documents;
                change.tokens += tokens;
            }
            _ => self.recent.insert(place, Change { at, documents, tokens }),
        }
    }

    fn open_part(&mut self) -> &mut Part {
        let is_open = |part: &Part| matches!(part.data, Data::Memory(_)) && !part.is_taken;
        if !self.parts.last().is_some_and(is_open) {
            let number = self.take_number();
            self.parts.push(Part {
                number,
                data: Data::Memory(Arc::default()),
                deaths: Deaths::default(),
                newest: Timestamp::ZERO,
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

    /// Closes the open part if it has more than `bytes_max`: it is to be written.
    fn close_if_full(&mut self, bytes_max: usize) {
        if let Some(part) = self.parts.last_mut()
            && let Data::Memory(memory) = &part.data
            && memory.len() > 0
            && memory.bytes() > bytes_max
        {
            part.is_taken = true;
        }
    }

    fn has_job(&self, open_bytes_max: usize) -> bool {
        let is_to_do = |part: &Part| match &part.data {
            Data::Memory(memory) => part.is_taken || memory.len() > 0 && memory.bytes() > open_bytes_max,
            Data::Disk(_) => part.is_free() && part.is_dead(self.floor),
        };
        !self.gone.is_empty() || self.parts.iter().any(is_to_do) || !self.parts_to_merge().is_empty()
    }

    /// The places of parts to make one of.
    fn parts_to_merge(&self) -> Vec<usize> {
        let mut classes: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (position, part) in self.parts.iter().enumerate().filter(|(_, part)| part.is_free()) {
            let class = part.data.len().div_ceil(FIRST_CLASS_DOCUMENTS).max(1).ilog(CLASS as u32);
            let of_class = classes.entry(class).or_default();
            of_class.push(position);
            if of_class.len() >= CLASS {
                return std::mem::take(of_class);
            }
            let long_dead = || part.deaths.all_before(self.floor).len() as u64;
            let may_be = u64::from(part.deaths.count()) * 100 > u64::from(part.data.len()) * DEAD_PERCENT_MAX;
            if may_be && long_dead() * 100 > u64::from(part.data.len()) * DEAD_PERCENT_MAX {
                return vec![position];
            }
        }
        Vec::new()
    }

    /// Parts to make one of, if there are such; they are taken from then on.
    fn next_merge(&mut self) -> Option<Job> {
        let floor = self.floor;
        // What is dead as a whole need not be merged.
        let dead = self.parts.extract_if(.., |part| part.is_free() && part.is_dead(floor));
        self.gone.extend(dead.map(|part| part.number));
        let chosen = self.parts_to_merge();
        if chosen.is_empty() {
            return None;
        }
        let mut parts = Vec::with_capacity(chosen.len());
        for position in chosen {
            let part = &mut self.parts[position];
            let Data::Disk(disk) = &part.data else { unreachable!("only files are merged") };
            part.is_taken = true;
            parts.push((part.number, disk.clone(), part.deaths.all_before(floor)));
        }
        Some(Job::Merge { into: self.take_number(), parts })
    }

    /// Puts the merged part in the place of those that it was made of. Their documents have other numbers in it.
    fn merged(
        &mut self,
        into: u64,
        parts: &[(u64, Arc<DiskPart>, Vec<u32>)],
        written: DiskPart,
        checksums: Checksums,
    ) {
        let mut deaths = Deaths::default();
        let mut newest = Timestamp::ZERO;
        let mut base = 0;
        for (number, part, left_out) in parts {
            let before = self.part(*number);
            newest = newest.max(before.newest);
            for dead in before.deaths.all() {
                // Those that were left out are dead at every moment that is kept, and numbers move up behind them.
                if let Err(behind) = left_out.binary_search(&dead) {
                    deaths.add(base + dead - behind as u32, before.deaths.since(dead));
                }
            }
            base += part.len() - left_out.len() as u32;
        }
        assert_eq!(base, written.len(), "every document that was kept is in the merged part");
        let is_old = |part: &Part| parts.iter().any(|(number, ..)| *number == part.number);
        let place = self.parts.iter().position(is_old).expect("parts that are taken stay");
        self.parts.retain(|part| !is_old(part));
        self.gone.extend(parts.iter().map(|(number, ..)| *number));
        if written.len() > 0 {
            let data = Data::Disk(Arc::new(written));
            let part = Part { number: into, data, deaths, newest, checksums, is_taken: false };
            self.parts.insert(place, part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timestamp(at: u64) -> Timestamp {
        Timestamp::new(at).expect("in range")
    }

    fn open(path: &std::path::Path) -> TextIndex {
        let folder = Folder::new(path.to_owned()).expect("it is made");
        TextIndex::open(folder, usize::MAX).expect("it opens").0
    }

    fn written(id: u8, at: u64) -> (Timestamp, InternalDocumentId, Option<TextDocument>) {
        let (id, from) = ([id; 16], timestamp(at));
        let terms = vec![("word".to_owned(), 1)];
        (from, id, Some(TextDocument { id, creation_time_bits: 0, from, filters: Vec::new(), terms }))
    }

    fn work(index: &TextIndex) {
        assert!(index.has_job(0));
        let job = index.next_job(0).expect("there is work");
        index.finish(index.work(job).expect("it is done")).expect("it is saved");
    }

    #[test]
    fn whoever_looks_for_work_does_not_wait_for_a_search_nor_for_who_waits_for_one() {
        let temporary = tempfile::tempdir().expect("a folder");
        let index = &open(&temporary.path().join("index"));
        index.change([written(1, 1)]).expect("it is changed");
        let searching = index.state.read();
        std::thread::scope(|scope| {
            scope.spawn(|| index.forget_before(timestamp(1)));
            while !index.state.is_locked_exclusive() {
                std::thread::yield_now();
            }
            let (tell, told) = std::sync::mpsc::channel();
            scope.spawn(move || tell.send((index.has_job(0), index.open_bytes() > 0, index.documents())));
            let looked = told.recv_timeout(std::time::Duration::from_secs(60));
            drop(searching);
            assert_eq!(looked, Ok((true, true, 1)));
        });
    }

    #[test]
    fn the_files_of_a_part_that_is_dead_as_a_whole_are_removed() {
        let temporary = tempfile::tempdir().expect("a folder");
        let index = open(&temporary.path().join("index"));
        index.change([written(1, 1)]).expect("it is changed");
        work(&index);
        let part = index.folder().part(0);
        assert!(part.exists());
        index.change([(timestamp(2), [1; 16], None)]).expect("it is changed");
        assert!(!index.has_job(0) && index.next_job(0).is_none(), "searches at the first moment find it");
        index.forget_before(timestamp(2));
        work(&index);
        assert!(!part.exists(), "it is in no list any more");
        assert!(!index.has_job(0) && index.next_job(0).is_none(), "there is no more to do");
        assert!(index.folder().saved().expect("it is read").parts.is_empty());
    }
}
