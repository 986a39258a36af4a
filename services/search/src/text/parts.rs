//! A part of an index, and which of its documents are there at a moment.

use std::{
    collections::{HashMap, HashSet},
    ops::Bound,
    sync::Arc,
};

use contract::{InternalDocumentId, TextCondition, Timestamp};

use super::{
    disk::{DiskPart, DiskTerms},
    memory::{MemoryPart, MemoryTerms},
};
use crate::{error::Result, files::Checksums};

#[derive(Debug)]
pub(super) struct Part {
    /// Names its folder, once it has one.
    pub number: u64,
    pub data: Data,
    pub deaths: Deaths,
    /// The newest commit that has written one of the documents.
    pub newest: Timestamp,
    /// Of its files, once it has them.
    pub checksums: Checksums,
    /// Somebody is writing it, or a larger one in its place.
    pub is_taken: bool,
}

impl Part {
    /// Whether it is in files, and nobody makes another part of it.
    pub fn is_free(&self) -> bool {
        !self.is_taken && matches!(self.data, Data::Disk(_))
    }

    /// Whether all its documents are dead at every moment from `floor` on.
    pub fn is_dead(&self, floor: Timestamp) -> bool {
        // The first comparison is cheap, and mostly enough.
        self.deaths.count() == self.data.len()
            && self.deaths.all_before(floor).len() as u32 == self.data.len()
    }
}

#[derive(Clone, Debug)]
pub(super) enum Data {
    /// Shared only once it is closed.
    Memory(Arc<MemoryPart>),
    Disk(Arc<DiskPart>),
}

/// Which documents of a part are dead, and since when.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    dead: Vec<u64>,
    count: u32,
    /// Only of those that died at a moment that is kept; the others are dead at all of them.
    since: HashMap<u32, Timestamp>,
}

impl Deaths {
    /// Whether it has died, at whatever moment.
    pub fn has(&self, document: u32) -> bool {
        self.dead.get(document as usize / 64).is_some_and(|word| word >> (document % 64) & 1 == 1)
    }

    pub fn is_dead_at(&self, document: u32, at: Timestamp) -> bool {
        self.has(document) && self.since.get(&document).is_none_or(|since| *since <= at)
    }

    pub fn add(&mut self, document: u32, since: Timestamp) {
        assert!(!self.has(document), "nobody dies twice");
        let word = document as usize / 64;
        if self.dead.len() <= word {
            self.dead.resize(word + 1, 0);
        }
        self.dead[word] |= 1 << (document % 64);
        self.count += 1;
        self.since.insert(document, since);
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    /// Since when a dead document is dead; [`Timestamp::ZERO`] if at every moment that is kept.
    pub fn since(&self, document: u32) -> Timestamp {
        self.since.get(&document).copied().unwrap_or_default()
    }

    /// Those that are dead, in order.
    pub fn all(&self) -> Vec<u32> {
        let words = self.dead.iter().enumerate();
        words
            .flat_map(|(word, bits)| {
                (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| word as u32 * 64 + bit)
            })
            .collect()
    }

    /// Those that are dead at every moment from `floor` on.
    pub fn all_before(&self, floor: Timestamp) -> Vec<u32> {
        let mut all = self.all();
        all.retain(|document| self.since.get(document).is_none_or(|since| *since <= floor));
        all
    }

    /// Moments before `floor` are not asked for any more.
    pub fn forget_before(&mut self, floor: Timestamp) {
        self.since.retain(|_, since| *since > floor);
    }
}

impl Data {
    pub fn len(&self) -> u32 {
        match self {
            Data::Memory(part) => part.len(),
            Data::Disk(part) => part.len(),
        }
    }

    pub fn from(&self, document: u32) -> Timestamp {
        match self {
            Data::Memory(part) => part.from(document),
            Data::Disk(part) => part.from(document),
        }
    }

    pub fn length(&self, document: u32) -> u32 {
        match self {
            Data::Memory(part) => part.length(document),
            Data::Disk(part) => part.length(document),
        }
    }

    pub fn creation_time_bits(&self, document: u32) -> u64 {
        match self {
            Data::Memory(part) => part.creation_time_bits(document),
            Data::Disk(part) => part.creation_time_bits(document),
        }
    }

    pub fn id(&self, document: u32) -> InternalDocumentId {
        match self {
            Data::Memory(part) => part.id(document),
            Data::Disk(part) => part.id(document),
        }
    }

    /// The documents with this id: its versions.
    pub fn versions(&self, id: &InternalDocumentId) -> Result<Vec<u32>> {
        match self {
            Data::Memory(part) => Ok(part.versions(id)),
            Data::Disk(part) => part.versions(id),
        }
    }

    pub fn document_count(&self, term: &str) -> Result<u64> {
        match self {
            Data::Memory(part) => Ok(part.postings(term).len() as u64),
            Data::Disk(part) => part.document_count(term),
        }
    }

    /// Sees each document with a term, how often it has it, and its norm.
    pub fn for_each_posting(&self, term: &str, mut see: impl FnMut(u32, u32, u8)) -> Result<()> {
        match self {
            Data::Memory(part) => {
                part.postings(term)
                    .iter()
                    .for_each(|(document, count)| see(*document, *count, part.norm(*document)));
                Ok(())
            }
            Data::Disk(part) => part.for_each_posting(term, see),
        }
    }

    /// The terms that begin with a prefix.
    fn terms_from<'p>(&'p self, prefix: &'p str) -> Result<Terms<'p>> {
        match self {
            Data::Memory(part) => Ok(Terms::Memory(part.terms_from(prefix))),
            Data::Disk(part) => part.terms_from(prefix).map(|terms| Terms::Disk(Box::new(terms))),
        }
    }

    pub fn ids_between(
        &self,
        bounds: (Bound<InternalDocumentId>, Bound<InternalDocumentId>),
    ) -> Result<Vec<InternalDocumentId>> {
        match self {
            Data::Memory(part) => Ok(part.ids_between(bounds)),
            Data::Disk(part) => part.ids_between(bounds),
        }
    }
}

/// The terms of a part that begin with a prefix, in order.
pub(super) enum Terms<'p> {
    Memory(MemoryTerms<'p>),
    Disk(Box<DiskTerms<'p>>),
}

impl Terms<'_> {
    /// `None` behind the last one.
    pub fn current(&self) -> Option<&[u8]> {
        match self {
            Terms::Memory(terms) => terms.current(),
            Terms::Disk(terms) => terms.current(),
        }
    }

    pub fn advance(&mut self) {
        match self {
            Terms::Memory(terms) => terms.advance(),
            Terms::Disk(terms) => terms.advance(),
        }
    }

    /// Whether one of the documents with the current term is wanted; of those of a file that have no bit in `passing` none is.
    fn any(&self, passing: Option<&[u64]>, is_wanted: impl FnMut(u32) -> bool) -> Result<bool> {
        match self {
            Terms::Memory(terms) => Ok(terms.any(is_wanted)),
            Terms::Disk(terms) => terms.any(passing, is_wanted),
        }
    }
}

/// A part as of a moment, as a transaction sees it.
pub(super) struct View<'p> {
    pub data: &'p Data,
    deaths: Option<&'p Deaths>,
    at: Timestamp,
    /// Whether some document may be newer than the moment.
    has_newer: bool,
    /// Documents that the transaction has written itself.
    pub replaced: HashSet<u32>,
    passing: Passing,
}

/// Which documents pass the filters.
enum Passing {
    All,
    /// To be looked up.
    ByDocument,
    /// By their numbers.
    Bits(Vec<u64>),
}

impl<'p> View<'p> {
    pub fn of_part(part: &'p Part, at: Timestamp, condition: &TextCondition) -> Result<View<'p>> {
        let passing = match &part.data {
            _ if condition.filters.is_empty() => Passing::All,
            Data::Memory(_) => Passing::ByDocument,
            Data::Disk(disk) => Passing::Bits(disk.passing(&condition.filters)?),
        };
        Ok(View {
            data: &part.data,
            deaths: Some(&part.deaths),
            at,
            has_newer: part.newest > at,
            replaced: HashSet::new(),
            passing,
        })
    }

    /// Of documents that are all there.
    pub fn of_written(data: &'p Data) -> View<'p> {
        View {
            data,
            deaths: None,
            at: Timestamp::MAX,
            has_newer: false,
            replaced: HashSet::new(),
            passing: Passing::ByDocument,
        }
    }

    /// Whether all documents are there, so that none need be asked.
    pub fn is_whole(&self) -> bool {
        !self.has_newer && self.deaths.is_none_or(|deaths| deaths.count() == 0) && self.replaced.is_empty()
    }

    pub fn is_there(&self, document: u32) -> bool {
        !(self.deaths.is_some_and(|deaths| deaths.is_dead_at(document, self.at))
            || self.has_newer && self.data.from(document) > self.at
            || !self.replaced.is_empty() && self.replaced.contains(&document))
    }

    pub fn passes(&self, document: u32, condition: &TextCondition) -> bool {
        match (&self.passing, self.data) {
            (Passing::All, _) => true,
            (Passing::Bits(bits), _) => bits[document as usize / 64] >> (document % 64) & 1 == 1,
            (Passing::ByDocument, Data::Memory(part)) => condition.passes(part.filters(document)),
            (Passing::ByDocument, Data::Disk(_)) => unreachable!("the filters of a file are bits"),
        }
    }

    /// The terms that begin with a prefix, also of documents that are not there.
    pub fn terms_from<'t>(&'t self, prefix: &'t str) -> Result<Terms<'t>> {
        self.data.terms_from(prefix)
    }

    /// Whether a document that is there has the current term.
    pub fn any_has(&self, terms: &Terms<'_>) -> Result<bool> {
        Ok(self.is_whole() || terms.any(None, |document| self.is_there(document))?)
    }

    /// Whether a document that is there and passes the filters has the current term.
    pub fn any_found_has(&self, terms: &Terms<'_>, condition: &TextCondition) -> Result<bool> {
        let passing = match &self.passing {
            Passing::Bits(bits) => Some(&bits[..]),
            Passing::All | Passing::ByDocument => None,
        };
        terms.any(passing, |document| self.passes(document, condition) && self.is_there(document))
    }
}
