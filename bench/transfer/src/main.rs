//! The token transfer, the workload by which the field compares backends: a transfer moves 1 between two of 100,000
//! accounts, 64 callers send transfers over HTTP, accounts are drawn uniformly or by Zipf's law.
//!
//! One run measures Tidemark and its peers on the same machine: Node.js with PostgreSQL at SERIALIZABLE in five round
//! trips, and the same with the transfer as one server-side call. Several builds of Tidemark can be measured in one run.
//! They all take turns, round after round, so that all meet the same disturbances. In the end the money in all accounts
//! must be what it was.
//!
//! With `--cluster` each build is measured with three replicas as well: three processes on this machine, of which the leader is
//! called, beside the one that stands alone. They share the processors that it has to itself, so the report says what a
//! transfer takes of each.
#![allow(clippy::print_stdout, reason = "a report is what this program is for")]

mod postgres;
mod tidemark;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use harness::{
    Answer, Callers, Draw, Report, Server, Spread, Uniform, Zipf,
    peers::NodePeer,
    processes::{load, own_cpu_time},
    ratio,
};
use http_body_util::Full;
use hyper::{Request, body::Bytes};
use rand::RngExt;

use crate::tidemark::Tidemark;

const BALANCE: u64 = 1_000_000_000;

/// Measures token transfers per second.
#[derive(Parser)]
struct Arguments {
    /// How long each turn lasts, after a warm-up of one second.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How many turns each has, with each draw.
    #[arg(long, default_value_t = 5)]
    rounds: u64,
    #[arg(long, default_value_t = 64)]
    callers: usize,
    #[arg(long, default_value_t = 100_000)]
    accounts: usize,
    /// The exponent of the skewed run.
    #[arg(long, default_value_t = 1.5)]
    zipf: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A server; more than one are compared. By default the one built beside this program.
    #[arg(long)]
    tidemark: Vec<PathBuf>,
    /// The folder with the app and the peer.
    #[arg(long, default_value = "bench/transfer")]
    folder: PathBuf,
    /// Measures Tidemark alone.
    #[arg(long)]
    without_peers: bool,
    /// Measures three replicas beside one.
    #[arg(long)]
    cluster: bool,
}

/// Where transfers are sent, and in which form.
#[derive(Clone)]
struct Target {
    name: String,
    address: SocketAddr,
    path: &'static str,
    body: fn(from: usize, to: usize) -> String,
}

impl Target {
    async fn measure(
        &self,
        arguments: &Arguments,
        draw: std::sync::Arc<dyn Draw>,
        round: u64,
    ) -> Result<Report> {
        let target = self.clone();
        let accounts = arguments.accounts;
        let make = move |random: &mut rand::rngs::StdRng| {
            let from = draw.draw(random);
            // Another account, drawn likewise.
            let to = loop {
                let to = draw.draw(random);
                if to != from {
                    break to;
                }
                if random.random_range(0..64) == 0 {
                    break (from + 1) % accounts;
                }
            };
            Request::post(target.path)
                .header("host", target.address.to_string())
                .header("content-type", "application/json")
                .body(Full::new(Bytes::from((target.body)(from, to))))
                .expect("the parts are valid")
        };
        let callers = Callers {
            address: self.address,
            callers: arguments.callers,
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(arguments.seconds),
            seed: arguments.seed + round,
        };
        harness::run(callers, make, Answer::of_function).await.map_err(|error| anyhow::anyhow!("{error}"))
    }
}

/// Processor time that was taken.
#[derive(Clone, Copy)]
struct Taken<T> {
    /// By who is called, and whatever it asks on its machine.
    called: T,
    /// By the replicas that follow it.
    followers: T,
    /// By this program.
    callers: T,
}

impl Taken<Duration> {
    /// Of each transfer, in microseconds.
    fn each_us_since(&self, before: &Taken<Duration>, transfers: f64) -> Taken<f64> {
        let each = |now: Duration, before: Duration| (now - before).as_secs_f64() * 1e6 / transfers;
        Taken {
            called: each(self.called, before.called),
            followers: each(self.followers, before.followers),
            callers: each(self.callers, before.callers),
        }
    }
}

impl Taken<f64> {
    fn median(of: &[Taken<f64>]) -> Taken<f64> {
        let median = |which: fn(&Taken<f64>) -> f64| Spread::of(of.iter().map(which)).median();
        Taken {
            called: median(|taken| taken.called),
            followers: median(|taken| taken.followers),
            callers: median(|taken| taken.callers),
        }
    }

    fn all(&self) -> f64 {
        self.called + self.followers + self.callers
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let draws: [std::sync::Arc<dyn Draw>; 2] = [
        std::sync::Arc::new(Uniform(arguments.accounts)),
        std::sync::Arc::new(Zipf::new(arguments.accounts, arguments.zipf)),
    ];
    println!(
        "{} accounts of {BALANCE}, {} callers, {} rounds of {} s, seed {}",
        arguments.accounts, arguments.callers, arguments.rounds, arguments.seconds, arguments.seed
    );
    let folder = tempfile::tempdir()?;
    let total = BALANCE * arguments.accounts as u64;

    let binaries = Server::binaries(&arguments.tidemark)?;
    let app = arguments.folder.join("app");
    let (mut tidemarks, mut targets) = (Vec::new(), Vec::new());
    for (number, binary) in binaries.iter().enumerate() {
        let folder = folder.path().join(number.to_string());
        let name = match binaries.len() {
            1 => "Tidemark".to_owned(),
            _ => format!("Tidemark {}", binary.display()),
        };
        let mut started = vec![(name.clone(), Tidemark::start(binary, &folder, &app).await?)];
        if arguments.cluster {
            let cluster = Tidemark::start_cluster(binary, &folder, &app).await?;
            started.push((format!("{name}, three replicas"), cluster));
        }
        for (name, tidemark) in started {
            tidemark.open_accounts(arguments.accounts, BALANCE).await.context("open the accounts")?;
            let address = tidemark.server()?.address;
            targets.push(Target { name, address, path: "/api/mutation", body: tidemark::body });
            tidemarks.push(tidemark);
        }
    }
    let mut peers = None;
    if !arguments.without_peers {
        let database = postgres::start(folder.path(), arguments.accounts, BALANCE).await?;
        let connections = arguments.callers.to_string();
        let variables = [("DATABASE_URL", &*database.url()), ("POOL_CONNECTIONS", &*connections)];
        let node = NodePeer::start(&arguments.folder.join("peer"), &variables).await?;
        for (name, path) in [
            ("Node.js + PostgreSQL, five round trips", "/rounds"),
            ("Node.js + PostgreSQL, one call", "/call"),
        ] {
            let name = name.to_owned();
            targets.push(Target { name, address: node.address, path, body: postgres::body });
        }
        peers = Some((database, node));
    }
    for draw in &draws {
        let mut reports: Vec<Vec<Report>> = vec![Vec::new(); targets.len()];
        let mut taken_us: Vec<Vec<Taken<f64>>> = vec![Vec::new(); targets.len()];
        let mut runs: Vec<Vec<f64>> = vec![Vec::new(); tidemarks.len()];
        for round in 0..arguments.rounds.max(1) {
            for (index, target) in targets.iter().enumerate() {
                let tidemark = tidemarks.get(index);
                // What stands behind a target: a server, with or without followers, or both processes of the peers.
                let taken = || {
                    let (called, followers) = match (tidemark, &peers) {
                        (Some(tidemark), _) => tidemark.cpu_times()?,
                        (None, Some((database, node))) => {
                            (database.cpu_time()? + node.cpu_time()?, Duration::ZERO)
                        }
                        (None, None) => (Duration::ZERO, Duration::ZERO),
                    };
                    Ok::<_, anyhow::Error>(Taken { called, followers, callers: own_cpu_time()? })
                };
                let mutations = async || match tidemark {
                    Some(tidemark) => tidemark.server()?.mutations().await,
                    None => Ok(None),
                };
                let (mutations_before, taken_before) = (mutations().await?, taken()?);
                let report = target.measure(&arguments, draw.clone(), round).await?;
                let (mutations_after, taken_after) = (mutations().await?, taken()?);
                if let Some(tidemark) = tidemark {
                    tidemark.ensure_leader_unchanged().await?;
                }
                // The warm-up of a second is in the processor's time and not in the report.
                let in_all = report.per_second() * (report.elapsed.as_secs_f64() + 1.0);
                taken_us[index].push(taken_after.each_us_since(&taken_before, in_all));
                if let (Some(before), Some(after)) = (mutations_before, mutations_after) {
                    runs[index].push(after.runs_each_since(&before));
                }
                reports[index].push(report);
            }
        }
        println!("{} (load {})", draw.name(), load());
        for (index, (target, of_target)) in targets.iter().zip(&reports).enumerate() {
            let merged = Report::merge(of_target);
            let taken = Taken::median(&taken_us[index]);
            let has_followers = matches!(tidemarks.get(index), Some(Tidemark::Cluster { .. }));
            let rates = Spread::of(of_target.iter().map(Report::per_second));
            println!("{:<40} {merged}", target.name);
            print!("    per second {rates}   {:.0} µs of processor each", taken.called);
            if has_followers {
                print!(" in the leader, {:.0} in the followers", taken.followers);
            }
            print!(", {:.0} in the callers", taken.callers);
            match runs.get(index).filter(|runs| !runs.is_empty()) {
                Some(runs) => println!("   runs each {:.2}", Spread::of(runs.iter().copied())),
                None => println!(),
            }
            if target.name != targets[0].name {
                let ratio = ratio(&reports[0], of_target);
                println!("{:>78}", format!("{} is {ratio:.2} times as fast", targets[0].name));
                if has_followers {
                    let by_processor = Taken::median(&taken_us[0]).all() / taken.all();
                    let text = format!(
                        "{:.0} % of its rate; {:.0} % where the processors are the limit",
                        100.0 / ratio,
                        100.0 * by_processor
                    );
                    println!("{text:>78}");
                }
            }
            if let Some(failure) = &merged.first_failure {
                println!("    first failure: {failure}");
            }
        }
    }
    for tidemark in tidemarks {
        let sum = tidemark.total(arguments.accounts).await?;
        ensure!(sum == total, "Tidemark: the accounts hold {sum}, not {total}");
        tidemark.stop().await?;
    }
    if let Some((database, node)) = peers {
        let sum = postgres::total(&database).await?;
        ensure!(sum == total, "PostgreSQL: the accounts hold {sum}, not {total}");
        node.stop().await?;
        database.stop().await?;
    }
    println!("Money is conserved in every store.");
    Ok(())
}
