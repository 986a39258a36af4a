//! A vector index against a plain list, under random writes and work on its files.

use std::collections::BTreeMap;

use contract::{
    DeploymentId, DeploymentRef, GroupId, IndexId, InternalDocumentId, TextFilter, Timestamp, VectorMatch,
    VectorSearch,
};
use rand::{Rng, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use super::{VectorDocument, VectorIndex, part::product};
use crate::{files::Folder, limits::SearchLimits};

fn direction(random: &mut impl Rng, dimensions: usize) -> Vec<f32> {
    let numbers: Vec<f64> = (0..dimensions).map(|_| random.random_range(-1.0..1.0)).collect();
    transaction::normalized(&numbers)
}

fn asked(random: &mut impl Rng, dimensions: usize, matches_max: usize) -> VectorSearch {
    let any_of = match random.random_bool(0.5) {
        true => (0..random.random_range(1..3))
            .map(|_| TextFilter { field: random.random_range(0..2), value: [random.random_range(0..4); 16] })
            .collect(),
        false => Vec::new(),
    };
    VectorSearch {
        deployment: DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) },
        index: IndexId([1; 16]),
        not_before: Timestamp::ZERO,
        vector: direction(random, dimensions),
        any_of,
        matches_max,
    }
}

fn plain(documents: &BTreeMap<InternalDocumentId, VectorDocument>, asked: &VectorSearch) -> Vec<VectorMatch> {
    let passes = |document: &&VectorDocument| {
        asked.any_of.is_empty()
            || asked.any_of.iter().any(|filter| document.filters[usize::from(filter.field)] == filter.value)
    };
    let mut found: Vec<VectorMatch> = documents
        .values()
        .filter(passes)
        .map(|document| VectorMatch {
            id: document.id,
            score: product(&asked.vector, &document.vector).clamp(-1.0, 1.0),
        })
        .collect();
    found.sort_by(|one, other| other.score.total_cmp(&one.score).then_with(|| one.id.cmp(&other.id)));
    found.truncate(asked.matches_max);
    found
}

/// Without a graph nothing is missed; what is deleted is never found, with or without.
fn run(seed: u64, dimensions: usize, limits: SearchLimits, is_exact: bool) {
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("index");
    let open = || {
        let folder = Folder::new(path.clone()).expect("it is made");
        VectorIndex::open(folder, dimensions, 2, limits).expect("it opens")
    };
    let (mut index, _) = open();
    let mut documents: BTreeMap<InternalDocumentId, VectorDocument> = BTreeMap::new();
    let (mut hits, mut wanted) = (0, 0);
    for step in 0..120_u64 {
        match random.random_range(0..10) {
            0..6 => {
                let mut changes = Vec::new();
                for _ in 0..random.random_range(1..30) {
                    let mut id = [0; 16];
                    id[15] = random.random_range(0..250);
                    let from = Timestamp::new(step + 1).expect("in range");
                    let filters = (0..2).map(|_| [random.random_range(0..4); 16]).collect();
                    let vector = direction(&mut random, dimensions);
                    let written = VectorDocument { id, from, filters, vector };
                    let written = random.random_bool(0.75).then_some(written);
                    match &written {
                        Some(document) => documents.insert(id, document.clone()),
                        None => documents.remove(&id),
                    };
                    changes.push((id, written));
                }
                index.change(changes);
            }
            6 => {
                if let Some(job) = index.next_job(limits.vectors_plain_bytes_max) {
                    let done = index.work(job).expect("it is written");
                    // Somebody goes meanwhile.
                    if let Some(id) = documents.keys().next().copied() {
                        documents.remove(&id);
                        index.change([(id, None)]);
                    }
                    index.finish(done).expect("it is saved");
                }
            }
            7 if random.random_bool(0.3) => {
                index.close(Timestamp::new(step + 1)).expect("it is closed");
                let (opened, complete_at) = open();
                assert_eq!(complete_at, Timestamp::new(step + 1), "seed {seed}");
                index = opened;
            }
            _ => {
                let count = random.random_range(1..12);
                let asked = asked(&mut random, dimensions, count);
                let found = index.search(&asked).expect("it is searched");
                let expected = plain(&documents, &asked);
                for found in &found {
                    assert!(documents.contains_key(&found.id), "seed {seed}: what was deleted is found");
                }
                if is_exact {
                    assert_eq!(found, expected, "seed {seed}");
                }
                wanted += expected.len();
                hits += expected.iter().filter(|expected| found.contains(expected)).count();
            }
        }
        assert_eq!(index.documents(), documents.len() as u64, "seed {seed}");
    }
    let known = index.documents_between((std::ops::Bound::Unbounded, std::ops::Bound::Unbounded));
    let expected: BTreeMap<_, _> = documents.iter().map(|(id, document)| (*id, document.from)).collect();
    assert_eq!(known, expected, "seed {seed}");
    assert!(hits * 100 >= wanted * 95, "seed {seed}: {hits} of {wanted} were found");
}

#[test]
fn every_search_finds_the_nearest_of_what_is_there() {
    let seed = std::env::var("SEARCH_SEED").ok().and_then(|seed| seed.parse().ok());
    let first: u64 = seed.unwrap_or_else(rand::random);
    eprintln!("seed {first}; SEARCH_SEED={first} repeats it");
    for (seed, dimensions) in (first..).zip([2, 3, 7, 16, 129, 768, 1_537, 4_095, 4_096]) {
        // Parts are written early, and have no graph.
        let limits = SearchLimits { vectors_plain_bytes_max: dimensions * 4 * 60, ..SearchLimits::DEFAULT };
        let without_graph = SearchLimits { vectors_graph_percent_min: 101, ..limits };
        run(seed, dimensions, without_graph, true);
        let with_graph = SearchLimits { vectors_graph_percent_min: 1, ..limits };
        run(seed, dimensions, with_graph, false);
    }
}

/// 200 documents with two filters.
fn two_hundred(dimensions: usize) -> impl Iterator<Item = (InternalDocumentId, Option<VectorDocument>)> {
    let mut random = ChaCha12Rng::seed_from_u64(1);
    (0..200_u8).map(move |number| {
        let (id, from) = ([number; 16], Timestamp::ZERO);
        let vector = direction(&mut random, dimensions);
        (id, Some(VectorDocument { id, from, filters: vec![[1; 16]; 2], vector }))
    })
}

#[test]
fn the_graph_that_a_stop_left_out_is_made_after_the_next_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = SearchLimits { vectors_plain_bytes_max: 10_000, ..SearchLimits::DEFAULT };
    let open = || {
        let folder = Folder::new(folder.path().join("index")).expect("it is made");
        VectorIndex::open(folder, 64, 2, limits).expect("it opens").0
    };
    let index = open();
    index.change(two_hundred(64));
    index.close(None).expect("it is closed");
    let index = open();
    let graph = |number| index.folder().part(number).join("graph").exists();
    assert!(!graph(1), "a stop has no time for it");
    let job = index.next_job(limits.vectors_plain_bytes_max).expect("a graph is missing");
    index.finish(index.work(job).expect("it is written")).expect("it is saved");
    assert!(graph(2));
    assert!(index.next_job(limits.vectors_plain_bytes_max).is_none(), "it is there");
    assert_eq!(index.documents(), 200);
}

#[test]
fn documents_of_few_dimensions_are_written_before_they_fill_the_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = SearchLimits { vectors_plain_bytes_max: 10_000, ..SearchLimits::DEFAULT };
    let path = folder.path().join("index");
    let (index, _) =
        VectorIndex::open(Folder::new(path).expect("it is made"), 2, 2, limits).expect("it opens");
    index.change(two_hundred(2));
    assert!(index.memory_bytes() > 200 * (2 * 4 + 2 * 16 + 16 + 8), "{}", index.memory_bytes());
    let job = index.next_job(limits.vectors_plain_bytes_max).expect("it has more than 10,000 bytes");
    index.finish(index.work(job).expect("it is written")).expect("it is saved");
    assert_eq!((index.memory_bytes(), index.open_bytes()), (0, 0));
    assert!(index.file_memory_bytes() >= 200 * (2 * 16 + 16 + 8), "{}", index.file_memory_bytes());
}
