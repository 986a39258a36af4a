//! Some documents are changed again and again, in a store that holds many. What do its files take once nobody can read any
//! version but the newest, beside what they took before?
//!
//! Several builds can be measured in one run; they take turns. The time that old versions are kept is short here, and with it that
//! until the store is flushed: what is measured is what comes after both.
#![allow(clippy::print_stdout, reason = "a report is what this program is for")]

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, ensure};
use clap::Parser;
use harness::Server;
use serde_json::json;

const DOCUMENTS_PER_MUTATION: u64 = 500;

/// Measures what changes leave on the disk.
#[derive(Parser)]
struct Arguments {
    /// Documents that are there.
    #[arg(long, default_value_t = 1_000_000)]
    documents: u64,
    /// Documents that are changed.
    #[arg(long, default_value_t = 1_000)]
    changed: u64,
    /// How often each of them is changed.
    #[arg(long, default_value_t = 500)]
    changes: u64,
    /// How long old versions are kept; twice as long nothing is written before it is measured.
    #[arg(long, default_value_t = 30)]
    retention_seconds: u64,
    /// The most that the files may take in the end, in percent of what they took before; the last build is held to it.
    #[arg(long)]
    percent_max: Option<f64>,
    /// A server; more than one are compared. By default the one built beside this program.
    #[arg(long)]
    tidemark: Vec<PathBuf>,
    /// The folder with the app.
    #[arg(long, default_value = "bench/churn/app")]
    app: PathBuf,
}

struct Subject {
    server: Server,
    /// Kept as long as the server.
    _folder: tempfile::TempDir,
    /// What the files took at each look.
    bytes: Vec<u64>,
}

impl Subject {
    async fn start(binary: &Path, arguments: &Arguments) -> Result<Subject> {
        let folder = tempfile::tempdir()?;
        let retention_ms = arguments.retention_seconds * 1_000;
        let config = folder.path().join("config.toml");
        let (window_ms, unflushed_ms) = (retention_ms.min(30_000), retention_ms / 5);
        let limits = format!(
            "[limits.log]\nretention_ms_min = {retention_ms}\nwindow_age_ms_min = {window_ms}\n\n\
             [limits.store]\nunflushed_ms_max = {unflushed_ms}\n"
        );
        std::fs::write(&config, limits)?;
        let server = Server::start_with(binary, &folder.path().join("data"), Some(&config)).await?;
        server.push(&arguments.app).await?;
        Ok(Subject { server, _folder: folder, bytes: Vec::new() })
    }

    /// Calls a mutation for so many documents, some at a time.
    async fn each(&self, mutation: &str, documents: u64, round: u64) -> Result<()> {
        for from in (0..documents).step_by(DOCUMENTS_PER_MUTATION as usize) {
            let to = documents.min(from + DOCUMENTS_PER_MUTATION);
            let done = self
                .server
                .call("mutation", mutation, json!({"from": from, "to": to, "round": round}))
                .await?;
            ensure!(done.as_f64() == Some((to - from) as f64), "{mutation} of {from} to {to}: {done}");
        }
        Ok(())
    }

    fn look(&mut self) -> Result<()> {
        self.bytes.push(self.server.state_bytes()?);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let binaries = Server::binaries(&arguments.tidemark)?;
    let mut subjects = Vec::new();
    for binary in &binaries {
        let subject = Subject::start(binary, &arguments).await?;
        subject.each("documents:put", arguments.documents, 0).await?;
        subjects.push(subject);
    }
    let rest = Duration::from_secs(2 * arguments.retention_seconds);
    tokio::time::sleep(rest).await;
    subjects.iter_mut().try_for_each(Subject::look)?;
    for round in 1..=arguments.changes {
        for subject in &subjects {
            subject.each("documents:change", arguments.changed, round).await?;
        }
    }
    subjects.iter_mut().try_for_each(Subject::look)?;
    tokio::time::sleep(rest).await;
    subjects.iter_mut().try_for_each(Subject::look)?;
    println!(
        "MiB of the store's files; {} documents, {} of them changed {} times",
        arguments.documents, arguments.changed, arguments.changes
    );
    println!("{:>10} {:>10} {:>10} {:>10}", "before", "changed", "at rest", "percent");
    let mut last = 0.0;
    for (subject, binary) in subjects.iter().zip(&binaries) {
        let mib = |look: usize| subject.bytes[look] as f64 / f64::from(1 << 20);
        last = 100.0 * mib(2) / mib(0);
        println!("{:>10.1} {:>10.1} {:>10.1} {last:>9.1}%   {}", mib(0), mib(1), mib(2), binary.display());
    }
    for subject in subjects {
        subject.server.stop().await?;
    }
    if let Some(percent_max) = arguments.percent_max {
        ensure!(last <= percent_max, "{last:.1} % of what it was is more than {percent_max} %");
    }
    Ok(())
}
