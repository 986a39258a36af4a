//! A queue in a store that holds other data: jobs are added at one end and deleted at the other, and a thousand are
//! there at any time. What costs the first row of it, beside that of a queue that nobody takes from, and what the store takes
//! on the disk, after so many deletions?
//!
//! Several builds can be measured in one run; they take turns.
#![allow(clippy::print_stdout, reason = "a report is what this program is for")]

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use harness::Server;
use serde_json::json;

/// After how many deletions is measured; then at every further ten million.
const MARKS: [u64; 10] =
    [0, 50_000, 100_000, 200_000, 400_000, 1_000_000, 2_000_000, 3_000_000, 5_000_000, 10_000_000];
const DOCUMENTS_PER_MUTATION: u64 = 1_000;

/// Measures a queue's first row.
#[derive(Parser)]
struct Arguments {
    /// Jobs that are deleted.
    #[arg(long, default_value_t = 10_000_000)]
    deletions: u64,
    /// Jobs that are there.
    #[arg(long, default_value_t = 1_000)]
    alive: u64,
    /// Jobs that one mutation deletes and adds.
    #[arg(long, default_value_t = 500)]
    batch: u64,
    /// Documents of other tables.
    #[arg(long, default_value_t = 288_000)]
    others: u64,
    /// Bytes of each of them.
    #[arg(long, default_value_t = 1_024)]
    other_bytes: u64,
    /// How often the first row is asked for at each mark; the median counts.
    #[arg(long, default_value_t = 41)]
    calls: u64,
    /// How long nothing is written in the end, before it is measured again.
    #[arg(long, default_value_t = 360)]
    rest_seconds: u64,
    /// A configuration file for the servers.
    #[arg(long)]
    config: Option<PathBuf>,
    /// A server; more than one are compared. By default the one built beside this program.
    #[arg(long)]
    tidemark: Vec<PathBuf>,
    /// The folder with the app.
    #[arg(long, default_value = "bench/churn/app")]
    app: PathBuf,
}

struct Subject {
    name: String,
    server: Server,
    /// Kept as long as the server.
    _folder: tempfile::TempDir,
    /// Jobs that were ever added.
    added: u64,
    calls: u64,
}

struct Measured {
    first_ms: f64,
    /// The same of the queue that nobody takes from, asked for in turns with the other: what else the machine has to do
    /// costs both the same.
    untouched_ms: f64,
    disk_mib: f64,
}

impl Subject {
    async fn start(binary: &Path, arguments: &Arguments) -> Result<Subject> {
        let folder = tempfile::tempdir()?;
        let config = arguments.config.as_deref();
        let server = Server::start_with(binary, &folder.path().join("data"), config).await?;
        server.push(&arguments.app).await?;
        let name = binary.display().to_string();
        let mut subject = Subject { name, server, _folder: folder, added: 0, calls: 0 };
        for _ in 0..arguments.others.div_ceil(DOCUMENTS_PER_MUTATION) {
            let fill = json!({"documents": DOCUMENTS_PER_MUTATION, "bytes": arguments.other_bytes});
            subject.server.call("mutation", "jobs:fill", fill).await?;
        }
        while subject.added < arguments.alive {
            let jobs = DOCUMENTS_PER_MUTATION.min(arguments.alive - subject.added);
            let added = subject.added;
            subject.server.call("mutation", "jobs:add", json!({"from": added, "jobs": jobs})).await?;
            subject.added += jobs;
        }
        Ok(subject)
    }

    async fn turn(&mut self, jobs: u64) -> Result<u64> {
        let taken =
            self.server.call("mutation", "jobs:turn", json!({"from": self.added, "jobs": jobs})).await?;
        let taken = taken.as_f64().context("a number was taken")? as u64;
        ensure!(taken > 0, "there are jobs");
        self.added += taken;
        Ok(taken)
    }

    async fn measure(&mut self, arguments: &Arguments) -> Result<Measured> {
        let expected = (self.added - arguments.alive) as f64;
        let (mut times, mut untouched_times) = (Vec::new(), Vec::new());
        for _ in 0..arguments.calls.max(1) {
            times.push(self.first("jobs:first", expected).await?);
            untouched_times.push(self.first("jobs:firstUntouched", 0.0).await?);
        }
        let (first_ms, untouched_ms) = (median_ms(times), median_ms(untouched_times));
        let disk_mib = self.server.state_bytes()? as f64 / f64::from(1 << 20);
        Ok(Measured { first_ms, untouched_ms, disk_mib })
    }

    /// How long a queue's first job took.
    async fn first(&mut self, path: &str, expected: f64) -> Result<Duration> {
        self.calls += 1;
        let call = json!({"call": self.calls});
        let begin = Instant::now();
        let first = self.server.call("query", path, call).await?;
        let time = begin.elapsed();
        ensure!(first.as_f64() == Some(expected), "{path}: the first job is {first}, not {expected}");
        Ok(time)
    }
}

fn median_ms(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let binaries = Server::binaries(&arguments.tidemark)?;
    let mut subjects = Vec::new();
    for binary in &binaries {
        subjects.push(Subject::start(binary, &arguments).await?);
    }
    for (number, subject) in subjects.iter().enumerate() {
        println!("build {}: {}", number + 1, subject.name);
    }
    print!("{:>12}", "deletions");
    for number in 1..=subjects.len() {
        print!("   {number}: {:>10} {:>14} {:>10}", "first, ms", "untouched, ms", "disk, MiB");
    }
    println!();
    let mut deleted = 0;
    let further = (2..).map(|tens| tens * 10_000_000);
    for mark in MARKS.into_iter().chain(further).take_while(|mark| *mark <= arguments.deletions) {
        for subject in &mut subjects {
            let mut left = mark - deleted;
            while left > 0 {
                left -= subject.turn(arguments.batch.min(left)).await?;
            }
        }
        deleted = mark;
        report(&mut subjects, &arguments, &deleted.to_string()).await?;
    }
    tokio::time::sleep(Duration::from_secs(arguments.rest_seconds)).await;
    report(&mut subjects, &arguments, "at rest").await?;
    for subject in subjects {
        subject.server.stop().await?;
    }
    Ok(())
}

async fn report(subjects: &mut [Subject], arguments: &Arguments, what: &str) -> Result<()> {
    print!("{what:>12}");
    for subject in subjects {
        let measured = subject.measure(arguments).await?;
        let Measured { first_ms, untouched_ms, disk_mib } = measured;
        print!("      {first_ms:>10.2} {untouched_ms:>14.2} {disk_mib:>10.0}");
    }
    println!();
    Ok(())
}
