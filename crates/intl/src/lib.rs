//! What ECMA-402 (`Intl`) leaves to the host: texts of numbers, dates and lists in people's languages, the order of strings, their
//! segments, names of languages and places. Nothing here reads a clock, an environment or a file: the same request has the same answer in
//! every process of the same build.

mod civil;
mod collator;
mod data;
mod date;
mod decimal;
mod digits;
mod error;
mod interval;
mod limits;
mod list;
mod locale;
mod names;
mod number;
mod part;
mod plural;
mod relative;
mod segment;
mod service;
mod skeleton;
mod tags;
mod zone;

pub use error::Error;
pub use service::answer;
