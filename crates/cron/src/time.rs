//! A moment, as the scheduler counts.

use std::fmt;

/// Milliseconds since the Unix epoch, up to the end of the year 9999. Unlike a commit's timestamp it is a reading of a clock, or
/// computed from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMs(u64);

impl UnixMs {
    /// The last millisecond of the year 9999: what comes later never comes.
    pub const MAX: UnixMs = UnixMs(253_402_300_799_999);

    /// `None` behind the year 9999.
    pub const fn new(milliseconds: u64) -> Option<UnixMs> {
        if milliseconds <= UnixMs::MAX.0 { Some(UnixMs(milliseconds)) } else { None }
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_milliseconds(self) -> u64 {
        self.0
    }

    /// So many milliseconds later; `None` behind the year 9999.
    pub(crate) fn later(self, milliseconds: u64) -> Option<UnixMs> {
        UnixMs::new(self.0.checked_add(milliseconds)?)
    }

    /// So many milliseconds earlier, at the earliest the epoch.
    pub(crate) fn earlier(self, milliseconds: u64) -> UnixMs {
        UnixMs(self.0.saturating_sub(milliseconds))
    }
}

impl fmt::Display for UnixMs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
