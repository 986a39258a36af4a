//! The contract of the search service.

use contract::{
    IndexId, TextCondition, TextFilter, TextMatches, TextSearch, Timestamp, VectorMatch, VectorSearch,
    WrittenText,
};
use relevance::{filter_value, query_terms};
use value::Value;

use crate::{SearchSubject, SearchedDocument};

fn document(text: &'static str, vector: [f64; 2], kind: &'static str) -> SearchedDocument {
    SearchedDocument { text, vector, kind, is_deleted: false }
}

fn filter(kind: &str) -> TextFilter {
    TextFilter { field: 0, value: filter_value(Some(&Value::String(kind.to_owned()))) }
}

impl SearchSubject {
    async fn write(&self, text: &'static str, kind: &'static str) -> Timestamp {
        (self.write)(document(text, [1.0, 0.0], kind)).await
    }

    async fn delete(&self, text: &'static str) -> Timestamp {
        (self.write)(SearchedDocument { is_deleted: true, ..document(text, [0.0, 0.0], "") }).await
    }

    fn asked(&self, text: &str, at: Timestamp) -> TextSearch {
        let terms = query_terms(text, 16).expect("it has terms");
        TextSearch {
            deployment: self.deployment,
            index: self.text,
            at,
            condition: TextCondition { terms: terms.terms, prefix: terms.prefix, filters: Vec::new() },
            matches_max: 1_024,
            replaced: Vec::new(),
            written: Vec::new(),
        }
    }

    async fn found(&self, text: &str, at: Timestamp) -> TextMatches {
        self.search.search_text(self.asked(text, at)).await.expect("it is answered")
    }

    async fn nearest(
        &self,
        vector: [f32; 2],
        not_before: Timestamp,
        any_of: Vec<TextFilter>,
    ) -> Vec<VectorMatch> {
        let search = VectorSearch {
            deployment: self.deployment,
            index: self.vectors,
            not_before,
            vector: vector.to_vec(),
            any_of,
            matches_max: 2,
        };
        self.search.search_vectors(search).await.expect("it is answered")
    }
}

pub async fn the_best_comes_first_and_of_equal_ones_the_newest(subject: SearchSubject) {
    subject.write("red apple", "a").await;
    subject.write("red pear", "a").await;
    subject.write("red red red", "a").await;
    let at = subject.write("green", "a").await;
    let found = subject.found("red", at).await;
    assert_eq!(found.matches.len(), 3);
    let scores: Vec<f32> = found.matches.iter().map(|found| f32::from_bits(found.score_bits)).collect();
    assert!(scores[0] > scores[1] && scores[1] == scores[2], "{scores:?}");
    let times: Vec<f64> =
        found.matches.iter().map(|found| f64::from_bits(found.creation_time_bits)).collect();
    assert!(times[1] > times[2], "{times:?}");
    assert!(!found.more);
    let one = TextSearch { matches_max: 1, ..subject.asked("red", at) };
    let one = subject.search.search_text(one).await.expect("it is answered");
    assert_eq!((one.matches, one.more), (vec![found.matches[0]], true));
    assert_eq!(subject.found("gre", at).await.matches.len(), 1, "the last term is a prefix");
    assert_eq!(subject.found("gre red", at).await.matches.len(), 3, "and no other");
}

pub async fn a_search_sees_its_moment_and_no_other(subject: SearchSubject) {
    let before = subject.write("other", "a").await;
    let one = subject.write("blue one", "a").await;
    let two = subject.write("blue two", "a").await;
    let gone = subject.delete("blue one").await;
    let counts = [before, one, two, gone].map(|at| (at, subject.found("blue", at)));
    for ((_, found), expected) in counts.into_iter().zip([0, 1, 2, 1]) {
        assert_eq!(found.await.matches.len(), expected);
    }
    // The scores of a moment stay what they were.
    let first = subject.found("blue", two).await;
    subject.write("blue blue blue", "a").await;
    assert_eq!(subject.found("blue", two).await, first);
}

pub async fn what_the_transaction_has_written_stands_in_the_place_of_what_is_there(subject: SearchSubject) {
    let at = subject.write("black cat", "a").await;
    let there = subject.found("black", at).await.matches[0];
    let own = |text: &str| WrittenText {
        id: there.id,
        creation_time_bits: there.creation_time_bits,
        filters: vec![filter("a").value],
        terms: relevance::DocumentTerms::of(text).counts.into_iter().collect(),
    };
    let asked = |text: &str, written: Option<WrittenText>| TextSearch {
        replaced: vec![there.id],
        written: written.into_iter().collect(),
        ..subject.asked(text, at)
    };
    let count =
        async |search| subject.search.search_text(search).await.expect("it is answered").matches.len();
    assert_eq!(count(asked("black", Some(own("white cat")))).await, 0);
    assert_eq!(count(asked("white", Some(own("white cat")))).await, 1);
    assert_eq!(count(asked("cat", None)).await, 0, "it was deleted");
    assert_eq!(subject.found("black", at).await.matches, [there], "only for the transaction");
}

pub async fn filters_leave_out_what_does_not_pass(subject: SearchSubject) {
    subject.write("one fish", "sea").await;
    let at = subject.write("two fish", "river").await;
    for (kind, expected) in [("sea", 1), ("river", 1), ("lake", 0)] {
        let mut search = subject.asked("fish", at);
        search.condition.filters = vec![filter(kind)];
        let found = subject.search.search_text(search).await.expect("it is answered");
        assert_eq!(found.matches.len(), expected, "{kind}");
    }
    let near = subject.nearest([1.0, 0.0], at, vec![filter("sea"), filter("lake")]).await;
    assert_eq!(near.len(), 1, "any of them");
}

pub async fn the_nearest_vectors_come_first_and_deleted_ones_never(subject: SearchSubject) {
    for (text, vector) in [("far", [-1.0, 0.0]), ("near", [2.0, 0.1]), ("nearest", [5.0, 0.0])] {
        (subject.write)(document(text, vector, "a")).await;
    }
    let at = subject.write("and", "a").await;
    let near = subject.nearest([1.0, 0.0], at, Vec::new()).await;
    assert_eq!(near.len(), 2);
    assert!((near[0].score - 1.0).abs() < 1e-5 && near[0].score >= near[1].score, "{near:?}");
    for text in ["nearest", "and", "near"] {
        let gone = subject.delete(text).await;
        let left = subject.nearest([1.0, 0.0], gone, Vec::new()).await;
        assert!(!left.is_empty() && left.len() <= 2);
    }
    let at = subject.delete("far").await;
    assert_eq!(subject.nearest([1.0, 0.0], at, Vec::new()).await, []);
}

pub async fn an_index_that_is_not_there_is_not_found(subject: SearchSubject) {
    let at = subject.write("here", "a").await;
    let search = TextSearch { index: IndexId([99; 16]), ..subject.asked("here", at) };
    let error = subject.search.search_text(search).await.expect_err("there is none");
    assert_eq!(error.code, "IndexNotFoundError");
    let state = subject.search.search_index(subject.deployment, subject.text).await.expect("it is known");
    assert!(state.is_complete && state.documents == 1, "{state:?}");
}
