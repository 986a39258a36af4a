//! What a search finds in the parts of an index.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
};

use contract::{InternalDocumentId, TextCondition, TextMatch, TextMatches};
use relevance::{Norms, Statistics, Weight};

use super::parts::{Terms, View};
use crate::error::{Result, damaged};

/// Terms that the last one of a query stands for, at most: the first ones in the order of their bytes.
pub(super) const EXPANSIONS_MAX: usize = 16;

/// The best documents of all views. The newest view is last. `visited_max` is `search.prefix_terms_visited_max`.
pub(super) fn search(
    views: &[View<'_>],
    statistics: Statistics,
    condition: &TextCondition,
    matches_max: usize,
    visited_max: usize,
) -> Result<TextMatches> {
    let terms = terms_of(views, condition, visited_max)?;
    let norms = Norms::new(statistics);
    let mut weighted = Vec::with_capacity(terms.len());
    for term in &terms {
        let mut documents = 0;
        for view in views {
            documents += document_count(view, term)?;
        }
        if documents > 0 {
            weighted.push((term.as_str(), Weight::of(statistics, documents)));
        }
    }
    // One more than asked for, to know whether there are more.
    let mut best = Best::new(matches_max.saturating_add(1));
    let mut scores: Vec<f32> = Vec::new();
    for view in views.iter().rev() {
        scores.clear();
        scores.resize(view.data.len() as usize, 0.0);
        let mut any = false;
        for (term, weight) in &weighted {
            view.data.for_each_posting(term, |document, count, norm| {
                any = true;
                scores[document as usize] += weight.score(count, norm, &norms);
            })?;
        }
        if !any {
            continue;
        }
        // Of those with equal scores the newest are the best, and the newest are mostly last.
        for (document, score) in scores.iter().enumerate().rev() {
            if *score <= 0.0 || *score < best.least {
                continue;
            }
            let document = document as u32;
            if !view.passes(document, condition) || !view.is_there(document) {
                continue;
            }
            best.add(*score, view.data.creation_time_bits(document), || view.data.id(document));
        }
    }
    Ok(best.into_matches(matches_max))
}

/// The terms that documents are scored by, in the order of the query, each once. Of those that the last one stands for only such count
/// that a document has which passes the filters: so nothing that passes them not decides what is found. Beyond the first `visited_max` that
/// a document has nobody asks for the filters any more.
fn terms_of(views: &[View<'_>], condition: &TextCondition, visited_max: usize) -> Result<Vec<String>> {
    let mut terms = condition.terms.clone();
    let known: HashSet<&[u8]> = condition.terms.iter().map(String::as_bytes).collect();
    let mut streams = Vec::with_capacity(views.len());
    for view in views {
        streams.push(view.terms_from(&condition.prefix)?);
    }
    let (mut expansions, mut visited) = (0, 0);
    while expansions < EXPANSIONS_MAX {
        let Some(term) = streams.iter().filter_map(Terms::current).min().map(<[u8]>::to_vec) else { break };
        let asks_filters = !condition.filters.is_empty() && visited < visited_max;
        let (mut is_there, mut is_found) = (false, false);
        for (view, stream) in views.iter().zip(&mut streams) {
            if stream.current() != Some(&term[..]) {
                continue;
            }
            is_found = is_found || asks_filters && view.any_found_has(stream, condition)?;
            is_there = is_there || is_found || view.any_has(stream)?;
            stream.advance();
        }
        visited += usize::from(is_there);
        if is_found || is_there && !asks_filters {
            expansions += 1;
            if !known.contains(&term[..]) {
                terms.push(String::from_utf8(term).map_err(|_| damaged("a term is not UTF-8"))?);
            }
        }
    }
    Ok(terms)
}

/// The number of documents with a term that are there, whether or not they pass the filters.
fn document_count(view: &View<'_>, term: &str) -> Result<u64> {
    if view.is_whole() {
        return view.data.document_count(term);
    }
    let mut count = 0;
    view.data.for_each_posting(term, |document, _, _| count += u64::from(view.is_there(document)))?;
    Ok(count)
}

/// The best of all that were added.
struct Best {
    max: usize,
    /// The worst on top.
    heap: BinaryHeap<Reverse<Rank>>,
    /// What is below it is not one of the best.
    least: f32,
}

/// Larger is better. Scores are above 0 and creation times not below, so their bits have their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    score_bits: u32,
    creation_time_bits: u64,
    id: InternalDocumentId,
}

impl Best {
    fn new(max: usize) -> Best {
        Best { max, heap: BinaryHeap::new(), least: 0.0 }
    }

    fn add(&mut self, score: f32, creation_time_bits: u64, id: impl FnOnce() -> InternalDocumentId) {
        let score_bits = score.to_bits();
        if self.heap.len() >= self.max {
            let Some(Reverse(worst)) = self.heap.peek() else { return };
            if (score_bits, creation_time_bits) < (worst.score_bits, worst.creation_time_bits) {
                return;
            }
            let rank = Rank { score_bits, creation_time_bits, id: id() };
            if rank <= *worst {
                return;
            }
            self.heap.pop();
            self.heap.push(Reverse(rank));
        } else {
            self.heap.push(Reverse(Rank { score_bits, creation_time_bits, id: id() }));
        }
        if self.heap.len() >= self.max
            && let Some(Reverse(worst)) = self.heap.peek()
        {
            self.least = f32::from_bits(worst.score_bits);
        }
    }

    fn into_matches(self, matches_max: usize) -> TextMatches {
        let mut ranks: Vec<Rank> = self.heap.into_iter().map(|Reverse(rank)| rank).collect();
        ranks.sort_unstable_by(|one, other| other.cmp(one));
        let more = ranks.len() > matches_max;
        ranks.truncate(matches_max);
        let matches = ranks.into_iter().map(|rank| TextMatch {
            id: rank.id,
            creation_time_bits: rank.creation_time_bits,
            score_bits: rank.score_bits,
        });
        TextMatches { matches: matches.collect(), more }
    }
}
