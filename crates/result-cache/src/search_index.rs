//! Which entries have searched a text index for what a document has.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use contract::{TextCondition, TextKey};

/// Maps the searches of one text index to the entries they belong to.
///
/// Finding the entries of a key takes time in proportion to its terms and to the searches with one of them, however many others there
/// are. Equal searches are kept once.
#[derive(Debug)]
pub(crate) struct SearchIndex<Id> {
    ids: BTreeMap<TextCondition, BTreeSet<Id>>,
    /// By each of their terms.
    by_term: HashMap<String, BTreeSet<TextCondition>>,
    /// By their prefix.
    by_prefix: HashMap<String, BTreeSet<TextCondition>>,
}

impl<Id> Default for SearchIndex<Id> {
    fn default() -> Self {
        SearchIndex { ids: BTreeMap::new(), by_term: HashMap::new(), by_prefix: HashMap::new() }
    }
}

impl<Id: Ord + Copy> SearchIndex<Id> {
    pub(crate) fn insert(&mut self, condition: &TextCondition, id: Id) {
        if let Some(ids) = self.ids.get_mut(condition) {
            ids.insert(id);
            return;
        }
        self.ids.insert(condition.clone(), BTreeSet::from([id]));
        for term in &condition.terms {
            self.by_term.entry(term.clone()).or_default().insert(condition.clone());
        }
        self.by_prefix.entry(condition.prefix.clone()).or_default().insert(condition.clone());
    }

    /// Undoes [`SearchIndex::insert`].
    pub(crate) fn remove(&mut self, condition: &TextCondition, id: Id) {
        let ids = self.ids.get_mut(condition).expect("what is removed was inserted");
        assert!(ids.remove(&id), "an entry is removed once from each search that it has made");
        if !ids.is_empty() {
            return;
        }
        self.ids.remove(condition);
        let mut forget = |by: fn(&mut Self) -> &mut HashMap<String, BTreeSet<TextCondition>>, text: &str| {
            let by = by(self);
            let Some(conditions) = by.get_mut(text) else { return };
            conditions.remove(condition);
            if conditions.is_empty() {
                by.remove(text);
            }
        };
        condition.terms.iter().for_each(|term| forget(|index| &mut index.by_term, term));
        forget(|index| &mut index.by_prefix, &condition.prefix);
    }

    /// Adds to `found` each entry whose search may find a document with this key.
    pub(crate) fn find(&self, key: &[u8], found: &mut BTreeSet<Id>) {
        let Some(key) = TextKey::read(key) else {
            // It can't be told.
            found.extend(self.ids.values().flatten());
            return;
        };
        for term in key.terms() {
            let Ok(term) = std::str::from_utf8(term) else { continue };
            self.add(self.by_term.get(term), &key, found);
            for end in (1..=term.len()).filter(|end| term.is_char_boundary(*end)) {
                self.add(self.by_prefix.get(&term[..end]), &key, found);
            }
        }
    }

    fn add(&self, conditions: Option<&BTreeSet<TextCondition>>, key: &TextKey<'_>, found: &mut BTreeSet<Id>) {
        let passing = conditions.into_iter().flatten().filter(|condition| condition.passes(key.filters()));
        passing.for_each(|condition| found.extend(&self.ids[condition]));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use contract::{FilterValue, TextFilter};
    use proptest::prelude::*;

    use super::*;

    fn condition() -> impl Strategy<Value = TextCondition> {
        (prop::collection::vec("[ab]{1,3}", 0..3), "[ab]{1,3}", prop::option::of((0u8..2, 0u8..2))).prop_map(
            |(terms, prefix, filter)| TextCondition {
                terms,
                prefix,
                filters: filter
                    .into_iter()
                    .map(|(field, value)| TextFilter { field, value: [value; 16] })
                    .collect(),
            },
        )
    }

    proptest! {
        #[test]
        fn it_finds_exactly_the_searches_that_a_key_fits(
            steps in prop::collection::vec((0u32..12, prop::option::weighted(0.7, condition())), 0..40),
            terms in prop::collection::btree_set("[ab]{1,3}", 0..5),
            values in prop::collection::vec(0u8..2, 2),
        ) {
            let mut index = SearchIndex::default();
            let mut model: BTreeMap<u32, TextCondition> = BTreeMap::new();
            for (id, condition) in steps {
                if let Some(known) = model.remove(&id) {
                    index.remove(&known, id);
                }
                if let Some(condition) = condition {
                    index.insert(&condition, id);
                    model.insert(id, condition);
                }
            }
            let filters: Vec<FilterValue> = values.iter().map(|value| [*value; 16]).collect();
            let terms: BTreeSet<String> = terms;
            let bytes = TextKey::encode(&filters, terms.iter().map(String::as_str));
            let key = TextKey::read(&bytes).expect("it is one");
            let mut found = BTreeSet::new();
            index.find(&bytes, &mut found);
            let expected: BTreeSet<u32> =
                model.iter().filter(|(_, condition)| condition.fits(&key)).map(|(id, _)| *id).collect();
            prop_assert_eq!(found, expected);
            for (id, condition) in model {
                index.remove(&condition, id);
            }
            prop_assert!(index.is_empty() && index.by_term.is_empty() && index.by_prefix.is_empty());
        }
    }
}
