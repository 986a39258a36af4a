//! How long well-behaved functions take beside hostile ones in the same server, and how long without them.
//!
//! A query of ten documents and a mutation that writes one are called at an even pace, in turns: a while with nothing else, a while
//! beside callers of functions that loop, backtrack, fill memory, recurse, write, print and answer until a limit ends them. A call
//! counts from when it was due, so that one that is late counts against those behind it, too.
//!
//! Several builds can be measured in one run; they take turns.
#![allow(clippy::print_stdout, reason = "a report is what this program is for")]

mod hostile;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use harness::{Report, Server, Spread, processes::load};
use hostile::Hostile;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

/// Hostile calls are under way for so long before anything is measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// Measures functions beside hostile ones.
#[derive(Parser)]
struct Arguments {
    /// How long each turn lasts.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How many turns there are of each sort.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Calls a second, of the query and of the mutation each.
    #[arg(long, default_value_t = 50)]
    per_second: u32,
    /// Callers of hostile functions.
    #[arg(long, default_value_t = 4)]
    hostile: usize,
    /// Which of these they call; by default all.
    #[arg(long, value_delimiter = ',')]
    functions: Vec<String>,
    /// A configuration file for the servers.
    #[arg(long)]
    config: Option<PathBuf>,
    /// A server; more than one are compared. By default the one built beside this program.
    #[arg(long)]
    tidemark: Vec<PathBuf>,
    /// The folder with the app.
    #[arg(long, default_value = "bench/neighbour/app")]
    app: PathBuf,
}

/// One kind of call in one turn after the other.
#[derive(Default)]
struct Measured {
    quiet: Vec<Report>,
    beside: Vec<Report>,
}

struct Subject {
    name: String,
    server: Arc<Server>,
    query: Measured,
    mutation: Measured,
    /// Hostile calls that have ended, each by a limit.
    ended: u64,
    _folder: tempfile::TempDir,
}

impl Subject {
    async fn start(binary: &Path, arguments: &Arguments) -> Result<Subject> {
        let folder = tempfile::tempdir()?;
        let config = arguments.config.as_deref();
        let server = Server::start_with(binary, &folder.path().join("data"), config).await?;
        server.push(&arguments.app).await?;
        let subject = Subject {
            name: binary.display().to_string(),
            server: Arc::new(server),
            query: Measured::default(),
            mutation: Measured::default(),
            ended: 0,
            _folder: folder,
        };
        // What the first calls need is there before anything is measured.
        subject.turn(arguments).await?;
        Ok(subject)
    }

    /// Queries and mutations for the length of a turn.
    async fn turn(&self, arguments: &Arguments) -> Result<(Report, Report)> {
        let query = self.call("query", "neighbour:latest", json!({}), arguments);
        let mutation = self.call("mutation", "neighbour:add", json!({"text": "a message"}), arguments);
        tokio::try_join!(query, mutation)
    }

    /// Calls at an even pace, one after the other.
    async fn call(&self, kind: &str, path: &str, args: Value, arguments: &Arguments) -> Result<Report> {
        let begin = Instant::now();
        let pause = Duration::from_secs(1) / arguments.per_second.max(1);
        let calls = u32::try_from(arguments.seconds)? * arguments.per_second.max(1);
        let mut latencies_us = Vec::new();
        for number in 0..calls {
            let mut due = begin + pause * number;
            if Instant::now() < due {
                sleep_until(due).await;
                // A timer is late by up to a millisecond, which is nobody's fault here.
                due = Instant::now();
            }
            self.server.call(kind, path, args.clone()).await?;
            latencies_us.push(u32::try_from(due.elapsed().as_micros())?);
        }
        latencies_us.sort_unstable();
        Ok(Report {
            answered: u64::from(calls),
            failed: 0,
            elapsed: begin.elapsed(),
            latencies_us,
            first_failure: None,
        })
    }

    async fn round(&mut self, arguments: &Arguments) -> Result<()> {
        let (query, mutation) = self.turn(arguments).await?;
        self.query.quiet.push(query);
        self.mutation.quiet.push(mutation);
        let hostile = Hostile::start(&self.server, arguments.hostile, &arguments.functions);
        sleep(WARM_UP).await;
        let (query, mutation) = self.turn(arguments).await?;
        self.query.beside.push(query);
        self.mutation.beside.push(mutation);
        self.ended += hostile.stop().await?;
        Ok(())
    }

    async fn stop(self) -> Result<()> {
        Arc::into_inner(self.server).context("somebody still calls")?.stop().await
    }
}

/// A line of the report.
fn print(name: &str, call: &str, Measured { quiet, beside }: &Measured) {
    let at = |reports: &[Report], share| Spread::of(reports.iter().map(|report| report.percentile_ms(share)));
    let p99 = |report: &Report| report.percentile_ms(0.99);
    let times = Spread::of(quiet.iter().zip(beside).map(|(quiet, beside)| p99(beside) / p99(quiet)));
    println!(
        "| {name} | {call} | {:.1} | {:.1} | {:.1} | {:.1} | {times:.2} |",
        at(quiet, 0.5),
        at(beside, 0.5),
        at(quiet, 0.99),
        at(beside, 0.99),
    );
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = Arguments::parse();
    if arguments.functions.is_empty() {
        arguments.functions = Hostile::names();
    }
    let unknown = arguments.functions.iter().find(|name| !Hostile::names().contains(name));
    ensure!(
        unknown.is_none(),
        "{} is none of {}",
        unknown.map_or("", String::as_str),
        Hostile::names().join(", ")
    );
    let mut subjects = Vec::new();
    for binary in Server::binaries(&arguments.tidemark)? {
        subjects.push(Subject::start(&binary, &arguments).await?);
    }
    for _ in 0..arguments.rounds.max(1) {
        for subject in &mut subjects {
            subject.round(&arguments).await?;
        }
    }
    println!(
        "{} calls of each kind a second, {} callers of {}, {} rounds of {} s; median (least to most of the rounds), load {}",
        arguments.per_second,
        arguments.hostile,
        arguments.functions.join(", "),
        arguments.rounds,
        arguments.seconds,
        load(),
    );
    println!(
        "| server | call | p50 ms, quiet | p50 ms, beside | p99 ms, quiet | p99 ms, beside | p99 times |"
    );
    println!("|---|---|---|---|---|---|---|");
    for subject in &subjects {
        print(&subject.name, "query", &subject.query);
        print(&subject.name, "mutation", &subject.mutation);
    }
    for subject in subjects {
        println!("{}: {} hostile calls ended, each by a limit.", subject.name, subject.ended);
        subject.stop().await?;
    }
    Ok(())
}
