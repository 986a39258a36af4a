//! Okapi BM25, in 32 bits: <https://en.wikipedia.org/wiki/Okapi_BM25>.

/// How soon the repetition of a term counts no more.
const K1: f32 = 1.2;
/// How much the length of a text counts against it.
const B: f32 = 0.75;

/// What is known of all documents of an index, whatever a query filters by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// How many there are.
    pub documents: u64,
    /// Their tokens together.
    pub tokens: u64,
}

/// The length of a text as scores count it: a byte, exact up to 40 tokens, then in steps that grow with it.
///
/// The encoding is that of Lucene's `SmallFloat.intToByte4`, which tantivy has too: a floating point number with three bits behind the
/// first, shifted so that the small numbers are themselves.
pub fn norm_of(length: u32) -> u8 {
    if length < EXACT_BELOW {
        return length as u8;
    }
    let rest = length - EXACT_BELOW;
    let bits = u32::BITS - rest.leading_zeros();
    let encoded = match bits < 4 {
        true => rest,
        false => {
            let shift = bits - 4;
            (rest >> shift & 0x07) | (shift + 1) << 3
        }
    };
    u8::try_from(EXACT_BELOW + encoded).unwrap_or(u8::MAX)
}

/// The smallest length with this norm.
pub const fn length_of(norm: u8) -> u32 {
    let norm = norm as u32;
    if norm < EXACT_BELOW {
        return norm;
    }
    let encoded = norm - EXACT_BELOW;
    let (bits, shift) = (encoded & 0x07, encoded >> 3);
    EXACT_BELOW
        + match shift {
            0 => bits,
            shift => (bits | 0x08) << (shift - 1),
        }
}

/// Lengths below it are their own norms: so many values a byte has left.
const EXACT_BELOW: u32 = 24;

/// What the length of a text makes of its scores, by norm.
#[derive(Clone, Debug)]
pub struct Norms([f32; 256]);

impl Norms {
    /// For an index with these documents.
    pub fn new(statistics: Statistics) -> Norms {
        let average = statistics.tokens as f32 / statistics.documents.max(1) as f32;
        // Where no document has a token, none is scored.
        let average = if average > 0.0 { average } else { 1.0 };
        let mut norms = [0.0; 256];
        for (norm, part) in norms.iter_mut().enumerate() {
            *part = K1 * (1.0 - B + B * length_of(norm as u8) as f32 / average);
        }
        Norms(norms)
    }
}

/// How much a term counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weight(f32);

impl Weight {
    /// Of a term that `documents_with_it` of all have.
    pub fn of(statistics: Statistics, documents_with_it: u64) -> Weight {
        let without = statistics.documents.saturating_sub(documents_with_it) as f32;
        let rarity = (1.0 + (without + 0.5) / (documents_with_it as f32 + 0.5)).ln();
        Weight(rarity * (1.0 + K1))
    }

    /// What the term adds to the score of a document that has it `count` times; always above 0. The score is the sum over the terms in
    /// the order of the query, added up in 32 bits.
    #[inline]
    pub fn score(self, count: u32, norm: u8, norms: &Norms) -> f32 {
        let count = count as f32;
        self.0 * (count / (count + norms.0[norm as usize]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_norm_is_of_the_largest_length_that_is_not_longer() {
        assert_eq!(norm_of(0), 0);
        assert_eq!((norm_of(39), norm_of(40), norm_of(41)), (39, 40, 40));
        // As in the published tables: 96 to 103 tokens are one.
        assert_eq!(norm_of(96), norm_of(103));
        assert_ne!(norm_of(95), norm_of(96));
        assert_ne!(norm_of(103), norm_of(104));
        for norm in 0..=u8::MAX {
            assert_eq!(norm_of(length_of(norm)), norm);
            if norm > 0 {
                assert_eq!(norm_of(length_of(norm) - 1), norm - 1);
            }
        }
        assert_eq!(norm_of(u32::MAX), u8::MAX);
    }

    #[test]
    fn rare_terms_short_texts_and_repetition_count_more() {
        let statistics = Statistics { documents: 100, tokens: 2_000 };
        let norms = Norms::new(statistics);
        let (rare, common) = (Weight::of(statistics, 1), Weight::of(statistics, 90));
        assert!(rare.score(1, norm_of(20), &norms) > common.score(1, norm_of(20), &norms));
        assert!(rare.score(1, norm_of(10), &norms) > rare.score(1, norm_of(20), &norms));
        assert!(rare.score(2, norm_of(20), &norms) > rare.score(1, norm_of(20), &norms));
        assert!(Weight::of(statistics, 100).score(1, u8::MAX, &norms) > 0.0);
        assert!(Weight::of(Statistics::default(), 0).score(1, 1, &Norms::new(Statistics::default())) > 0.0);
    }

    #[test]
    fn the_formula_is_the_published_one() {
        let statistics = Statistics { documents: 10, tokens: 100 };
        let score = Weight::of(statistics, 3).score(2, norm_of(20), &Norms::new(statistics));
        let rarity = (1.0_f64 + (10.0 - 3.0 + 0.5) / (3.0 + 0.5)).ln();
        let expected = rarity * 2.0 * 2.2 / (2.0 + 1.2 * (0.25 + 0.75 * 20.0 / 10.0));
        assert!((f64::from(score) - expected).abs() < 1e-6, "{score} {expected}");
    }
}
