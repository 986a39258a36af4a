//! Live queries under many clients: how long it takes until the last client has what a commit changed, what that costs
//! the server, how many commits a second are possible meanwhile, and what an idle socket takes in memory.
//!
//! Several builds can be measured in one run; they take turns, turn after turn, so that all meet the same disturbances.
//! Figures are medians over the turns, with the smallest and the largest beside them.
#![allow(clippy::print_stdout, reason = "a report is what this program is for")]

mod clients;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Parser;
use harness::{Answer, Callers, Server, Spread};
use http_body_util::Full;
use hyper::{Request, body::Bytes};
use rand::RngExt;
use serde_json::json;

use crate::clients::{Clients, Queries};

/// Rows behind those that the clients look at, which nobody looks at.
const UNSEEN_ROWS: usize = 64;

/// Before memory is looked at.
const REST: Duration = Duration::from_secs(3);

/// Measures live queries.
#[derive(Parser)]
struct Arguments {
    /// How many clients; several numbers are measured one after the other.
    #[arg(long, value_delimiter = ',', default_value = "100,1000")]
    clients: Vec<usize>,
    /// Clients whose sockets are idle, for the memory that each takes; 0: that is not measured.
    #[arg(long, default_value_t = 5_000)]
    idle_sockets: usize,
    /// What they look at; several are measured one after the other.
    #[arg(long, value_delimiter = ',', default_value = "same,own,per-identity")]
    queries: Vec<Queries>,
    /// Commits, one at a time, of which each turn measures the way to the last client.
    #[arg(long, default_value_t = 15)]
    commits: usize,
    /// Callers that write as fast as they are answered, for the commits per second.
    #[arg(long, default_value_t = 16)]
    callers: usize,
    /// How long they write in each turn, after half a second that is not counted.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    #[arg(long, default_value_t = 5)]
    turns: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A server to measure, again for each; by default the one built beside this program.
    #[arg(long)]
    tidemark: Vec<PathBuf>,
    /// The folder with the app.
    #[arg(long, default_value = "bench/fanout/app")]
    app: PathBuf,
}

/// What one turn of one server has shown.
#[derive(Clone, Copy)]
struct Turn {
    /// Until all clients have their first answer.
    subscribed_ms: f64,
    /// From a commit's answer to the last client's update: the median.
    last_update_ms: f64,
    /// The server's processor time for a commit and its updates.
    commit_cpu_ms: f64,
    /// The same for each client that was shown one.
    listener_cpu_us: f64,
    /// Commits to rows that nobody looks at.
    unseen_per_second: f64,
    unseen_cpu_us: f64,
    /// Commits to rows that clients look at.
    seen_per_second: f64,
    seen_cpu_us: f64,
    /// Updates that the clients were shown meanwhile.
    updates_per_second: f64,
}

struct Target {
    name: String,
    server: Server,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let binaries = Server::binaries(&arguments.tidemark)?;
    let rows = arguments.clients.iter().copied().max().unwrap_or(0).max(arguments.idle_sockets);
    let folder = tempfile::tempdir()?;
    let mut targets = Vec::new();
    for (number, binary) in binaries.iter().enumerate() {
        let target = Target::start(binary, &folder.path().join(number.to_string()), &arguments.app).await?;
        target.open_rows(rows + UNSEEN_ROWS).await.context("open the rows")?;
        targets.push(target);
    }
    println!(
        "{} turns, {} commits one at a time, then {} callers for {} s twice, seed {}; medians (smallest, largest)",
        arguments.turns, arguments.commits, arguments.callers, arguments.seconds, arguments.seed
    );
    for target in &targets {
        target.report_idle_sockets(arguments.idle_sockets).await?;
    }
    for clients in &arguments.clients {
        for queries in arguments.queries.iter().copied() {
            println!("\n{clients} clients, {}", queries.name());
            let mut turns: Vec<Vec<Turn>> = vec![Vec::new(); targets.len()];
            for turn in 0..arguments.turns.max(1) {
                for (target, turns) in targets.iter().zip(&mut turns) {
                    turns.push(target.turn(&arguments, *clients, queries, rows, turn as u64).await?);
                }
            }
            for (target, turns) in targets.iter().zip(&turns) {
                report(&target.name, turns);
            }
        }
    }
    for target in targets {
        target.server.stop().await?;
    }
    Ok(())
}

impl Target {
    async fn start(binary: &Path, data: &Path, app: &Path) -> Result<Target> {
        let server = Server::start(binary, data).await?;
        server.push(app).await?;
        let name: Vec<&str> = binary.iter().filter_map(|part| part.to_str()).collect();
        // Builds of one program differ in their folders only.
        let name = name[name.len().saturating_sub(3)..].join("/");
        Ok(Target { name, server })
    }

    async fn open_rows(&self, count: usize) -> Result<()> {
        for from in (0..count).step_by(500) {
            self.server
                .call("mutation", "rows:open", json!({"from": from, "to": (from + 500).min(count)}))
                .await?;
        }
        Ok(())
    }

    async fn touch(&self, number: usize) -> Result<u64> {
        let version = self.server.call("mutation", "rows:touch", json!({"number": number})).await?;
        Ok(version.as_f64().context("a version is a number")? as u64)
    }

    async fn turn(
        &self,
        arguments: &Arguments,
        count: usize,
        queries: Queries,
        rows: usize,
        turn: u64,
    ) -> Result<Turn> {
        let sockets = Clients::connect(&self.server, count).await?;
        let started = Instant::now();
        let mut clients = Clients::subscribe(&self.server, sockets, queries).await?;
        let subscribed_ms = milliseconds(started.elapsed());

        let mut ways = Vec::new();
        let cpu_before = self.server.cpu_time()?;
        for commit in 0..arguments.commits {
            let number = if queries == Queries::Own { commit % count } else { 0 };
            let concerned = if queries == Queries::Own { number..number + 1 } else { 0..count };
            let version = self.touch(number).await?;
            let answered = Instant::now();
            let mut missing =
                clients.versions[concerned.clone()].iter().filter(|shown| **shown < version).count();
            let mut last = answered;
            while missing > 0 {
                let shown = clients.next().await?;
                if concerned.contains(&shown.client) && shown.before < version && shown.version >= version {
                    missing -= 1;
                    last = last.max(shown.at);
                }
            }
            ways.push(milliseconds(last - answered));
        }
        let commits = arguments.commits.max(1) as f64;
        let commit_cpu_ms = milliseconds(self.server.cpu_time()? - cpu_before) / commits;
        let listeners = if queries == Queries::Own { 1 } else { count.max(1) };

        // Somebody has to take what the clients are shown.
        let updates = Arc::new(AtomicU64::new(0));
        let counting = updates.clone();
        let taking = tokio::spawn(async move {
            while clients.next().await.is_ok() {
                counting.fetch_add(1, Ordering::Relaxed);
            }
            clients
        });
        let seed = arguments.seed + turn;
        let unseen = self.load(arguments, rows..rows + UNSEEN_ROWS, seed).await?;
        let seen_rows = if queries == Queries::Own { 0..count } else { 0..1 };
        let (before, began) = (updates.load(Ordering::Relaxed), Instant::now());
        let seen = self.load(arguments, seen_rows, seed).await?;
        let updates = updates.load(Ordering::Relaxed) - before;
        let updates_per_second = updates as f64 / began.elapsed().as_secs_f64();
        taking.abort();
        Ok(Turn {
            subscribed_ms,
            last_update_ms: Spread::of(ways).median(),
            commit_cpu_ms,
            listener_cpu_us: commit_cpu_ms * 1e3 / listeners as f64,
            unseen_per_second: unseen.0,
            unseen_cpu_us: unseen.1,
            seen_per_second: seen.0,
            seen_cpu_us: seen.1,
            updates_per_second,
        })
    }

    /// Commits per second, and the server's microseconds of processor time for each.
    async fn load(
        &self,
        arguments: &Arguments,
        rows: std::ops::Range<usize>,
        seed: u64,
    ) -> Result<(f64, f64)> {
        let address = self.server.address;
        let make = move |random: &mut rand::rngs::StdRng| {
            let number = random.random_range(rows.clone());
            let body = format!(r#"{{"path":"rows:touch","format":"json","args":{{"number":{number}}}}}"#);
            Request::post("/api/mutation")
                .header("host", address.to_string())
                .header("content-type", "application/json")
                .body(Full::new(Bytes::from(body)))
                .expect("the parts are valid")
        };
        let callers =
            |warm_up, duration| Callers { address, callers: arguments.callers, warm_up, duration, seed };
        let run = async |callers| harness::run(callers, make.clone(), Answer::of_function).await;
        let failed = |error| anyhow::anyhow!("{error}");
        run(callers(Duration::ZERO, Duration::from_millis(500))).await.map_err(failed)?;
        let cpu_before = self.server.cpu_time()?;
        let seconds = Duration::from_secs(arguments.seconds);
        let report = run(callers(Duration::ZERO, seconds)).await.map_err(failed)?;
        let cpu = self.server.cpu_time()? - cpu_before;
        // Conflicts that were given up are not commits; what they cost counts.
        Ok((report.per_second(), cpu.as_secs_f64() * 1e6 / report.answered.max(1) as f64))
    }

    /// What idle sockets take in memory, without a query and with one each, which is another one for each.
    async fn report_idle_sockets(&self, count: usize) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let before = self.rested_bytes().await?;
        let sockets = Clients::connect(&self.server, count).await?;
        let connected = self.rested_bytes().await?;
        let clients = Clients::subscribe(&self.server, sockets, Queries::Own).await?;
        let subscribed = self.rested_bytes().await?;
        let each = |bytes: u64| bytes.saturating_sub(before) as f64 / count as f64 / 1e3;
        println!(
            "{:<24} {count} idle sockets: {:.1} kB each, {:.1} kB each with a query",
            self.name,
            each(connected),
            each(subscribed)
        );
        drop(clients);
        Ok(())
    }

    /// Resident memory, once what was only needed for a moment has been given back.
    async fn rested_bytes(&self) -> Result<u64> {
        tokio::time::sleep(REST).await;
        Ok(self.server.memory()?.resident_bytes)
    }
}

fn report(name: &str, turns: &[Turn]) {
    let figure =
        |of: fn(&Turn) -> f64, digits: usize| format!("{:.digits$}", Spread::of(turns.iter().map(of)));
    println!("  {name}");
    println!("    all subscribed                       {} ms", figure(|turn| turn.subscribed_ms, 1));
    println!("    from its answer to the last update   {} ms", figure(|turn| turn.last_update_ms, 2));
    println!(
        "    server's processor time for it       {} ms, {} µs a listener",
        figure(|turn| turn.commit_cpu_ms, 2),
        figure(|turn| turn.listener_cpu_us, 1)
    );
    println!(
        "    commits that nobody looks at         {} /s, {} µs of processor time",
        figure(|turn| turn.unseen_per_second, 0),
        figure(|turn| turn.unseen_cpu_us, 0)
    );
    println!(
        "    commits that clients look at         {} /s, {} µs of processor time",
        figure(|turn| turn.seen_per_second, 0),
        figure(|turn| turn.seen_cpu_us, 0)
    );
    println!("    updates shown meanwhile              {} /s", figure(|turn| turn.updates_per_second, 0));
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
