//! The order of strings as readers of English expect it: that of CLDR's root, which English uses. What asks for another one takes
//! the longer way over crate intl.

use std::cmp::Ordering;
use std::sync::LazyLock;

use icu_collator::options::CollatorOptions;
use icu_collator::{Collator, CollatorBorrowed, CollatorPreferences};

type Made = Result<CollatorBorrowed<'static>, String>;

static COLLATOR: LazyLock<Made> = LazyLock::new(|| {
    Collator::try_new(CollatorPreferences::default(), CollatorOptions::default())
        .map_err(|error| format!("the data for the order of strings: {error}"))
});

/// Compares two texts: -1, 0 or 1. Linear in the texts, on the time of who asks.
pub fn compare(a: &[u8], b: &[u8]) -> Result<String, String> {
    Ok(match COLLATOR.as_ref().map_err(Clone::clone)?.compare_utf8(a, b) {
        Ordering::Less => "-1",
        Ordering::Equal => "0",
        Ordering::Greater => "1",
    }
    .into())
}
