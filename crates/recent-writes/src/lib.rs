//! What was written lately, by index key.
//!
//! [`Window`] keeps the newest commits within a bound, and tells whether one of them wrote something that a read set
//! holds. The log validates commits by it; live queries find out by it whether the answer of a run still holds when it is
//! there.

mod window;

pub use window::{ConflictingWrite, Window};
