//! Transactions over a log: in memory for the most part, which can be inspected; the real one where that is what matters.

mod catalogs;
#[path = "../common/mod.rs"]
mod common;
mod components;
mod crons;
mod documents;
mod erasure;
mod files;
mod nested;
mod on_the_log;
mod pages;
mod queries;
mod schedules;
