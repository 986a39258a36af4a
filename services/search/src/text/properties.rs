//! A text index against a plain scan with the same rules, under random writes, searches of the past, and work on its files.

use std::collections::{BTreeMap, BTreeSet};

use contract::{
    DeploymentId, DeploymentRef, FilterValue, GroupId, IndexId, InternalDocumentId, TextCondition,
    TextFilter, TextMatch, TextMatches, TextSearch, Timestamp, WrittenText,
};
use rand::{Rng, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use relevance::{DocumentTerms, Norms, Statistics, Weight, norm_of};

use super::{TextDocument, TextIndex, index::Unanswered};
use crate::files::Folder;

const WORDS: [&str; 14] =
    ["a", "ab", "abc", "abcd", "abd", "b", "ba", "bat", "bats", "c", "ca", "cat", "über", "日本"];
const FILTERS: u8 = 3;
const OPEN_BYTES_MAX: usize = 2_000;
/// Of five words that begin with `a`.
const VISITED_MAX: usize = 3;

/// All that was ever written, the oldest first.
#[derive(Default)]
struct Model {
    writes: Vec<(Timestamp, InternalDocumentId, Option<TextDocument>)>,
}

impl Model {
    fn at(&self, at: Timestamp) -> BTreeMap<InternalDocumentId, TextDocument> {
        let mut documents = BTreeMap::new();
        for (_, id, document) in self.writes.iter().filter(|(written, ..)| *written <= at) {
            match document {
                Some(document) => documents.insert(*id, document.clone()),
                None => documents.remove(id),
            };
        }
        documents
    }

    /// Every document is looked at.
    fn search(&self, asked: &TextSearch) -> TextMatches {
        let mut documents = self.at(asked.at);
        asked.replaced.iter().for_each(|id| {
            documents.remove(id);
        });
        for written in &asked.written {
            let document = TextDocument {
                id: written.id,
                creation_time_bits: written.creation_time_bits,
                from: Timestamp::ZERO,
                filters: written.filters.clone(),
                terms: written.terms.clone(),
            };
            documents.insert(written.id, document);
        }
        let statistics = Statistics {
            documents: documents.len() as u64,
            tokens: documents.values().map(|document| u64::from(document.length())).sum(),
        };
        let condition = &asked.condition;
        let passes = |document: &TextDocument| condition.passes(&document.filters);
        let has = |document: &TextDocument, term: &str| document.terms.iter().any(|(known, _)| known == term);
        let beginning: BTreeSet<&String> = documents
            .values()
            .flat_map(|document| document.terms.iter().map(|(term, _)| term))
            .filter(|term| term.starts_with(&condition.prefix))
            .collect();
        let counts = |number: usize, term: &str| {
            number >= VISITED_MAX
                || documents.values().any(|document| passes(document) && has(document, term))
        };
        let expansions = beginning.iter().enumerate().filter(|(number, term)| counts(*number, term));
        let mut terms = condition.terms.clone();
        for term in expansions.map(|(_, term)| *term).take(16) {
            if !terms.contains(term) {
                terms.push(term.clone());
            }
        }
        let norms = Norms::new(statistics);
        let mut found: Vec<TextMatch> = Vec::new();
        for document in documents.values().filter(|document| passes(document)) {
            let mut score = 0.0_f32;
            for term in &terms {
                let with_term = documents.values().filter(|document| has(document, term)).count() as u64;
                if let Some((_, count)) = document.terms.iter().find(|(known, _)| known == term) {
                    score +=
                        Weight::of(statistics, with_term).score(*count, norm_of(document.length()), &norms);
                }
            }
            if score > 0.0 {
                found.push(TextMatch {
                    id: document.id,
                    creation_time_bits: document.creation_time_bits,
                    score_bits: score.to_bits(),
                });
            }
        }
        found.sort_by(|one, other| {
            let key = |found: &TextMatch| {
                (f32::from_bits(found.score_bits), f64::from_bits(found.creation_time_bits), found.id)
            };
            key(other).partial_cmp(&key(one)).expect("no score is NaN")
        });
        let more = found.len() > asked.matches_max;
        found.truncate(asked.matches_max);
        TextMatches { matches: found, more }
    }
}

fn timestamp(at: u64) -> Timestamp {
    Timestamp::new(at).expect("in range")
}

fn text(random: &mut impl Rng) -> String {
    let words: Vec<&str> =
        (0..random.random_range(0..9)).map(|_| WORDS[random.random_range(0..WORDS.len())]).collect();
    words.join(" ")
}

fn filters(random: &mut impl Rng) -> Vec<FilterValue> {
    (0..FILTERS).map(|_| [random.random_range(0..3); 16]).collect()
}

fn document(random: &mut impl Rng, id: InternalDocumentId, from: Timestamp) -> TextDocument {
    TextDocument {
        id,
        // Few, so that they are often equal.
        creation_time_bits: f64::from(random.random_range(1..6)).to_bits(),
        from,
        filters: filters(random),
        terms: DocumentTerms::of(&text(random)).counts.into_iter().collect(),
    }
}

fn id(random: &mut impl Rng) -> InternalDocumentId {
    [random.random_range(0..60); 16]
}

fn search(random: &mut impl Rng, at: Timestamp) -> TextSearch {
    let mut terms: Vec<String> = Vec::new();
    for _ in 0..random.random_range(0..4) {
        let word = WORDS[random.random_range(0..WORDS.len())].to_owned();
        if !terms.contains(&word) {
            terms.push(word);
        }
    }
    let filters = (0..FILTERS).filter_map(|field| {
        let value = [random.random_range(0..3); 16];
        random.random_bool(0.2).then_some(TextFilter { field, value })
    });
    let filters = filters.collect();
    let prefix = ["a", "ab", "b", "bat", "c", "x", "日"][random.random_range(0..7)].to_owned();
    let (mut replaced, mut written) = (Vec::new(), Vec::new());
    if random.random_bool(0.4) {
        let ids: BTreeSet<InternalDocumentId> = (0..random.random_range(1..5)).map(|_| id(random)).collect();
        for id in ids {
            replaced.push(id);
            if random.random_bool(0.7) {
                let TextDocument { creation_time_bits, filters, terms, .. } = document(random, id, at);
                written.push(WrittenText { id, creation_time_bits, filters, terms });
            }
        }
    }
    TextSearch {
        deployment: DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) },
        index: IndexId([1; 16]),
        at,
        condition: TextCondition { terms, prefix, filters },
        matches_max: if random.random_bool(0.3) { random.random_range(1..10) } else { 1_024 },
        replaced,
        written,
    }
}

fn work(index: &TextIndex) {
    let has_job = index.has_job(OPEN_BYTES_MAX);
    let job = index.next_job(OPEN_BYTES_MAX);
    assert_eq!(has_job, job.is_some());
    if let Some(job) = job {
        let done = index.work(job).expect("it is written");
        index.finish(done).expect("it is saved");
    }
}

fn run(seed: u64) {
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("index");
    let open = |path: &std::path::Path| {
        let folder = Folder::new(path.to_owned()).expect("it is made");
        TextIndex::open(folder, VISITED_MAX).expect("it opens")
    };
    let (mut index, _) = open(&path);
    let mut model = Model::default();
    let (mut now, mut floor) = (1, 0);
    for _ in 0..400 {
        match random.random_range(0..20) {
            0..10 => {
                let mut changes = Vec::new();
                let mut written = BTreeSet::new();
                for _ in 0..random.random_range(1..8) {
                    let id = id(&mut random);
                    // No two writes of one id at one moment.
                    if random.random_bool(0.5) || written.contains(&id) {
                        now += 1;
                        written.clear();
                    }
                    written.insert(id);
                    let written = random.random_bool(0.75).then(|| document(&mut random, id, timestamp(now)));
                    changes.push((timestamp(now), id, written));
                }
                model.writes.extend(changes.iter().cloned());
                index.change(changes).expect("it is changed");
                now += 1;
            }
            14 => {
                // What a stream tells again after it was followed anew.
                let from = timestamp(random.random_range(floor.max(now.saturating_sub(20))..=now));
                let again: Vec<_> = model.writes.iter().filter(|(at, ..)| *at > from).cloned().collect();
                index.change(again).expect("it is changed");
            }
            10 => work(&index),
            11 => {
                // What is written while others go on is put in its place afterwards.
                if let Some(job) = index.next_job(OPEN_BYTES_MAX) {
                    let done = index.work(job).expect("it is written");
                    now += 1;
                    let change = (timestamp(now), id(&mut random), None);
                    model.writes.push(change.clone());
                    index.change([change]).expect("it is changed");
                    index.finish(done).expect("it is saved");
                }
            }
            12 if random.random_bool(0.3) => {
                floor = random.random_range(floor..=now);
                index.forget_before(timestamp(floor));
            }
            13 if random.random_bool(0.2) => {
                index.close(Some(timestamp(now))).expect("it is closed");
                let entries = || std::fs::read_dir(&path).expect("it is read").count();
                let left = entries();
                let (opened, complete_at) = open(&path);
                assert_eq!(entries(), left, "seed {seed}: a stop leaves no files of parts that are gone");
                assert_eq!(complete_at, Some(timestamp(now)), "seed {seed}");
                (index, floor) = (opened, now);
            }
            _ => {
                let at = timestamp(random.random_range(floor..=now));
                let asked = search(&mut random, at);
                let found = match index.search(&asked) {
                    Ok(found) => found,
                    Err(Unanswered::OutOfRetention) => panic!("seed {seed}: {at} is kept"),
                    Err(Unanswered::Failed(error)) => panic!("seed {seed}: {error}"),
                };
                assert_eq!(found, model.search(&asked), "seed {seed}: {asked:?}");
            }
        }
        assert_eq!(index.documents(), model.at(timestamp(now)).len() as u64, "seed {seed}");
    }
    let known = index.documents_between((std::ops::Bound::Unbounded, std::ops::Bound::Unbounded));
    let expected: BTreeMap<_, _> =
        model.at(timestamp(now)).into_iter().map(|(id, document)| (id, document.from)).collect();
    assert_eq!(known.expect("they are read"), expected, "seed {seed}");
    if floor > 0 {
        let before = search(&mut random, timestamp(floor - 1));
        assert!(matches!(index.search(&before), Err(Unanswered::OutOfRetention)), "seed {seed}");
    }
}

#[test]
fn every_search_finds_what_a_plain_scan_finds() {
    let seed = std::env::var("SEARCH_SEED").ok().and_then(|seed| seed.parse().ok());
    let first: u64 = seed.unwrap_or_else(rand::random);
    eprintln!("seed {first}; SEARCH_SEED={first} repeats it");
    for seed in first..first.wrapping_add(if seed.is_some() { 1 } else { 20 }) {
        run(seed);
    }
}
