//! `Intl.Segmenter`.

use icu_segmenter::options::{SentenceBreakInvariantOptions, WordBreakInvariantOptions};
use icu_segmenter::{
    GraphemeClusterSegmenter, SentenceSegmenter, SentenceSegmenterBorrowed, WordSegmenter,
    WordSegmenterBorrowed,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::Result;
use crate::locale;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct SegmentOptions {
    granularity: Option<String>,
}

pub struct Segmenter {
    locale: String,
    granularity: String,
    kind: Kind,
}

enum Kind {
    Grapheme,
    Word(WordSegmenterBorrowed<'static>),
    Sentence(SentenceSegmenterBorrowed<'static>),
}

impl Segmenter {
    pub fn new(locales: &[String], options: SegmentOptions) -> Result<Segmenter> {
        let chosen = locale::choose(locales)?;
        let granularity = options.granularity.unwrap_or_else(|| "grapheme".into());
        let kind = match granularity.as_str() {
            // By dictionaries where words have no spaces between them, as Node.js has it; models take too long on long texts.
            "word" => Kind::Word(WordSegmenter::new_dictionary(WordBreakInvariantOptions::default())),
            "sentence" => Kind::Sentence(SentenceSegmenter::new(SentenceBreakInvariantOptions::default())),
            _ => Kind::Grapheme,
        };
        Ok(Segmenter { locale: chosen.name, granularity, kind })
    }

    /// Where segments end, in UTF-16 code units, and of words whether they are ones (1, else 0): `[end, is_word, end, …]`.
    pub fn segment(&self, text: &str) -> Vec<u32> {
        let mut result = Vec::new();
        let (mut bytes, mut units) = (0, 0);
        let mut push = |end: usize, is_word: bool| {
            if end > bytes {
                units += text[bytes..end].chars().map(|character| character.len_utf16() as u32).sum::<u32>();
                bytes = end;
                result.extend([units, u32::from(is_word)]);
            }
        };
        match &self.kind {
            Kind::Grapheme => {
                GraphemeClusterSegmenter::new().segment_str(text).for_each(|end| push(end, false));
            }
            Kind::Word(segmenter) => {
                let words = segmenter.segment_str(text).iter_with_word_type();
                words.for_each(|(end, kind)| push(end, kind.is_word_like()));
            }
            Kind::Sentence(segmenter) => segmenter.segment_str(text).for_each(|end| push(end, false)),
        }
        result
    }

    pub fn resolved(&self) -> Value {
        json!({ "locale": self.locale, "granularity": self.granularity })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(granularity: &str, text: &str) -> Vec<u32> {
        let options = SegmentOptions { granularity: Some(granularity.into()) };
        Segmenter::new(&["en".into()], options).expect("a segmenter").segment(text)
    }

    #[test]
    fn ends_are_counted_in_code_units() {
        assert_eq!(segments("grapheme", "a😀e\u{301}"), [1, 0, 3, 0, 5, 0]);
        assert_eq!(segments("word", "Hi, 5"), [2, 1, 3, 0, 4, 0, 5, 1]);
        assert_eq!(segments("sentence", "One. Two."), [5, 0, 9, 0]);
        assert!(segments("word", "").is_empty());
    }
}
