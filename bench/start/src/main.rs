//! How long `tidemark dev` takes from the start of its process until it serves: on an empty folder, after it was stopped
//! in order, and after it was killed.
#![allow(clippy::print_stdout, reason = "a report is what this program is for")]

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::Parser;
use harness::Server;

/// Measures how long Tidemark takes to start.
#[derive(Parser)]
struct Arguments {
    /// Starts of each kind.
    #[arg(long, default_value_t = 10)]
    starts: usize,
    /// The server; by default the one built beside this program.
    #[arg(long)]
    tidemark: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let binary = match arguments.tidemark {
        Some(binary) => binary,
        None => Server::binary()?,
    };
    let (mut empty, mut stopped, mut killed) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..arguments.starts.max(1) {
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("data");
        let server = Server::start(&binary, &data).await?;
        empty.push(server.started_in);
        server.stop().await?;
        let server = Server::start(&binary, &data).await?;
        stopped.push(server.started_in);
        server.kill().await?;
        let server = Server::start(&binary, &data).await?;
        killed.push(server.started_in);
        server.stop().await?;
    }
    println!("{:<24} {:>9} {:>9} {:>9}", "start of tidemark dev", "min ms", "median ms", "max ms");
    for (name, times) in
        [("on an empty folder", &mut empty), ("after a stop", &mut stopped), ("after a kill", &mut killed)]
    {
        times.sort_unstable();
        let at = |index: usize| times.get(index).map_or(0.0, |time: &Duration| time.as_secs_f64() * 1e3);
        println!(
            "{name:<24} {:>9.0} {:>9.0} {:>9.0}",
            at(0),
            at(times.len() / 2),
            at(times.len().saturating_sub(1))
        );
    }
    Ok(())
}
