//! How documents are walked over, whatever store they lie in.

use crate::{
    apply::{ApplyError, Store},
    gaps::Gaps,
};

/// A store whose documents can be walked over.
pub trait Walk: Store {
    type Cursor<'s>: Cursor
    where
        Self: 's;

    /// Walks over the rows of [`crate::apply::Family::Data`] as they are now.
    fn cursor(&self, bounds: Bounds) -> Self::Cursor<'_>;

    /// Where no documents are.
    fn gaps(&self) -> &Gaps;
}

/// What a cursor can come to.
pub enum Bounds {
    /// The versions of the key that it is sent to first.
    OneKey,
    /// What is at `lower` or behind it, and before `upper`.
    Range { lower: Vec<u8>, upper: Vec<u8> },
}

/// A place between rows. It sees the store as it was when it was made, or refreshed.
pub trait Cursor {
    /// Goes to the first row at this key or behind it.
    fn seek(&mut self, to: &[u8]);

    /// Goes to the last row at this key or before it.
    fn seek_for_prev(&mut self, to: &[u8]);

    fn next(&mut self);

    fn prev(&mut self);

    /// The row at which it is; `None` behind the last, before the first, and after a failure.
    fn item(&self) -> Option<(&[u8], &[u8])>;

    fn key(&self) -> Option<&[u8]> {
        self.item().map(|(key, _)| key)
    }

    /// The failure, where there is no row because of one.
    fn status(&self) -> Result<(), ApplyError>;

    /// From here on it sees the store as it is now. It is at no row.
    fn refresh(&mut self) -> Result<(), ApplyError>;
}
