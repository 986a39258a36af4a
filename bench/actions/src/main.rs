//! Actions. First how many empty ones are answered in a second, beside mutations that neither read nor write, and beside Node.js, which
//! gives each call a context or a thread of its own. Then many that wait for a slow server at once: what each takes in memory, and
//! what becomes of the mutations beside them.
#![allow(clippy::print_stdout, reason = "a report is what this program is for")]

mod slow;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use harness::{Answer, Callers, Report, Server, Spread, peers::NodePeer, processes::load, ratio};
use http_body_util::Full;
use hyper::{Request, body::Bytes};
use serde_json::json;
use slow::SlowServer;

/// Measures actions.
#[derive(Parser)]
struct Arguments {
    /// How long each turn lasts, after a warm-up of one second.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// How many turns each has.
    #[arg(long, default_value_t = 5)]
    rounds: u64,
    #[arg(long, default_value_t = 16)]
    callers: usize,
    /// Actions that wait at once.
    #[arg(long, default_value_t = 2_000)]
    waiting: usize,
    /// Callers of mutations beside them.
    #[arg(long, default_value_t = 4)]
    writers: usize,
    /// A configuration file for the server.
    #[arg(long)]
    config: Option<PathBuf>,
    /// The folder with the app and the peer.
    #[arg(long, default_value = "bench/actions")]
    folder: PathBuf,
}

/// What is called: an address of the server or of the peer.
struct Subject {
    name: &'static str,
    address: SocketAddr,
    path: &'static str,
    body: &'static str,
}

const ACTION: (&str, &str) = ("/api/action", r#"{"path":"calls:nothing","format":"json","args":{}}"#);
const MUTATION: (&str, &str) =
    ("/api/mutation", r#"{"path":"calls:nothingInTransaction","format":"json","args":{}}"#);
const WRITE: (&str, &str) = ("/api/mutation", r#"{"path":"calls:write","format":"json","args":{}}"#);

impl Subject {
    async fn call(&self, callers: usize, duration: Duration) -> Result<Report> {
        let Subject { address, path, body, .. } = *self;
        let request = move |_: &mut _| {
            Request::post(path)
                .header("host", address.to_string())
                .header("content-type", "application/json")
                .body(Full::new(Bytes::from_static(body.as_bytes())))
                .expect("the parts are valid")
        };
        let callers = Callers { address, callers, warm_up: Duration::from_secs(1), duration, seed: 0 };
        let report = harness::run(callers, request, Answer::of_function)
            .await
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        ensure!(report.failed == 0, "{}: {}", self.name, report.first_failure.unwrap_or_default());
        Ok(report)
    }
}

async fn measure_empty(arguments: &Arguments, server: &Server) -> Result<()> {
    let peer = NodePeer::start(&arguments.folder.join("peer"), &[]).await?;
    let at_server = |name, (path, body)| Subject { name, address: server.address, path, body };
    let at_peer = |name, path| Subject { name, address: peer.address, path, body: "{}" };
    let subjects = [
        at_server("action", ACTION),
        at_server("mutation without a commit", MUTATION),
        at_peer("Node.js, vm", "/vm"),
        at_peer("Node.js, worker_threads", "/worker"),
    ];
    let mut reports = subjects.each_ref().map(|_| Vec::new());
    let mut cpu_us = subjects.each_ref().map(|_| Vec::new());
    for _ in 0..arguments.rounds.max(1) {
        for (number, subject) in subjects.iter().enumerate() {
            let taken = || match subject.address == server.address {
                true => server.cpu_time(),
                false => peer.cpu_time(),
            };
            let before = taken()?;
            let report = subject.call(arguments.callers, Duration::from_secs(arguments.seconds)).await?;
            // The warm-up counts in the time, so it is taken for as busy as the rest.
            let calls = report.per_second() * (arguments.seconds + 1) as f64;
            cpu_us[number].push((taken()? - before).as_secs_f64() * 1e6 / calls);
            reports[number].push(report);
        }
    }
    println!(
        "empty calls, {} callers, {} rounds of {} s; median (least to most), load {}",
        arguments.callers,
        arguments.rounds,
        arguments.seconds,
        load()
    );
    for ((subject, reports_of), cpu_us) in subjects.iter().zip(&reports).zip(cpu_us) {
        let merged = Report::merge(reports_of);
        println!(
            "{:<26} per second {:>6}   p50 {:.2} ms   p99 {:.2} ms   {:.0} µs of processor a call   {:.2} times the action's",
            subject.name,
            Spread::of(reports_of.iter().map(Report::per_second)),
            merged.percentile_ms(0.5),
            merged.percentile_ms(0.99),
            Spread::of(cpu_us).median(),
            ratio(reports_of, &reports[0]),
        );
    }
    peer.stop().await
}

async fn measure_waiting(arguments: &Arguments, server: &Server) -> Result<()> {
    let writes = Subject { name: "write", address: server.address, path: WRITE.0, body: WRITE.1 };
    let turn = Duration::from_secs(arguments.seconds);
    let slow = SlowServer::start().await?;
    let client = harness::client();
    let call = |url: String| {
        let body = json!({"path": "calls:wait", "format": "json", "args": {"url": url}});
        client.post(format!("{}/api/action", server.url)).json(&body)
    };
    // What the first ones need is there before anything is measured.
    let first = tokio::spawn(call(slow.url()).send());
    slow.waiting(1).await;
    slow.answer();
    first.await??.error_for_status()?;
    let quiet = writes.call(arguments.writers, turn).await?;
    let before = server.memory()?;
    let waiting: Vec<_> = (0..arguments.waiting).map(|_| tokio::spawn(call(slow.url()).send())).collect();
    tokio::time::timeout(Duration::from_secs(120), slow.waiting(arguments.waiting))
        .await
        .with_context(|| format!("only {} actions wait", slow.count()))?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let during = server.memory()?;
    let threads = server.threads()?;
    let beside = writes.call(arguments.writers, turn).await?;
    slow.answer();
    for answer in waiting {
        let answer: serde_json::Value = answer.await??.json().await?;
        ensure!(answer["value"] == "late", "an action failed: {answer}");
    }
    // Pages of the image count as resident for each isolate that maps them, and are there once.
    let each_kib = during.anonymous_bytes.saturating_sub(before.anonymous_bytes) as f64
        / 1024.0
        / arguments.waiting.max(1) as f64;
    println!(
        "{} actions wait: {each_kib:.0} KiB each beside the image ({} MB before, {} MB with them), {threads} threads; all were answered",
        arguments.waiting,
        before.anonymous_bytes / 1_000_000,
        during.anonymous_bytes / 1_000_000,
    );
    println!("{} callers of a mutation, load {}:", arguments.writers, load());
    println!("  before {quiet}");
    println!("  beside {beside}");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let data = tempfile::tempdir()?;
    let server = Server::start_with(&Server::binary()?, data.path(), arguments.config.as_deref()).await?;
    server.push(&arguments.folder.join("app")).await?;
    measure_empty(&arguments, &server).await?;
    measure_waiting(&arguments, &server).await?;
    server.stop().await
}
