//! Small durable writes on three replicas, beside etcd: three members on this machine each, 64 callers, one run.
//!
//! A raw commit goes to the leader's log as a runner sends it, by gRPC over mutual TLS: one document, nothing read. It is what is
//! most like a put of etcd, which goes to its leader by gRPC without TLS. A mutation that adds a row comes over HTTP, and runs a
//! function in an isolate; beside it the same on one process without replicas. They all take turns, round after round.
#![allow(clippy::print_stdout, reason = "a report is what this program is for")]

mod etcd;
mod raw;

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use clap::Parser;
use harness::{Answer, Callers, Cluster, Report, Server, Spread, processes::load, ratio};
use http_body_util::Full;
use hyper::{Request, body::Bytes};
use tokio::task::JoinSet;

use crate::{etcd::Etcd, raw::RawLog};

/// Of the text or the value of one write.
const VALUE_BYTES: usize = 100;
const WARM_UP: Duration = Duration::from_secs(1);

/// Measures small durable writes per second.
#[derive(Parser)]
struct Arguments {
    /// How long each turn lasts, after a warm-up of one second.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How many turns each has.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[arg(long, default_value_t = 64)]
    callers: usize,
    /// A server. By default the one built beside this program.
    #[arg(long)]
    tidemark: Option<PathBuf>,
    /// The folder of the app.
    #[arg(long, default_value = "bench/transfer/app")]
    app: PathBuf,
}

/// What is measured.
enum Target {
    RawCommits(RawLog),
    Mutations(SocketAddr),
    Puts(etcd::Clients),
}

/// What a target has shown.
struct Measured {
    name: String,
    target: Target,
    /// Who takes processor time for it.
    behind: Behind,
    reports: Vec<Report>,
    /// Processor time of all members, of each write, in microseconds.
    cpu_us: Vec<f64>,
}

#[derive(Clone, Copy)]
enum Behind {
    Cluster,
    Alone,
    Etcd,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let binary = match &arguments.tidemark {
        Some(binary) => binary.clone(),
        None => Server::binary()?,
    };
    println!(
        "writes of {VALUE_BYTES} bytes, {} callers, {} rounds of {} s; median (least to most of the rounds)",
        arguments.callers, arguments.rounds, arguments.seconds
    );
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(&binary, &folder.path().join("cluster"), "").await?;
    let leader = cluster.leader().await?;
    cluster.node(leader)?.push(&arguments.app).await?;
    let alone = Server::start(&binary, &folder.path().join("alone")).await?;
    alone.deploy(&arguments.app).await?;
    let etcd = match Etcd::version().await {
        Some(version) => Some((version, Etcd::start(folder.path()).await?)),
        None => None,
    };
    let mut all = vec![
        (
            "Tidemark, three replicas, raw commits".to_owned(),
            Target::RawCommits(RawLog::connect(&cluster, leader).await?),
            Behind::Cluster,
        ),
        (
            "Tidemark, three replicas, mutations".to_owned(),
            Target::Mutations(cluster.node(leader)?.address),
            Behind::Cluster,
        ),
        ("Tidemark, alone, mutations".to_owned(), Target::Mutations(alone.address), Behind::Alone),
    ];
    match &etcd {
        Some((version, etcd)) => {
            let clients = etcd.clients(arguments.callers).await?;
            all.push((format!("etcd {version}, three members, puts"), Target::Puts(clients), Behind::Etcd));
        }
        None => println!("etcd is not installed (apt-get install etcd-server): Tidemark is measured alone."),
    }
    let mut all: Vec<Measured> = all
        .into_iter()
        .map(|(name, target, behind)| Measured {
            name,
            target,
            behind,
            reports: Vec::new(),
            cpu_us: Vec::new(),
        })
        .collect();
    for _ in 0..arguments.rounds.max(1) {
        for measured in &mut all {
            let cpu_time = || match (measured.behind, &etcd) {
                (Behind::Cluster, _) => cluster.running().map(Server::cpu_time).sum(),
                (Behind::Alone, _) => alone.cpu_time(),
                (Behind::Etcd, Some((_, etcd))) => etcd.cpu_time(),
                (Behind::Etcd, None) => Ok(Duration::ZERO),
            };
            let before = cpu_time()?;
            let report = measured.target.measure(&arguments).await?;
            let cpu = cpu_time()? - before;
            // The warm-up is in the processor's time and not in the report.
            let in_all = report.per_second() * (report.elapsed + WARM_UP).as_secs_f64();
            measured.cpu_us.push(cpu.as_secs_f64() * 1e6 / in_all);
            measured.reports.push(report);
        }
    }
    println!("load {}", load());
    for measured in &all {
        let merged = Report::merge(&measured.reports);
        let rates = Spread::of(measured.reports.iter().map(Report::per_second));
        let cpu_us = Spread::of(measured.cpu_us.iter().copied()).median();
        println!(
            "{:<40} per second {rates:>6}   p50 {:>6.2} ms   p99 {:>6.2} ms   failed {}   {cpu_us:>4.0} µs of processor each",
            measured.name,
            merged.percentile_ms(0.5),
            merged.percentile_ms(0.99),
            merged.failed
        );
        if let Some(failure) = &merged.first_failure {
            println!("    first failure: {failure}");
        }
    }
    if let Some((etcd, others)) = all.split_last().filter(|(last, _)| matches!(last.target, Target::Puts(_)))
    {
        for other in others {
            let ratio = ratio(&other.reports, &etcd.reports);
            println!("{} : {} = {ratio:.2}", other.name, etcd.name);
        }
    }
    anyhow::ensure!(cluster.leader().await? == leader, "another replica leads than at the beginning");
    drop(all);
    if let Some((_, etcd)) = etcd {
        etcd.stop().await?;
    }
    alone.stop().await?;
    cluster.end().await
}

impl Target {
    async fn measure(&self, arguments: &Arguments) -> Result<Report> {
        let (callers, duration) = (arguments.callers, Duration::from_secs(arguments.seconds));
        match self {
            Target::Mutations(address) => {
                let address = *address;
                let run = Callers { address, callers, warm_up: WARM_UP, duration, seed: 0 };
                let text = "x".repeat(VALUE_BYTES);
                let body = Bytes::from(format!(
                    r#"{{"path":"writes:add","format":"json","args":{{"text":"{text}"}}}}"#
                ));
                let make = move |_: &mut rand::rngs::StdRng| {
                    Request::post("/api/mutation")
                        .header("host", address.to_string())
                        .header("content-type", "application/json")
                        .body(Full::new(body.clone()))
                        .expect("the parts are valid")
                };
                harness::run(run, make, Answer::of_function).await.map_err(|error| anyhow!("{error}"))
            }
            Target::RawCommits(log) => drive(callers, duration, |_| log.clone()).await,
            Target::Puts(clients) => drive(callers, duration, |caller| clients.of(caller)).await,
        }
    }
}

/// Somebody who writes.
trait Writer: Send + 'static {
    /// Makes a small write of its own.
    fn write(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// As many callers, each with one write under way.
async fn drive<W: Writer>(callers: usize, duration: Duration, writer: impl Fn(usize) -> W) -> Result<Report> {
    let begin = Instant::now() + WARM_UP;
    let end = begin + duration;
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let mut writer = writer(caller);
        tasks.spawn(async move {
            let (mut latencies_us, mut failures) = (Vec::new(), Vec::new());
            loop {
                let start = Instant::now();
                if start >= end {
                    return (latencies_us, failures);
                }
                let result = writer.write().await;
                let now = Instant::now();
                match result {
                    _ if now < begin || now > end => {}
                    Ok(()) => latencies_us.push((now - start).as_micros() as u32),
                    Err(error) => failures.push(format!("{error:#}")),
                }
            }
        });
    }
    let (mut latencies_us, mut failures) = (Vec::new(), Vec::new());
    for (of_caller, failed) in tasks.join_all().await {
        latencies_us.extend(of_caller);
        failures.extend(failed);
    }
    latencies_us.sort_unstable();
    Ok(Report {
        answered: latencies_us.len() as u64,
        failed: failures.len() as u64,
        elapsed: duration,
        latencies_us,
        first_failure: failures.into_iter().next(),
    })
}

impl Writer for RawLog {
    async fn write(&mut self) -> Result<()> {
        self.commit().await
    }
}

impl Writer for etcd::Client {
    async fn write(&mut self) -> Result<()> {
        self.put().await
    }
}
