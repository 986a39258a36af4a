//! The log's state machines against a plain model, under random interleavings.
//!
//! A world of three replicas, a log that refuses, loses tails and changes leaders, disks that lose what was not flushed,
//! clocks that step back and jump ahead, and clients that read, write, delete, lose their connections and send twice. They read documents and
//! parts of two indexes, at the head as well, by the same reader that serves; some of their commits go in parts. Meanwhile the
//! horizon follows, and what was deleted is swept. Everything is chosen by a
//! seed. In the end all commits, in the order of their timestamps, are replayed on a plain map, and so is what everybody read.
//!
//! Not in it: the paths of `handle`, `group`, `proposer` and the library around these state machines, which
//! `unrest_tests` run for real; backfills; compactions (`store_tests`).
//!
//! To repeat a seed, or to run many: `MODEL_SEED=<seed> cargo test -p txlog --lib model_tests`, `MODEL_SEED=<first>..<end>`.

pub(crate) mod client;
pub(crate) mod history;
pub(crate) mod memory_store;
mod world;

use world::World;

use crate::planted::{Bug, plant};

const SEEDS: u64 = 1_000;
/// A planted bug may need more.
const SEEDS_WITH_A_BUG: u64 = 20_000;

/// Runs one seed; the trace, or what is wrong with it.
fn run(seed: u64) -> Result<u64, String> {
    // A bug may be found by an assertion as well.
    std::panic::catch_unwind(|| World::new(seed).run()).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("an assertion: {}", text.unwrap_or_default()))
    })
}

/// The command that does the same again.
fn repeat(seed: u64) -> String {
    format!("MODEL_SEED={seed} cargo test --workspace --lib -- model_tests::every_history")
}

fn number(text: &str) -> u64 {
    text.parse().expect("MODEL_SEED is a number, or two with .. between")
}

#[test]
fn every_history_is_serializable_and_every_answer_is_true() {
    let seeds = match std::env::var("MODEL_SEED") {
        Ok(seeds) => match seeds.split_once("..") {
            Some((first, end)) => number(first)..number(end),
            None => number(&seeds)..number(&seeds) + 1,
        },
        Err(_) => 0..SEEDS,
    };
    for seed in seeds {
        let trace = run(seed).unwrap_or_else(|wrong| panic!("{}: {wrong}", repeat(seed)));
        if seed % 10 == 0 {
            assert_eq!(run(seed), Ok(trace), "{}: the same seed gives the same trace", repeat(seed));
        }
    }
}

/// How many seeds it takes to find a planted bug.
fn seeds_to_find(bug: Bug) -> u64 {
    let found = plant(bug, || (0..SEEDS_WITH_A_BUG).find_map(|seed| Some((seed, run(seed).err()?))));
    let (seed, wrong) = found.unwrap_or_else(|| panic!("{bug:?} was not found in {SEEDS_WITH_A_BUG} seeds"));
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
fn a_record_that_forgets_which_run_it_was_is_found() {
    seeds_to_find(Bug::RecordForgetsRun);
}

#[test]
fn a_follower_that_ignores_its_leaders_resets_is_found() {
    seeds_to_find(Bug::FollowerIgnoresResets);
}

#[test]
fn a_recovery_that_lowers_the_head_is_found() {
    seeds_to_find(Bug::RecoveryLowersHead);
}

#[test]
fn a_reader_of_the_newest_state_that_sees_documents_where_they_were_is_found() {
    seeds_to_find(Bug::OverlayKeepsOldKeys);
}

#[test]
fn a_commit_that_does_not_touch_the_places_its_documents_leave_is_found() {
    seeds_to_find(Bug::TouchedKeysOmitOldOnes);
}

#[test]
fn a_commit_that_does_not_touch_unchanged_index_keys_is_found() {
    seeds_to_find(Bug::TouchedKeysOmitUnchangedOnes);
}

#[test]
fn a_turn_that_does_not_look_at_what_came_since_the_check_is_found() {
    seeds_to_find(Bug::ReceiveTrustsCheck);
}

#[test]
fn a_record_that_is_not_asked_for_again_is_found() {
    seeds_to_find(Bug::RecordIsNotAskedAgain);
}

#[test]
fn a_term_that_keeps_parts_of_older_ones_is_found() {
    seeds_to_find(Bug::BlankKeepsOldStages);
}

#[test]
fn a_store_that_hides_what_is_above_it_is_found() {
    seeds_to_find(Bug::StoreHidesOverlay);
}

#[test]
fn entries_that_read_the_store_before_others_are_written_are_found() {
    seeds_to_find(Bug::RoundReadsBeforeItWrites);
}

#[test]
fn a_sweep_that_passes_the_horizon_is_found() {
    seeds_to_find(Bug::SweepPassesHorizon);
}

#[test]
fn a_sweep_that_leaves_old_versions_is_found() {
    seeds_to_find(Bug::SweepLeavesOldVersions);
}

#[test]
fn a_batch_of_unknown_fate_that_counts_as_refused_is_found() {
    seeds_to_find(Bug::UnknownIsRefused);
}

#[test]
fn gaps_that_ignore_writes_are_found() {
    seeds_to_find(Bug::GapsIgnoreWrites);
}

#[test]
fn gaps_that_overlap_are_found() {
    seeds_to_find(Bug::GapsOverlap);
}
