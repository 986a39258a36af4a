//! Which faults there are when, and how soon commits go on after each.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::ValueEnum as _;
use rand::{RngExt as _, seq::SliceRandom as _};
use tokio::time::sleep;

use crate::{
    Options,
    faults::{Active, Kind, Round},
    findings::{Promise, fail, say},
    nodes::Cluster,
    world::World,
};

/// Six times what it takes at most until a lost leader is noticed (twice `limits.store.election_ms_max`): the machine is shared with the load.
const RESUME_TIME_MAX: Duration = Duration::from_millis(6 * 2 * 500);
/// Then the run is given up.
const STUCK_TIME_MAX: Duration = Duration::from_secs(90);
pub const SETTLE_TIME_MAX: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(10);
const POLL: Duration = Duration::from_millis(500);
const FAULTS_AT_ONCE_MAX: usize = 3;

/// What a short run has, one after the other; the last ones at once.
const SHORT: [&[Kind]; 7] = [
    &[Kind::KillLeader],
    &[Kind::CutLeader],
    &[Kind::PauseFollower],
    &[Kind::FailSync],
    &[Kind::Clock, Kind::OneWay],
    &[Kind::Replace],
    &[Kind::KillAll],
];

#[derive(Default)]
pub struct Summary {
    rounds: u64,
    kinds: BTreeMap<Kind, Told>,
    longest_gap: Duration,
    resumed: Vec<Duration>,
}

#[derive(Default)]
struct Told {
    count: u64,
    /// Between two commits, while it was alone.
    longest_gap: Duration,
}

pub async fn run(options: &Options, world: &Arc<World>, cluster: &mut Cluster) -> Result<Summary> {
    let mut random = world.random("faults", 0);
    let mut kinds: Vec<Kind> =
        if options.faults.is_empty() { Kind::value_variants().to_vec() } else { options.faults.clone() };
    kinds.retain(|kind| *kind != Kind::Older || options.older.is_some());
    let mut alone = kinds.clone();
    alone.shuffle(&mut random);
    let mut planned: Vec<Vec<Kind>> = match options.short {
        true => SHORT.iter().map(|round| round.to_vec()).collect(),
        false => alone.into_iter().map(|kind| vec![kind]).collect(),
    };
    planned.reverse();
    let until = Instant::now() + Duration::from_secs_f64(options.minutes * 60.0);
    let mut summary = Summary::default();
    wait_for_commit(world, world.micros()).await?;
    while Instant::now() < until {
        let round = match planned.pop() {
            Some(round) => round,
            None if options.short => break,
            None => {
                let count = random.random_range(1..=FAULTS_AT_ONCE_MAX.min(kinds.len()));
                let mut some = kinds.clone();
                some.shuffle(&mut random);
                some.truncate(count);
                some
            }
        };
        let Some(leader) = settled(world, cluster).await? else {
            sleep(Duration::from_secs(1)).await;
            continue;
        };
        let hold_ms = if options.short { 2_500..3_500 } else { 3_000..9_000 };
        let hold = Duration::from_millis(random.random_range(hold_ms));
        summary.rounds += 1;
        let began = world.micros();
        let mut faults = Round {
            world,
            cluster,
            random: &mut random,
            leader,
            busy: BTreeSet::new(),
            older: options.older.as_deref(),
            alone: round.len() == 1,
        };
        let mut active: Vec<Active> = Vec::new();
        let mut begun = Vec::new();
        for kind in round {
            if !active.is_empty() {
                let pause = faults.random.random_range(0..1_500);
                sleep(Duration::from_millis(pause)).await;
            }
            match faults.begin(kind).await {
                Ok(Some(fault)) => {
                    say(world, format_args!("round {} {}: {}", summary.rounds, kind.name(), fault.what));
                    active.push(fault);
                    begun.push(kind);
                }
                Ok(None) => {}
                // What is asked for under several faults may not be possible; alone it must be.
                Err(error) => {
                    let at_once = !active.is_empty();
                    say(world, format_args!("round {} {}: not done: {error:#}", summary.rounds, kind.name()));
                    if !at_once {
                        fail(world, Promise::Rejoined, format!("{} can't be done: {error:#}", kind.name()));
                    }
                }
            }
        }
        sleep(hold).await;
        active.sort_by_key(Active::turn);
        for fault in active {
            faults.end(fault).await?;
        }
        let healed = world.micros();
        let resumed = wait_for_commit(world, healed).await?;
        let gap = longest_gap(world, began, healed + resumed.as_micros() as u64);
        say(world, format_args!("  healed; a commit after {resumed:.2?}; longest gap {gap:.2?}"));
        world.findings.checked(Promise::Resumed, 1);
        if resumed > RESUME_TIME_MAX {
            let kinds: Vec<String> = begun.iter().map(|kind| kind.name()).collect();
            fail(
                world,
                Promise::Resumed,
                format!("after {} the first commit came after {resumed:.2?}", kinds.join(", ")),
            );
        }
        summary.resumed.push(resumed);
        summary.longest_gap = summary.longest_gap.max(gap);
        for kind in &begun {
            let told = summary.kinds.entry(*kind).or_default();
            told.count += 1;
            if begun.len() == 1 {
                told.longest_gap = told.longest_gap.max(gap);
            }
        }
        cluster.look_after().await?;
        sleep(Duration::from_millis(random.random_range(300..1_500))).await;
    }
    Ok(summary)
}

/// Who leads, once all have caught up.
async fn settled(world: &World, cluster: &mut Cluster) -> Result<Option<u64>> {
    cluster.look_after().await?;
    let deadline = Instant::now() + SETTLE_TIME_MAX;
    world.findings.checked(Promise::Rejoined, 1);
    loop {
        let wrong = match cluster.status(&cluster.numbers()).await {
            Ok(status) => match (status.unsettled(), status.leader()) {
                (None, Some(leader)) => return Ok(Some(leader)),
                (wrong, _) => wrong.unwrap_or_else(|| "nobody leads".to_owned()),
            },
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() > deadline {
            fail(world, Promise::Rejoined, format!("not settled after {SETTLE_TIME_MAX:?}: {wrong}"));
            return Ok(None);
        }
        sleep(POLL).await;
    }
}

/// How long after this moment, in microseconds of the run, a commit was acknowledged.
async fn wait_for_commit(world: &World, from: u64) -> Result<Duration> {
    let deadline = Instant::now() + STUCK_TIME_MAX;
    loop {
        let first = {
            let beats = world.beats.lock().expect("nobody panics with it");
            beats.iter().rev().copied().take_while(|end| *end >= from).last()
        };
        if let Some(first) = first {
            return Ok(Duration::from_micros(first - from));
        }
        if Instant::now() > deadline {
            fail(world, Promise::Resumed, format!("no commit in {STUCK_TIME_MAX:?}"));
            anyhow::bail!("the cluster takes no commits any more");
        }
        sleep(LOOK).await;
    }
}

/// The longest time without an acknowledgement in this span.
fn longest_gap(world: &World, from: u64, to: u64) -> Duration {
    let beats = world.beats.lock().expect("nobody panics with it");
    let mut last = from;
    let mut longest = 0;
    for end in beats.iter().copied().filter(|end| (from..=to).contains(end)) {
        longest = longest.max(end.saturating_sub(last));
        last = end;
    }
    Duration::from_micros(longest.max(to - last))
}

impl Summary {
    pub fn print(&self, world: &World) {
        let operations = world.operations.load(std::sync::atomic::Ordering::Relaxed);
        println!("\nSEED={} {} operations, {} rounds of faults", world.seed, operations, self.rounds);
        println!("\n{:<16} {:>5}  {}", "fault", "times", "longest time between two commits while alone");
        for (kind, told) in &self.kinds {
            println!("{:<16} {:>5}  {:.2?}", kind.name(), told.count, told.longest_gap);
        }
        let mut resumed = self.resumed.clone();
        resumed.sort();
        if let (Some(last), Some(median)) = (resumed.last(), resumed.get(resumed.len() / 2)) {
            println!("\nLongest time between two commits: {:.2?}", self.longest_gap);
            println!(
                "First commit after healing: median {median:.2?}, longest {last:.2?} (at most {RESUME_TIME_MAX:?})"
            );
        }
    }
}
