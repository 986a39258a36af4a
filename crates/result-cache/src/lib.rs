//! A cache of query results that knows when each ends: what a query answered, what it read for that, and from when until
//! when the answer holds.
//!
//! A result holds from the moment of its run up to the first commit that touches what it read; nothing is known about
//! the time after. [`Results`] follows a deployment's commit stream and keeps exactly the results that hold at the
//! newest moment it knows of. It is told every commit; it tells who listened to a result that no longer holds. Where
//! the stream has a gap, everything is dropped: what can't be proved to hold is never served.
//!
//! [`IntervalIndex`] finds the results that a key belongs to. Whether a result whose run took a while still holds now is
//! found in the newest commits, which are kept for that.
//!
//! [`Flights`] sees to it that a question which is being answered is not asked again.
//!
//! Everything here is plain data: no clock, no tasks, no locks.

mod flights;
mod interval_index;
mod results;
mod search_index;

pub use flights::{AnsweredFor, Flight, FlightId, Flights, Relieved};
pub use interval_index::IntervalIndex;
pub use results::{CachedResult, EntryId, Results};
