//! Vectors, beside an exact search.

use std::{path::Path, time::Instant};

use anyhow::{Result, ensure};
use contract::{Search as _, VectorMatch, VectorSearch};
use rand::{Rng, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use search::{SearchLimits, Service};
use transaction::{IndexKind, normalized};
use value::{Object, Value};

use crate::stand::{DEPLOYMENT, INDEX, Stand, percentile, until_filled};

/// Measures vector search.
#[derive(clap::Args)]
pub struct Arguments {
    #[arg(long, default_value_t = 100_000)]
    vectors: usize,
    #[arg(long, default_value_t = 768)]
    dimensions: usize,
    /// Queries that each answers; the vectors of none of them are in the data.
    #[arg(long, default_value_t = 500)]
    queries: usize,
    /// Fails with less of the ten nearest, of all queries together.
    #[arg(long, default_value_t = 0.95)]
    recall_min: f64,
    /// Fails if the median is a larger part of that of the exact search.
    #[arg(long, default_value_t = 0.1)]
    part_max: f64,
}

const NEAREST: usize = 10;
const CENTRES: usize = 200;
const BATCH: usize = 200;

/// A number around 0, by the sum of twelve.
fn normal(random: &mut impl Rng) -> f64 {
    (0..12).map(|_| random.random_range(0.0..1.0)).sum::<f64>() - 6.0
}

fn near(centre: &[f64], random: &mut impl Rng) -> Vec<f64> {
    centre.iter().map(|number| number + normal(random) / 2.0).collect()
}

pub async fn run(arguments: &Arguments, folder: &Path, seed: u64) -> Result<()> {
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    let dimensions = arguments.dimensions;
    let centres: Vec<Vec<f64>> =
        (0..CENTRES).map(|_| (0..dimensions).map(|_| normal(&mut random)).collect()).collect();
    let vector = |random: &mut ChaCha12Rng| near(&centres[random.random_range(0..CENTRES)], random);
    let kind = IndexKind::Vector { dimensions, filter_fields: Vec::new() };
    let stand = Stand::start(folder, "vector", kind).await?;
    let began = Instant::now();
    let mut left = arguments.vectors;
    while left > 0 {
        let count = left.min(BATCH);
        let documents = (0..count).map(|_| {
            let numbers = vector(&mut random).into_iter().map(Value::Float64).collect();
            let mut document = Object::new();
            document.insert("vector", Value::Array(numbers));
            document
        });
        stand.insert(documents.collect()).await?;
        left -= count;
    }
    println!(
        "{} vectors of {dimensions} written in {:.0} s",
        arguments.vectors,
        began.elapsed().as_secs_f64()
    );
    let searches: Vec<VectorSearch> = (0..arguments.queries)
        .map(|_| VectorSearch {
            deployment: DEPLOYMENT,
            index: INDEX,
            not_before: contract::Timestamp::ZERO,
            vector: normalized(&vector(&mut random)),
            any_of: Vec::new(),
            matches_max: NEAREST,
        })
        .collect();

    let (service, token) = stand.search(folder.join("search"), SearchLimits::DEFAULT);
    let took = until_filled(&service, arguments.vectors as u64).await?;
    println!("indexed in {:.0} s", took.as_secs_f64());
    let found = measure(&service, &searches).await?;
    token.cancel();
    service.stopped().await;

    // No part of the vectors is enough for a graph to be asked.
    let exact = SearchLimits { vectors_graph_percent_min: 101, ..SearchLimits::DEFAULT };
    let (service, token) = stand.search(folder.join("search"), exact);
    until_filled(&service, arguments.vectors as u64).await?;
    let nearest = measure(&service, &searches).await?;
    token.cancel();
    service.stopped().await;
    stand.stop().await;

    let hits: usize =
        found.matches.iter().zip(&nearest.matches).map(|(found, nearest)| hits(found, nearest)).sum();
    let wanted: usize = nearest.matches.iter().map(Vec::len).sum();
    let recall = hits as f64 / wanted as f64;
    let part = found.p50_ms / nearest.p50_ms;
    println!("exact: p50 {:.2} ms, p99 {:.2} ms", nearest.p50_ms, nearest.p99_ms);
    println!(
        "index: p50 {:.2} ms, p99 {:.2} ms, recall at {NEAREST} {recall:.4}",
        found.p50_ms, found.p99_ms
    );
    println!("the index takes 1/{:.1} of the exact search at p50", 1.0 / part);
    ensure!(recall >= arguments.recall_min, "the recall is below {}", arguments.recall_min);
    ensure!(part <= arguments.part_max, "it takes more than {} of the exact search", arguments.part_max);
    Ok(())
}

fn hits(found: &[VectorMatch], nearest: &[VectorMatch]) -> usize {
    nearest.iter().filter(|nearest| found.iter().any(|found| found.id == nearest.id)).count()
}

struct Measured {
    matches: Vec<Vec<VectorMatch>>,
    p50_ms: f64,
    p99_ms: f64,
}

/// All searches, one after the other, after all of them once to warm up.
async fn measure(service: &Service, searches: &[VectorSearch]) -> Result<Measured> {
    let handle = service.handle();
    for search in searches {
        handle.search_vectors(search.clone()).await?;
    }
    let (mut matches, mut times) = (Vec::new(), Vec::new());
    for search in searches {
        let began = Instant::now();
        matches.push(handle.search_vectors(search.clone()).await?);
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(Measured { matches, p50_ms: percentile(&times, 0.5), p99_ms: percentile(&times, 0.99) })
}
