//! One row that everybody changes: how many increments per second are committed by 2, 4, 16 and 64 callers over HTTP.
//!
//! Several builds of Tidemark can be measured in one run; they take turns, round after round, so that all meet the same
//! disturbances. The row must hold every increment that was answered.
#![allow(clippy::print_stdout, reason = "a report is what this program is for")]

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use harness::{Answer, Callers, Report, Server, Spread, processes::load, ratio};
use http_body_util::Full;
use hyper::{Request, body::Bytes};
use serde_json::json;

const BODY: &str = r#"{"path":"counter:increment","format":"json","args":{}}"#;

/// Measures increments of one row per second.
#[derive(Parser)]
struct Arguments {
    /// How long each turn lasts, after a warm-up of one second.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// How many turns each has, with each number of callers.
    #[arg(long, default_value_t = 5)]
    rounds: u64,
    #[arg(long, value_delimiter = ',', default_values_t = [2, 4, 16, 64])]
    callers: Vec<usize>,
    /// A server; more than one are compared. By default the one built beside this program.
    #[arg(long)]
    tidemark: Vec<PathBuf>,
    /// The folder of the app.
    #[arg(long, default_value = "bench/transfer/app")]
    app: PathBuf,
}

/// What one build has shown with one number of callers.
#[derive(Default)]
struct Measured {
    reports: Vec<Report>,
    /// Processor time of the server per commit of each round, warm-up included, in microseconds.
    cpu_us: Vec<f64>,
    /// How often each mutation ran, of each round; nothing where the server does not tell.
    runs: Vec<f64>,
}

struct Target {
    name: String,
    server: Server,
}

fn increment(address: SocketAddr) -> Request<Full<Bytes>> {
    Request::post("/api/mutation")
        .header("host", address.to_string())
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from_static(BODY.as_bytes())))
        .expect("the parts are valid")
}

impl Target {
    async fn value(&self) -> Result<u64> {
        let value = self.server.call("query", "counter:value", json!({})).await?;
        Ok(value.as_f64().context("a count is a number")? as u64)
    }

    async fn measure(&self, arguments: &Arguments, callers: usize, measured: &mut Measured) -> Result<()> {
        let address = self.server.address;
        let run = Callers {
            address,
            callers,
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(arguments.seconds),
            seed: 0,
        };
        let mutations = self.server.mutations().await?;
        let (before, cpu_before) = (self.value().await?, self.server.cpu_time()?);
        let report = harness::run(run, move |_| increment(address), Answer::of_function).await;
        let report = report.map_err(|error| anyhow::anyhow!("{error}"))?;
        let (after, cpu) = (self.value().await?, self.server.cpu_time()? - cpu_before);
        let commits = after - before;
        ensure!(commits >= report.answered, "{}: {commits} of {} commits", self.name, report.answered);
        if let (Some(before), Some(after)) = (mutations, self.server.mutations().await?) {
            measured.runs.push(after.runs_each_since(&before));
        }
        measured.cpu_us.push(cpu.as_secs_f64() * 1e6 / commits.max(1) as f64);
        measured.reports.push(report);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let binaries = Server::binaries(&arguments.tidemark)?;
    println!(
        "one row, {} rounds of {} s; per second: median (least to most of the rounds)",
        arguments.rounds, arguments.seconds
    );
    let mut targets = Vec::new();
    for (number, binary) in binaries.iter().enumerate() {
        let server = Server::start(binary, &folder.path().join(number.to_string())).await?;
        server.push(&arguments.app).await?;
        // The row is there before anybody is measured.
        server.call("mutation", "counter:increment", json!({})).await?;
        targets.push(Target { name: binary.display().to_string(), server });
    }
    for callers in &arguments.callers {
        let mut measured: Vec<Measured> = targets.iter().map(|_| Measured::default()).collect();
        for _ in 0..arguments.rounds.max(1) {
            for (target, measured) in targets.iter().zip(&mut measured) {
                target.measure(&arguments, *callers, measured).await?;
            }
        }
        for (target, of_target) in targets.iter().zip(&measured) {
            let per_second = Spread::of(of_target.reports.iter().map(Report::per_second));
            let runs = Spread::of(of_target.runs.iter().copied()).median();
            let merged = Report::merge(&of_target.reports);
            println!(
                "{callers:>3} callers {:<40} per second {per_second:>6}   p50 {:.1} ms   p99 {:.1} ms   given up {}   \
                 runs each {runs:.2}   {:.0} µs of processor a commit   load {}",
                target.name,
                merged.percentile_ms(0.5),
                merged.percentile_ms(0.99),
                merged.failed,
                Spread::of(of_target.cpu_us.iter().copied()).median(),
                load(),
            );
            if target.name != targets[0].name {
                let ratio = ratio(&of_target.reports, &measured[0].reports);
                println!("{:>60}", format!("{ratio:.2} times as fast as {}", targets[0].name));
            }
        }
    }
    for target in targets {
        target.server.stop().await?;
    }
    println!("The rows hold every increment that was answered.");
    Ok(())
}
