//! A cluster inside one process, in which a seed decides everything: who does what next, what the network loses, which disk
//! fails, who crashes when, and what the clocks say. With the real group, handle, proposer, state machine, log and
//! consensus library; docs/simulation.md says what is simulated and what is not.
//!
//! To repeat a seed: `SEED=<seed> cargo test --workspace --lib -- simulation::seeds --nocapture`, with `SIMULATION_LOG=1` for
//! what happens in it. Many: `make simulate SEED=<first> SEEDS=<count>`.

mod caller;
mod cluster;
pub(crate) mod disk;
mod documents;
mod faults;
mod holders;
mod lists;
mod network;
pub(crate) mod runtime;
mod streams;
pub(crate) mod wire;
mod world;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use world::Summary;

use crate::planted::{Bug, plant};

/// Of a short run.
const SEEDS: u64 = 200;
/// A planted bug may need more.
const SEEDS_WITH_A_BUG: u64 = 400;

/// Runs one seed; what happened and a hash of it, or what is wrong with it.
fn run(seed: u64) -> Result<(Summary, u64), String> {
    let run = || {
        let (summary, trace) = runtime::run(seed, world::live());
        summary.map(|summary| (summary, trace))
    };
    // Much of what is wrong is found by an assertion.
    std::panic::catch_unwind(run).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("an assertion: {}", text.unwrap_or_default()))
    })
}

/// The command that does the same again.
fn repeat(seed: u64) -> String {
    format!("SEED={seed} cargo test --workspace --lib -- simulation::seeds --nocapture")
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// Every history is strictly serializable, every answer is true, nothing is lost or done twice, and commits go on. Each seed
/// runs twice, and must do the same.
#[test]
fn seeds() {
    let first = number("SEED").unwrap_or(0);
    let alone = number("SEED").is_some();
    let seeds = number("SEEDS").unwrap_or(if alone { 1 } else { SEEDS });
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(seeds as usize);
    let next = AtomicU64::new(first);
    let commits = AtomicU64::new(0);
    let began = Instant::now();
    let wrong = std::thread::scope(|scope| {
        let work = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + seeds {
                    return None;
                }
                let wrong = |wrong: String| Some(format!("{}: {wrong}", repeat(seed)));
                match (run(seed), run(seed)) {
                    (Ok(one), Ok(other)) if one == other => {
                        commits.fetch_add(one.0.commits as u64, Ordering::Relaxed);
                        if alone {
                            eprintln!("seed {seed}: {:?}, trace {:016x}", one.0, one.1);
                        }
                    }
                    (Ok(one), Ok(other)) => {
                        return wrong(format!("it is not the same again: {one:?}, {other:?}"));
                    }
                    (Err(error), _) | (_, Err(error)) => return wrong(error),
                }
            }
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().find_map(|thread| thread.join().expect("it tells what is wrong"))
    });
    if let Some(wrong) = wrong {
        panic!("{wrong}");
    }
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let commits = commits.into_inner();
    eprintln!(
        "{seeds} seeds from {first} on, each twice, with {commits} commits: {:.0} seeds a minute",
        seeds as f64 / minutes
    );
}

/// Finds a planted bug, by `seed` or one behind it: since what a seed means changes with the code. One that fails without the
/// bug says nothing. With SEED=0 it looks for the first one of all.
fn is_found(bug: Bug, seed: u64) {
    let from = number("SEED").unwrap_or(seed);
    let finds = |seed: u64| Some((seed, plant(bug, || run(seed)).err()?)).filter(|_| run(seed).is_ok());
    let found = (from..from + SEEDS_WITH_A_BUG).find_map(finds);
    let (seed, wrong) =
        found.unwrap_or_else(|| panic!("{bug:?} was not found in {SEEDS_WITH_A_BUG} seeds from {from} on"));
    eprintln!("{bug:?} is found by seed {seed}: {wrong}");
}

macro_rules! found {
    ($($name:ident: $bug:ident by $seed:literal,)*) => {
        $(#[test]
        fn $name() {
            is_found(Bug::$bug, $seed);
        })*
    };
}

found! {
    a_fence_that_is_open_is_found: FenceIsOpen by 96,
    an_apply_that_ignores_the_previous_timestamp_is_found: ApplyIgnoresPrevious by 96,
    an_answer_before_a_commit_is_published_is_found: AnsweredBeforePublished by 0,
    a_log_that_tells_before_it_is_durable_is_found: LogTellsBeforeItIsDurable by 0,
    an_apply_that_passes_its_own_log_is_found: ApplyPassesLog by 62,
    a_commit_that_leaves_no_record_is_found: RecordIsNotWritten by 0,
    ages_that_follow_timestamps_are_found: AgesFollowTimestamps by 2,
    a_purge_that_passes_what_is_flushed_is_found: PurgePassesFlushed by 1,
    a_membership_that_is_forgotten_is_found: MembershipIsForgotten by 6,
    a_snapshot_that_lacks_records_is_found: SnapshotLacksRecords by 0,
    an_installed_state_that_is_not_flushed_is_found: InstallIsNotFlushed by 12,
    a_stream_that_begins_where_nobody_leads_is_found: StreamBeginsUnproved by 0,
    a_new_leader_that_forgets_what_is_held_is_found: NewLeaderForgetsHolds by 14,
    a_hold_that_is_not_confirmed_is_found: HoldIsNotConfirmed by 80,
    a_removed_node_that_stays_is_found: NewNodeKeepsThoseWhoWent by 55_254,
}
