//! Actions: functions outside of transactions, which wait for the world.
//!
//! ```text
//!   due               those whose time has come: claimed before they begin, so that they run at most once
//!     └ leases        whether the processes that have claimed some are there
//!   run               an action from its admission to its end, in a task of its own
//!     ├ places        how many there may be at the same time, and how much memory they may have
//!     ├ host          what the function gets at once: the clock, the console, an end to what it waits for
//!     ├ node          an action that runs in a process of Node.js in place of an isolate
//!     └ operations    what it waits for
//!         ├ calls     functions that it calls, and what it asks about itself
//!         ├ alone     operations that have a transaction to themselves: to schedule, to delete a file
//!         ├ blobs     the bytes of files
//!         ├ vectors   vector searches
//!         ├ timers
//!         ├ fetches   requests to other servers
//!         └ exchange  the request that an HTTP action answers, and its answer
//!   requests          HTTP actions, from the router to the answer
//! ```
//!
//! A step of an action is a job for a thread for JavaScript like any call. Between two steps the action is the memory of its
//! isolate and a task that waits; it holds no thread, and the next step may run on another one.

mod alone;
mod blobs;
mod calls;
mod due;
mod exchange;
mod fetches;
mod host;
mod leases;
mod node;
mod operations;
mod places;
mod requests;
mod run;
mod timers;
mod vectors;

pub(crate) use places::Actions;
