//! How many scheduled mutations run in a second, and how many scheduled actions that do nothing, and how long after the function that schedules it one begins on a server with
//! nothing else to do; both again with many that are pending for later.
//!
//! Several builds can be measured in one run; they take turns.
#![allow(clippy::print_stdout, reason = "a report is what this program is for")]

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use harness::Server;
use serde_json::{Value, json};

/// Functions that one mutation schedules at most.
const PER_MUTATION: u64 = 1_000;
const DAY_MS: u64 = 24 * 3_600_000;

/// Measures scheduled functions.
#[derive(Parser)]
struct Arguments {
    /// Functions that are due at the same moment.
    #[arg(long, default_value_t = 30_000)]
    jobs: u64,
    /// Actions that are due at the same moment.
    #[arg(long, default_value_t = 10_000)]
    actions: u64,
    /// Functions that are scheduled for now, one after another.
    #[arg(long, default_value_t = 301)]
    calls: u64,
    /// How many are pending for later, in the second part.
    #[arg(long, default_value_t = 0)]
    pending: u64,
    /// A configuration file for the servers.
    #[arg(long)]
    config: Option<PathBuf>,
    /// A server; more than one are compared. By default the one built beside this program.
    #[arg(long)]
    tidemark: Vec<PathBuf>,
    /// The folder with the app.
    #[arg(long, default_value = "bench/schedules/app")]
    app: PathBuf,
}

struct Subject {
    name: String,
    server: Server,
    _folder: tempfile::TempDir,
}

impl Subject {
    async fn start(binary: &Path, arguments: &Arguments) -> Result<Subject> {
        let folder = tempfile::tempdir()?;
        let config = arguments.config.as_deref();
        let server = Server::start_with(binary, &folder.path().join("data"), config).await?;
        server.push(&arguments.app).await?;
        Ok(Subject { name: binary.display().to_string(), server, _folder: folder })
    }

    async fn schedule(&self, what: &str, jobs: u64, time_ms: u64) -> Result<()> {
        let mut left = jobs;
        while left > 0 {
            let count = left.min(PER_MUTATION);
            let schedule = json!({"what": what, "count": count, "time": time_ms});
            self.server.call("mutation", "jobs:schedule", schedule).await?;
            left -= count;
        }
        Ok(())
    }

    /// Milliseconds from the beginning of functions that schedule one for now to the beginnings of those, sorted. The clock of
    /// functions shows whole ones.
    async fn delays(&self, calls: u64) -> Result<Vec<f64>> {
        let mut delays = Vec::new();
        for _ in 0..calls.max(1) {
            let scheduled = self.server.call("mutation", "jobs:now", json!({})).await?;
            loop {
                let delay = self.server.call("query", "jobs:delay", json!({"scheduled": scheduled})).await?;
                if let Some(delay) = delay.as_f64() {
                    delays.push(delay);
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        delays.sort_by(f64::total_cmp);
        Ok(delays)
    }

    /// How many functions a second end that are due at the same moment.
    async fn rate(&self, what: &str, jobs: u64) -> Result<f64> {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
        // Time enough to schedule them.
        let due_ms = now_ms + 3_000 + jobs / 4;
        self.schedule(what, jobs, due_ms).await?;
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
        ensure!(now_ms < due_ms, "they are due before all are scheduled");
        tokio::time::sleep(Duration::from_millis(due_ms - now_ms + 500)).await;
        loop {
            let (ended, waiting, last_ms) = self.ends(due_ms).await?;
            if waiting == 0 {
                ensure!(ended == jobs, "{ended} of {jobs} are there");
                return Ok(jobs as f64 / ((last_ms - due_ms as f64) / 1e3));
            }
            tokio::time::sleep(Duration::from_millis(1_000)).await;
        }
    }

    async fn ends(&self, due_ms: u64) -> Result<(u64, u64, f64)> {
        let (mut ended, mut waiting, mut last_ms) = (0, 0, 0.0_f64);
        let mut cursor = Value::Null;
        loop {
            let page =
                self.server.call("query", "jobs:page", json!({"cursor": cursor, "due": due_ms})).await?;
            let number = |name: &str| page[name].as_f64().with_context(|| format!("`{name}` of a page"));
            ended += number("ended")? as u64;
            waiting += number("waiting")? as u64;
            last_ms = last_ms.max(number("last")?);
            if page["isDone"] == true || waiting > 0 {
                return Ok((ended, waiting, last_ms));
            }
            cursor = page["continueCursor"].clone();
        }
    }

    async fn measure(&self, arguments: &Arguments, pending: u64) -> Result<()> {
        let delays = self.delays(arguments.calls).await?;
        let at = |part: f64| delays[((delays.len() - 1) as f64 * part) as usize];
        let rate = self.rate("work", arguments.jobs).await?;
        let actions_rate = self.rate("act", arguments.actions).await?;
        println!(
            "| {} | {pending} | {:.0} | {:.0} | {:.0} | {rate:.0} | {actions_rate:.0} |",
            self.name,
            at(0.5),
            at(0.9),
            at(0.99)
        );
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    println!("| server | pending | p50 ms | p90 ms | p99 ms | mutations/s | actions/s |");
    println!("|---|---|---|---|---|---|---|");
    for binary in Server::binaries(&arguments.tidemark)? {
        let subject = Subject::start(&binary, &arguments).await?;
        subject.measure(&arguments, 0).await?;
        if arguments.pending > 0 {
            let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
            subject.schedule("work", arguments.pending, now_ms + 30 * DAY_MS).await?;
            subject.measure(&arguments, arguments.pending).await?;
        }
    }
    Ok(())
}
