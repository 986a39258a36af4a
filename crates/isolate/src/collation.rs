//! The order of strings as readers of English expect it: that of CLDR's root, which English uses.

use std::cmp::Ordering;
use std::sync::OnceLock;

use icu_collator::options::{CaseLevel, CollatorOptions, Strength};
use icu_collator::preferences::CollationNumericOrdering;
use icu_collator::{Collator, CollatorBorrowed, CollatorPreferences};

/// How many ways to compare there are.
pub const WAYS: usize = 8;

/// Compares two texts: -1, 0 or 1. `way` is one of platform/locale.js: the sensitivity (variant, base, accent, case), and
/// four more where digits count as numbers. Linear in the texts, on the time of who asks.
pub fn compare(way: usize, a: &[u8], b: &[u8]) -> Result<String, String> {
    static COLLATORS: [OnceLock<CollatorBorrowed<'static>>; WAYS] = [const { OnceLock::new() }; WAYS];
    let collator = match COLLATORS[way].get() {
        Some(collator) => collator,
        None => {
            let made =
                collator(way).map_err(|error| format!("the data for the order of strings: {error}"))?;
            COLLATORS[way].get_or_init(|| made)
        }
    };
    Ok(match collator.compare_utf8(a, b) {
        Ordering::Less => "-1",
        Ordering::Equal => "0",
        Ordering::Greater => "1",
    }
    .into())
}

fn collator(way: usize) -> Result<CollatorBorrowed<'static>, impl std::fmt::Display> {
    let mut options = CollatorOptions::default();
    options.strength = Some(match way % 4 {
        0 => Strength::Tertiary,
        2 => Strength::Secondary,
        _ => Strength::Primary,
    });
    options.case_level = Some(if way % 4 == 3 { CaseLevel::On } else { CaseLevel::Off });
    let mut preferences = CollatorPreferences::default();
    preferences.numeric_ordering = (way >= 4).then_some(CollationNumericOrdering::True);
    Collator::try_new(preferences, options)
}
