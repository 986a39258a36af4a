//! What text searches read, and what writes say to them.
//!
//! A document with a text index has a [`TextKey`] in it, made of its terms and of the values that searches filter by. It is announced by
//! each write of the document, as the keys of other indexes are, old and new; but it is in no order and is not stored. A search reads
//! exactly the keys that a [`TextCondition`] fits, whatever documents they are of.

use std::fmt;

use bytes::{BufMut, Bytes};

/// A value that searches filter by: a hash of it.
pub type FilterValue = [u8; 16];

/// How the keys begin that are announced and not stored, which no key of another index does.
const MARK: u8 = 0xff;
/// The version of the format, behind the mark.
const VERSION: u8 = 1;

/// Whether a key of an index is only announced by the commits that write it: it is not in the store, and in no order.
pub fn is_announced_only(key: &[u8]) -> bool {
    key.first() == Some(&MARK)
}

/// A document's key in a text index: what its searches may ask for.
///
/// ```text
///   ff 01 │ number of filters │ each filter's value, 16 bytes │ each term: its bytes' number, its bytes │ …
/// ```
///
/// The filters stand in the order of the index's definition, the terms in that of their bytes, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextKey<'k> {
    filters: &'k [FilterValue],
    terms: Vec<&'k [u8]>,
}

impl<'k> TextKey<'k> {
    /// Makes the key.
    ///
    /// # Panics
    ///
    /// If the terms are not in order, each once, or one is longer than 255 bytes.
    pub fn encode<'t>(filters: &[FilterValue], terms: impl IntoIterator<Item = &'t str>) -> Bytes {
        let mut key = Vec::with_capacity(256);
        key.extend_from_slice(&[MARK, VERSION]);
        key.put_u8(u8::try_from(filters.len()).expect("an index has few filters"));
        filters.iter().for_each(|filter| key.extend_from_slice(filter));
        let mut last: Option<&str> = None;
        for term in terms {
            assert!(last.is_none_or(|last| last < term), "terms come in their order, each once");
            last = Some(term);
            key.put_u8(u8::try_from(term.len()).expect("tokens are short"));
            key.extend_from_slice(term.as_bytes());
        }
        key.into()
    }

    /// Reads a key; `None` if it is none of a text index, or of a version that is not known.
    pub fn read(key: &'k [u8]) -> Option<TextKey<'k>> {
        let rest = key.strip_prefix(&[MARK, VERSION])?;
        let (&count, rest) = rest.split_first()?;
        let (filters, mut rest) = rest.split_at_checked(usize::from(count) * size_of::<FilterValue>())?;
        let (filters, []) = filters.as_chunks() else { return None };
        let mut terms = Vec::new();
        while let Some((&bytes, after)) = rest.split_first() {
            let (term, after) = after.split_at_checked(usize::from(bytes))?;
            terms.push(term);
            rest = after;
        }
        Some(TextKey { filters, terms })
    }

    /// The terms, in the order of their bytes.
    pub fn terms(&self) -> &[&'k [u8]] {
        &self.terms
    }

    /// What searches filter by.
    pub fn filters(&self) -> &'k [FilterValue] {
        self.filters
    }
}

/// Which documents a text search is for: those with any of the terms, or one that begins with the prefix, that pass every filter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextCondition {
    /// In the order of the query, each once.
    pub terms: Vec<String>,
    /// What the last term begins with; not empty.
    pub prefix: String,
    /// All of them must hold.
    pub filters: Vec<TextFilter>,
}

/// One condition on a field.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextFilter {
    /// Which of the index's filters, in the order of its definition.
    pub field: u8,
    /// What the field must be.
    pub value: FilterValue,
}

impl fmt::Debug for TextFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}=", self.field)?;
        self.value.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl TextCondition {
    /// Whether a document with this key is one of those that the search is for.
    pub fn fits(&self, key: &TextKey<'_>) -> bool {
        self.passes(key.filters) && self.has_term(key)
    }

    /// Whether a document with these values passes the filters. The key of an older definition may have fewer: what can't be told may
    /// be.
    pub fn passes(&self, filters: &[FilterValue]) -> bool {
        self.filters
            .iter()
            .all(|filter| filters.get(usize::from(filter.field)).is_none_or(|value| *value == filter.value))
    }

    fn has_term(&self, key: &TextKey<'_>) -> bool {
        let prefix = self.prefix.as_bytes();
        let first = key.terms.partition_point(|term| *term < prefix);
        key.terms.get(first).is_some_and(|term| term.starts_with(prefix))
            || self.terms.iter().any(|term| key.terms.binary_search(&term.as_bytes()).is_ok())
    }

    /// Roughly what it takes in memory.
    pub fn bytes(&self) -> usize {
        let terms: usize = self.terms.iter().map(|term| term.len() + size_of::<String>()).sum();
        size_of::<TextCondition>() + terms + self.prefix.len() + self.filters.len() * size_of::<TextFilter>()
    }
}

/// Whether a key of an index is one that the condition fits. One that can't be read is: doubt invalidates.
pub(crate) fn may_fit(condition: &TextCondition, key: &[u8]) -> bool {
    TextKey::read(key).is_none_or(|key| condition.fits(&key))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn condition(terms: &[&str], prefix: &str, filters: &[(u8, u8)]) -> TextCondition {
        TextCondition {
            terms: terms.iter().map(|term| (*term).to_owned()).collect(),
            prefix: prefix.to_owned(),
            filters: filters
                .iter()
                .map(|(field, value)| TextFilter { field: *field, value: [*value; 16] })
                .collect(),
        }
    }

    #[test]
    fn a_condition_fits_by_any_term_and_every_filter() {
        let key = TextKey::encode(&[[1; 16], [2; 16]], ["blue", "green"]);
        let key = TextKey::read(&key).expect("it is one");
        for (terms, prefix, filters, fits) in [
            (&["blue"][..], "zebra", &[][..], true),
            (&["red"], "gre", &[], true),
            (&["red"], "green", &[(0, 1), (1, 2)], true),
            (&["red"], "green", &[(0, 1), (1, 1)], false),
            (&["red"], "greens", &[], false),
            (&["gre"], "red", &[], false),
            (&[], "z", &[], false),
        ] {
            assert_eq!(condition(terms, prefix, filters).fits(&key), fits, "{terms:?} {prefix} {filters:?}");
        }
    }

    #[test]
    fn what_is_no_text_key_is_not_read_as_one() {
        for key in [
            &[][..],
            &[0x10, 1],
            &[MARK],
            &[MARK, 9, 0],
            &[MARK, VERSION, 1, 0],
            &[MARK, VERSION, 0, 5, b'a'],
        ] {
            assert_eq!(TextKey::read(key), None, "{key:?}");
            assert!(may_fit(&condition(&[], "a", &[]), key));
        }
        assert!(is_announced_only(&TextKey::encode(&[], [])));
        assert!(!is_announced_only(&[0x10, 1]) && !is_announced_only(&[]));
    }

    proptest! {
        #[test]
        fn a_condition_fits_exactly_the_documents_with_a_term_and_the_filters(
            document in prop::collection::btree_set("[ab]{1,3}", 0..6),
            values in prop::collection::vec(0u8..2, 2),
            terms in prop::collection::vec("[ab]{1,3}", 0..3),
            prefix in "[ab]{1,3}",
            filters in prop::collection::vec((0u8..2, 0u8..2), 0..3),
        ) {
            let document: BTreeSet<String> = document;
            let hashes: Vec<FilterValue> = values.iter().map(|value| [*value; 16]).collect();
            let key = TextKey::encode(&hashes, document.iter().map(String::as_str));
            let terms: Vec<&str> = terms.iter().map(String::as_str).collect();
            let fits = condition(&terms, &prefix, &filters).fits(&TextKey::read(&key).expect("it is one"));
            let has_term = document.iter().any(|term| terms.contains(&term.as_str()) || term.starts_with(&prefix));
            let passes = filters.iter().all(|(field, value)| values[usize::from(*field)] == *value);
            prop_assert_eq!(fits, has_term && passes);
        }
    }
}
