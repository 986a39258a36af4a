//! From texts to terms.

use std::collections::BTreeMap;

/// Tokens of so many bytes and more are left out, as they stand in the text: before their letters are lowered.
pub const TOKEN_BYTES_END: usize = 32;

/// The tokens of a text, in its order: its runs of letters and digits, as Unicode has them, each letter lowered by itself.
pub fn tokens(text: &str) -> impl Iterator<Item = String> {
    text.split(|character: char| !character.is_alphanumeric())
        .filter(|token| !token.is_empty() && token.len() < TOKEN_BYTES_END)
        .map(lowered)
}

fn lowered(token: &str) -> String {
    match token.is_ascii() {
        true => token.to_ascii_lowercase(),
        false => token.chars().flat_map(char::to_lowercase).collect(),
    }
}

/// The terms of a document: what an index keeps of its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DocumentTerms {
    /// How often each term occurs, by term.
    pub counts: BTreeMap<String, u32>,
    /// The number of tokens.
    pub length: u32,
}

impl DocumentTerms {
    /// Those of a text.
    pub fn of(text: &str) -> DocumentTerms {
        let mut terms = DocumentTerms::default();
        for token in tokens(text) {
            *terms.counts.entry(token).or_default() += 1;
            terms.length += 1;
        }
        terms
    }
}

/// What a query asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryTerms {
    /// In the order of the query, each once, and without the last.
    pub terms: Vec<String>,
    /// The last one, which stands for every term that begins with it.
    pub prefix: String,
}

/// The terms of a query's text; of more than `terms_max` the first ones. `None` if it has none: then nothing matches.
pub fn query_terms(text: &str, terms_max: usize) -> Option<QueryTerms> {
    let mut all: Vec<String> = tokens(text).take(terms_max).collect();
    let prefix = all.pop()?;
    let mut terms: Vec<String> = Vec::with_capacity(all.len());
    for term in all {
        if !terms.contains(&term) {
            terms.push(term);
        }
    }
    Some(QueryTerms { terms, prefix })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        tokens(text).collect()
    }

    #[test]
    fn a_token_is_a_run_of_letters_and_digits() {
        assert_eq!(of("Don't stop-me_now 3.14"), ["don", "t", "stop", "me", "now", "3", "14"]);
        assert_eq!(of("cafe\u{301} ½ Ⅷ"), ["cafe", "½", "ⅷ"]);
        assert_eq!(of("日本語テキスト"), ["日本語テキスト"]);
        assert_eq!(of(" \t-!"), [""; 0]);
    }

    #[test]
    fn long_tokens_are_left_out_by_their_bytes_before_they_are_lowered() {
        let (kept, dropped) = ("x".repeat(31), "x".repeat(32));
        assert_eq!(of(&format!("{kept} {dropped}")), [kept]);
        // Fifteen of two bytes each, which are three bytes each when they are lowered.
        let grows = "İ".repeat(15);
        assert_eq!(of(&grows), [grows.chars().flat_map(char::to_lowercase).collect::<String>()]);
        assert_eq!(of(&"İ".repeat(16)), [""; 0]);
    }

    #[test]
    fn the_last_term_of_a_query_is_a_prefix_and_the_others_count_once() {
        let terms = query_terms("Red red GREEN blue", 16).expect("it has terms");
        assert_eq!(
            (terms.terms, terms.prefix),
            (vec!["red".to_owned(), "green".to_owned()], "blue".to_owned())
        );
        let cut = query_terms("a b c d", 3).expect("it has terms");
        assert_eq!((cut.terms, cut.prefix), (vec!["a".to_owned(), "b".to_owned()], "c".to_owned()));
        assert_eq!(query_terms("?!", 16), None);
    }

    #[test]
    fn the_terms_of_a_document_are_counted() {
        let terms = DocumentTerms::of("b a B");
        assert_eq!(terms.length, 3);
        assert_eq!(terms.counts, BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]));
    }
}
