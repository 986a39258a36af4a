//! Which requests are traced.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Parts of a whole that ratios count in.
const WHOLE: u128 = 1_000_000;

/// Chooses requests evenly, and bounds what callers ask for.
#[derive(Debug)]
pub struct Sampling {
    ratio: u128,
    seen: AtomicU64,
    asked_max: u64,
    /// The second at which callers have asked last, and how often.
    asked: Mutex<(u64, u64)>,
}

impl Sampling {
    /// `ratio` is between 0 and 1; callers may ask for `asked_max` traces a second.
    pub fn new(ratio: f64, asked_max: u64) -> Sampling {
        let ratio = (ratio.clamp(0.0, 1.0) * WHOLE as f64).round() as u128;
        Sampling { ratio, seen: AtomicU64::new(0), asked_max, asked: Mutex::default() }
    }

    /// Whether the next request that brings no wish of its own is traced: of any thousand in a row so many as the ratio says.
    pub fn chooses(&self) -> bool {
        if self.ratio == 0 {
            return false;
        }
        let before = u128::from(self.seen.fetch_add(1, Ordering::Relaxed));
        (before + 1) * self.ratio / WHOLE > before * self.ratio / WHOLE
    }

    /// Whether a request is traced whose caller asks for it, at `now` since some beginning.
    pub fn grants(&self, now: Duration) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.0 != now.as_secs() {
            *asked = (now.as_secs(), 0);
        }
        asked.1 += 1;
        asked.1 <= self.asked_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_chosen_as_the_ratio_says_and_evenly() {
        for (ratio, expected) in [(0.0, 0), (0.001, 1), (0.25, 250), (1.0, 1_000), (7.0, 1_000), (-1.0, 0)] {
            let sampling = Sampling::new(ratio, 0);
            let chosen: Vec<usize> = (0..1_000).filter(|_| sampling.chooses()).collect();
            assert_eq!(chosen.len(), expected, "{ratio}");
            let distance = |pair: &[usize]| pair[1] - pair[0];
            assert!(ratio != 0.25 || chosen.windows(2).all(|pair| distance(pair) == 4), "{chosen:?}");
        }
    }

    #[test]
    fn callers_get_so_many_traces_a_second() {
        let sampling = Sampling::new(0.0, 2);
        let granted = |ms| sampling.grants(Duration::from_millis(ms));
        assert_eq!([granted(0), granted(500), granted(999)], [true, true, false]);
        assert_eq!([granted(1_000), granted(1_001), granted(1_002)], [true, true, false]);
    }
}
