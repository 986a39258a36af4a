//! Searches, as transactions and actions have them answered: by the search service on a log, in one process.
//!
//! `text` fills a table with texts of about 1 KB, in words by Zipf's law, replaces and deletes some of them, and fills the same into PostgreSQL with
//! its full text search (GIN, `ts_rank`); then both answer the same queries: of three words any may be there, the last one is a prefix, the best come
//! first. PostgreSQL has `work_mem = 256MB` and `jit = off`. `vectors` fills a table with vectors around
//! centres, and has them searched by the service and by one that compares them one by one: how many of the ten nearest are found, and how much faster.
#![allow(clippy::print_stdout, reason = "a report is what this program is for")]

mod stand;
mod text;
mod vectors;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures searches.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    work: Work,
    /// Where the data lies; by default in the system's folder for temporary files.
    #[arg(long, global = true)]
    folder: Option<std::path::PathBuf>,
    /// Draws the data and the queries.
    #[arg(long, global = true, default_value_t = 7)]
    seed: u64,
}

#[derive(Subcommand)]
enum Work {
    /// Text search beside PostgreSQL's.
    Text(text::Arguments),
    /// Vector search beside an exact one.
    Vectors(vectors::Arguments),
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { work, folder, seed } = Arguments::parse();
    let folder = match folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    println!("seed {seed}, load {}", harness::processes::load());
    match work {
        Work::Text(arguments) => text::run(&arguments, folder.path(), seed).await,
        Work::Vectors(arguments) => vectors::run(&arguments, folder.path(), seed).await,
    }
}
