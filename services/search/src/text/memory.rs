//! A part in memory.

use std::{
    collections::{BTreeMap, btree_map},
    ops::Bound,
};

use contract::{FilterValue, InternalDocumentId, Timestamp};
use relevance::norm_of;

use super::TextDocument;

/// Documents with their terms, and which documents have a term.
#[derive(Debug, Default)]
pub(crate) struct MemoryPart {
    documents: Vec<Document>,
    /// Numbers of terms.
    numbers: BTreeMap<Box<str>, u32>,
    /// Per term its documents in order, and how often each has it.
    postings: Vec<Vec<(u32, u32)>>,
    /// The documents of each id: its versions, the oldest first.
    by_id: BTreeMap<InternalDocumentId, Vec<u32>>,
    bytes: usize,
}

#[derive(Debug)]
struct Document {
    id: InternalDocumentId,
    creation_time_bits: u64,
    from: Timestamp,
    length: u32,
    norm: u8,
    filters: Box<[FilterValue]>,
    /// Numbers of terms, and how often each occurs.
    terms: Box<[(u32, u32)]>,
}

/// What a document or a term takes besides its bytes.
const DOCUMENT_BYTES: usize = 160;
const TERM_BYTES: usize = 96;

impl MemoryPart {
    /// Adds a document; its number.
    pub fn add(&mut self, document: TextDocument) -> u32 {
        let number = u32::try_from(self.documents.len()).expect("a part is closed long before");
        let length = document.length();
        let mut terms = Vec::with_capacity(document.terms.len());
        for (term, count) in document.terms {
            let bytes = term.len();
            let next = u32::try_from(self.postings.len()).expect("a part is closed long before");
            let term = *self.numbers.entry(term.into_boxed_str()).or_insert(next);
            if term == next {
                self.postings.push(Vec::new());
                self.bytes += bytes + TERM_BYTES;
            }
            self.postings[term as usize].push((number, count));
            terms.push((term, count));
        }
        self.bytes += DOCUMENT_BYTES + terms.len() * 16 + document.filters.len() * size_of::<FilterValue>();
        self.by_id.entry(document.id).or_default().push(number);
        self.documents.push(Document {
            id: document.id,
            creation_time_bits: document.creation_time_bits,
            from: document.from,
            length,
            norm: norm_of(length),
            filters: document.filters.into(),
            terms: terms.into(),
        });
        number
    }

    pub fn len(&self) -> u32 {
        self.documents.len() as u32
    }

    /// Roughly what it takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn from(&self, document: u32) -> Timestamp {
        self.documents[document as usize].from
    }

    pub fn length(&self, document: u32) -> u32 {
        self.documents[document as usize].length
    }

    pub fn creation_time_bits(&self, document: u32) -> u64 {
        self.documents[document as usize].creation_time_bits
    }

    pub fn id(&self, document: u32) -> InternalDocumentId {
        self.documents[document as usize].id
    }

    pub fn filters(&self, document: u32) -> &[FilterValue] {
        &self.documents[document as usize].filters
    }

    /// The terms of a document and how often each occurs, in the order of the terms.
    pub fn terms(&self, document: u32, names: &[&str]) -> Vec<(String, u32)> {
        let terms = self.documents[document as usize].terms.iter();
        terms.map(|(term, count)| (names[*term as usize].to_owned(), *count)).collect()
    }

    /// The terms by their numbers.
    pub fn names(&self) -> Vec<&str> {
        let mut names = vec![""; self.postings.len()];
        for (name, number) in &self.numbers {
            names[*number as usize] = name;
        }
        names
    }

    /// The documents with this id.
    pub fn versions(&self, id: &InternalDocumentId) -> Vec<u32> {
        self.by_id.get(id).cloned().unwrap_or_default()
    }

    /// The ids in the range, in order.
    pub fn ids_between(
        &self,
        bounds: (Bound<InternalDocumentId>, Bound<InternalDocumentId>),
    ) -> Vec<InternalDocumentId> {
        self.by_id.range(bounds).map(|(id, _)| *id).collect()
    }

    /// The documents with a term.
    pub fn postings(&self, term: &str) -> &[(u32, u32)] {
        self.numbers.get(term).map_or(&[], |number| &self.postings[*number as usize])
    }

    pub fn norm(&self, document: u32) -> u8 {
        self.documents[document as usize].norm
    }

    /// The terms that begin with a prefix.
    pub fn terms_from<'p>(&'p self, prefix: &'p str) -> MemoryTerms<'p> {
        let rest = self.numbers.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        let mut terms = MemoryTerms { part: self, prefix, rest, current: None };
        terms.advance();
        terms
    }
}

/// The terms of a part that begin with a prefix, in order.
pub(crate) struct MemoryTerms<'p> {
    part: &'p MemoryPart,
    prefix: &'p str,
    rest: btree_map::Range<'p, Box<str>, u32>,
    current: Option<(&'p str, u32)>,
}

impl MemoryTerms<'_> {
    pub fn current(&self) -> Option<&[u8]> {
        self.current.map(|(term, _)| term.as_bytes())
    }

    pub fn advance(&mut self) {
        let next = self.rest.next().filter(|(term, _)| term.starts_with(self.prefix));
        self.current = next.map(|(term, number)| (&**term, *number));
    }

    /// Whether one of the documents with the current term is wanted.
    pub fn any(&self, mut is_wanted: impl FnMut(u32) -> bool) -> bool {
        let postings = self.current.map_or(&[][..], |(_, number)| &self.part.postings[number as usize][..]);
        postings.iter().any(|(document, _)| is_wanted(*document))
    }
}
