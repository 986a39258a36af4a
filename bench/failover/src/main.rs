//! How long no commit is acknowledged when the leader of three replicas is killed, is told to hand over, or is stopped.
//!
//! Callers at all three nodes add rows all the time. What is measured is the longest time between two acknowledged commits that
//! follow each other, whoever had asked for them; beside it the same of a quiet second before. After each kill the node is started
//! again, and all have caught up before the next.
//!
//! A caller of a node that is gone goes to the next one, at once where the connection is refused or ends, and otherwise when it has
//! had no answer for [`DEADLINE_OF_KILLS`]. When the lead is handed over no answer may be lost and none may be an error: whoever
//! calls waits for long.
#![allow(clippy::print_stdout, reason = "a report is what this program is for")]

mod callers;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use futures::{future::join_all, try_join};
use harness::{Cluster, Server, Spread, processes::load};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::callers::{Callers, Seen};

/// After so long a caller asks elsewhere, while nodes are killed.
const DEADLINE_OF_KILLS: Duration = Duration::from_millis(500);
/// The same while the lead is handed over: nothing is given up.
const DEADLINE_OF_HAND_OVERS: Duration = Duration::from_secs(20);
/// How long it is looked at before anything happens.
const QUIET: Duration = Duration::from_secs(1);
/// How long it is looked at after commits go on, as they may stop once more.
const AFTERWARDS: Duration = Duration::from_secs(2);
/// Nothing takes longer, or something is broken.
const TIME_MAX: Duration = Duration::from_secs(30);
/// How often it is looked who leads.
const LOOK: Duration = Duration::from_millis(10);

/// Measures how long no commit is acknowledged when a leader goes.
#[derive(Parser)]
struct Arguments {
    /// How often the leader is killed.
    #[arg(long, default_value_t = 50)]
    kills: usize,
    /// How often the leader hands over because it is told to, and how often because it is stopped.
    #[arg(long, default_value_t = 20)]
    hand_overs: usize,
    /// How many write at once.
    #[arg(long, default_value_t = 8)]
    callers: usize,
    /// The pause of a caller between two writes, in milliseconds.
    #[arg(long, default_value_t = 10)]
    pause_ms: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A server. By default the one built beside this program.
    #[arg(long)]
    tidemark: Option<PathBuf>,
    /// Configuration that is added to that of each node, as tables of TOML.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Prints each round.
    #[arg(long)]
    each: bool,
    /// The folder of the app.
    #[arg(long, default_value = "bench/transfer/app")]
    app: PathBuf,
}

/// What happens to the leader.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Event {
    Killed,
    ToldToHandOver,
    Stopped,
}

impl Event {
    fn name(self) -> &'static str {
        match self {
            Event::Killed => "the leader is killed (kill -9)",
            Event::ToldToHandOver => "the leader is told to hand over (tidemark cluster transfer-leader)",
            Event::Stopped => "the leader is stopped (SIGTERM)",
        }
    }

    fn deadline(self) -> Duration {
        match self {
            Event::Killed => DEADLINE_OF_KILLS,
            Event::ToldToHandOver | Event::Stopped => DEADLINE_OF_HAND_OVERS,
        }
    }
}

/// What one round has shown.
struct Round {
    /// The longest time without an acknowledged commit.
    gap: Duration,
    /// The same before anything happened.
    quiet: Duration,
    /// From the event until another replica leads, as it says itself, where it does.
    another_leads: Option<Duration>,
    failures: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let binary = match &arguments.tidemark {
        Some(binary) => binary.clone(),
        None => Server::binary()?,
    };
    let limits = match &arguments.config {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?,
        None => String::new(),
    };
    println!(
        "three replicas on this machine, {} callers with pauses of {} ms, seed {}; the longest time without an acknowledged commit",
        arguments.callers, arguments.pause_ms, arguments.seed
    );
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(&binary, &folder.path().join("cluster"), &limits).await?;
    cluster.node(0)?.push(&arguments.app).await?;
    let addresses: Vec<_> = cluster.running().map(|node| node.address).collect();
    let pause = Duration::from_millis(arguments.pause_ms);
    let callers = Callers::start(addresses, arguments.callers, pause);
    let mut random = StdRng::seed_from_u64(arguments.seed);
    let rounds = [
        (Event::Killed, arguments.kills),
        (Event::ToldToHandOver, arguments.hand_overs),
        (Event::Stopped, arguments.hand_overs),
    ];
    for (event, times) in rounds {
        let mut of_event = Vec::new();
        for number in 0..times {
            let round = round(&mut cluster, &callers, event, &mut random).await;
            let round = round.with_context(|| format!("{}, {}", event.name(), number + 1))?;
            if arguments.each {
                println!(
                    "    {:>3}: {:>5} ms   quiet {:>3} ms   another leads after {:>5} ms   failed {}",
                    number + 1,
                    round.gap.as_millis(),
                    round.quiet.as_millis(),
                    round.another_leads.unwrap_or_default().as_millis(),
                    round.failures.len()
                );
            }
            of_event.push(round);
        }
        report(event, &of_event);
    }
    let written = callers.end().await;
    println!("{written} rows were acknowledged in all.");
    cluster.end().await
}

async fn round(cluster: &mut Cluster, callers: &Callers, event: Event, random: &mut StdRng) -> Result<Round> {
    callers.set_deadline(event.deadline());
    cluster.settled().await?;
    // Somewhere between two signs of life.
    tokio::time::sleep(Duration::from_millis(random.random_range(0..1_000))).await;
    let leader = cluster.leader().await?;
    let group = Cluster::group_in(&cluster.ask(&["status"]).await?).context("no deployment")?;
    callers.forget();
    tokio::time::sleep(QUIET).await;
    let quiet = callers.seen().longest_gap();
    callers.forget();
    let begun = Instant::now();
    let another_leads = match event {
        Event::Killed => {
            let taken = cluster.take(leader)?;
            try_join!(taken.kill(), another_leads(cluster, leader, group, begun))?.1
        }
        Event::Stopped => {
            let taken = cluster.take(leader)?;
            try_join!(taken.stop(), another_leads(cluster, leader, group, begun))?.1
        }
        Event::ToldToHandOver => {
            let of_group = group.to_string();
            let words = ["transfer-leader", "--group", &of_group];
            let told = cluster.ask(&words);
            try_join!(told, another_leads(cluster, leader, group, begun))?.1
        }
    };
    let gap = loop {
        tokio::time::sleep(LOOK).await;
        let now = begun.elapsed();
        let seen = callers.seen();
        let since_last = now.saturating_sub(seen.last().unwrap_or_default());
        ensure!(since_last < TIME_MAX, "nothing is acknowledged any more: {:?}", seen.failures().last());
        let gap = seen.longest_gap();
        // They have gone on, and not stopped once more since.
        if since_last < AFTERWARDS / 4 && now > gap.end + AFTERWARDS && now > AFTERWARDS {
            break gap;
        }
    };
    let failures = callers.seen().failures().to_vec();
    if event != Event::ToldToHandOver {
        cluster.start_again(leader).await?;
    }
    Ok(Round { gap: gap.length, quiet: quiet.length, another_leads, failures })
}

/// How long it takes from `begun` until one that runs says that it leads; nothing where they don't tell.
async fn another_leads(
    cluster: &Cluster,
    before: usize,
    group: u64,
    begun: Instant,
) -> Result<Option<Duration>> {
    let series = &*format!("tidemark_raft_leads{{group=\"{group}\"}}");
    loop {
        let others = (0..cluster.size()).filter(|at| *at != before).map(|at| cluster.node(at));
        let asked = others.map(|node| async move { node?.metric(series).await });
        let answers = join_all(asked).await;
        if answers.iter().flatten().any(|leads| *leads == Some(1.0)) {
            return Ok(Some(begun.elapsed()));
        }
        if answers.iter().all(|leads| matches!(leads, Ok(None))) {
            return Ok(None);
        }
        ensure!(begun.elapsed() < TIME_MAX, "nobody leads: {answers:?}");
        tokio::time::sleep(LOOK).await;
    }
}

fn report(event: Event, rounds: &[Round]) {
    if rounds.is_empty() {
        return;
    }
    let milliseconds = |which: fn(&Round) -> Duration| {
        Spread::of(rounds.iter().map(|round| which(round).as_secs_f64() * 1e3))
    };
    let (gap, quiet) = (milliseconds(|round| round.gap), milliseconds(|round| round.quiet));
    let leads = milliseconds(|round| round.another_leads.unwrap_or_default());
    println!(
        "{}, {} times (load {})\n    p50 {:.0} ms   max {:.0} ms   least {:.0} ms   another leads after {leads} ms   \
         in a quiet second {quiet} ms",
        event.name(),
        rounds.len(),
        load(),
        gap.median(),
        gap.highest(),
        gap.lowest(),
    );
    // What is under way at a node that is killed is lost.
    let failures: Vec<&String> = rounds.iter().flat_map(|round| &round.failures).collect();
    match failures.first() {
        Some(first) => println!("    failed requests {}, the first: {first}", failures.len()),
        None => println!("    failed requests 0"),
    }
}

/// A time without an acknowledgement.
#[derive(Clone, Copy, Default)]
struct Gap {
    length: Duration,
    end: Duration,
}

impl Seen {
    /// The longest one, until the last acknowledgement.
    fn longest_gap(&self) -> Gap {
        let starts = [Duration::ZERO].into_iter().chain(self.acknowledged().iter().copied());
        let gaps =
            starts.zip(self.acknowledged()).map(|(start, end)| Gap { length: *end - start, end: *end });
        gaps.max_by_key(|gap| gap.length).unwrap_or_default()
    }
}
