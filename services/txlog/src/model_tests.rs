//! The log's state machines against a plain model, under random interleavings.
//!
//! A world of three replicas, a log that refuses, loses tails and changes leaders, disks that lose what was not flushed,
//! clocks that step back, and clients that read, write, lose their connections and send twice. Everything is chosen by a
//! seed. In the end all commits, in the order of their timestamps, are replayed on a plain map.
//!
//! To repeat a seed: `MODEL_SEED=<seed> cargo test -p txlog --lib model_tests`.

mod client;
mod memory_store;
mod world;

use world::World;

use crate::planted::{Bug, plant};

const SEEDS: u64 = 5_000;

/// Runs one seed; the trace, or what is wrong with it.
fn run(seed: u64) -> Result<u64, String> {
    // A bug may be found by an assertion as well.
    std::panic::catch_unwind(|| World::new(seed).run()).unwrap_or_else(|panic| {
        Err(panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panicked".to_owned()))
    })
}

#[test]
fn every_history_is_serializable_and_every_answer_is_true() {
    let seeds = match std::env::var("MODEL_SEED") {
        Ok(seed) => vec![seed.parse().expect("MODEL_SEED is a number")],
        Err(_) => (0..SEEDS).collect::<Vec<_>>(),
    };
    for seed in seeds {
        let trace = run(seed).unwrap_or_else(|wrong| panic!("MODEL_SEED={seed}: {wrong}"));
        if seed % 10 == 0 {
            assert_eq!(run(seed), Ok(trace), "MODEL_SEED={seed}: the same seed gives the same trace");
        }
    }
}

/// What the checks of the model or the program's own assertions find.
fn what_is_wrong(seed: u64) -> Option<String> {
    match std::panic::catch_unwind(|| run(seed)) {
        Ok(outcome) => outcome.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            Some(format!("an assertion: {}", text.unwrap_or_default()))
        }
    }
}

/// How many seeds it takes to find a planted bug.
fn seeds_to_find(bug: Bug) -> u64 {
    let found = plant(bug, || (0..SEEDS).find_map(|seed| Some((seed, what_is_wrong(seed)?))));
    let (seed, wrong) = found.unwrap_or_else(|| panic!("{bug:?} was not found in {SEEDS} seeds"));
    eprintln!("{bug:?} is found by seed {seed}: {wrong}");
    seed
}

#[test]
fn a_validator_that_ignores_commits_in_flight_is_found() {
    seeds_to_find(Bug::ValidatorIgnoresInFlight);
}

#[test]
fn a_batcher_that_reorders_is_found() {
    seeds_to_find(Bug::BatcherReorders);
}

#[test]
fn an_apply_that_ignores_the_previous_timestamp_is_found() {
    seeds_to_find(Bug::ApplyIgnoresPrevious);
}

#[test]
fn a_lookup_that_denies_what_is_pending_is_found() {
    seeds_to_find(Bug::LookupDeniesPending);
}

#[test]
fn a_follower_that_ignores_its_leaders_resets_is_found() {
    seeds_to_find(Bug::FollowerIgnoresResets);
}

#[test]
fn a_recovery_that_lowers_the_head_is_found() {
    seeds_to_find(Bug::RecoveryLowersHead);
}
