//! The same properties on the real transaction log, a deployment for each seed.

use std::sync::Arc;

use contract::{CommitOutcome, DeploymentId, DeploymentRef, GroupId, ReadAt};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use transaction::Limits;
use transaction::Query;

use crate::common::{
    Store, TellSeed, fields, get, json,
    model::{TABLE, random_limits},
    patch, properties, take,
};

const SEEDS: u32 = 24;

fn deployment(number: u32) -> DeploymentRef {
    DeploymentRef { group: GroupId(1), deployment: DeploymentId(number) }
}

/// Starts a log with `count` deployments, runs the test on it, and stops it.
async fn with_log(count: u32, test: impl AsyncFnOnce(Arc<txlog::Handle>)) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = txlog::Options::embedded(folder.path());
    let named = |number| txlog::Deployment { name: format!("d{number}"), at: deployment(number) };
    options.deployments = (1..=count).map(named).collect();
    // Small pages, so that scans take several reads.
    (options.limits.read_page_documents_max, options.limits.read_page_bytes_max) = (3, 500);
    let token = CancellationToken::new();
    let service = txlog::Service::start(options, token.clone()).await.expect("the log starts");
    test(Arc::new(service.handle())).await;
    token.cancel();
    service.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_holds_in_memory_holds_on_the_log() {
    with_log(4 * SEEDS, async |log| {
        let only = std::env::var("SEED").ok().map(|seed| seed.parse::<u32>().expect("SEED is a number"));
        for seed in only.map_or(0..SEEDS, |seed| seed..seed + 1) {
            let told = TellSeed(seed.into());
            let seeded = |property: u32| {
                let mut random = StdRng::seed_from_u64(seed.into());
                let limits = random_limits(&mut random);
                (Store::on(Arc::clone(&log), deployment(1 + 4 * (seed % SEEDS) + property), limits), random)
            };
            let (store, random) = seeded(0);
            properties::queries_see_own_writes(&store, random).await;
            let (store, random) = seeded(1);
            properties::failed_calls_leave_no_writes(&store, random).await;
            let (store, random) = seeded(2);
            properties::read_set_is_sound(&store, random).await;
            let (store, random) = seeded(3);
            properties::pages_cover_everything_once(&store, random).await;
            std::mem::forget(told);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_increments_are_all_counted() {
    const WORKERS: usize = 8;
    const INCREMENTS: usize = 25;
    with_log(1, async |log| {
        let store = Arc::new(Store::on(log, deployment(1), Limits::DEFAULT));
        let mut transaction = store.begin().await;
        let id = transaction.insert(TABLE, json(json!({"n": 0}))).await.unwrap().to_string();
        store.must_commit(transaction).await;
        let workers = (0..WORKERS).map(|worker| {
            let (store, id) = (Arc::clone(&store), id.clone());
            tokio::spawn(async move {
                let mut conflicts = 0;
                for _ in 0..INCREMENTS {
                    let mut begin = ReadAt::published(store.published());
                    loop {
                        let mut attempt = store.begin_at(begin, store.options()).await;
                        let document = attempt.get(get(&id)).await.unwrap().unwrap();
                        let n = fields(&document)["n"].as_f64().unwrap();
                        attempt.patch(&id, None, patch(json!({"n": n + 1.0}))).await.unwrap();
                        attempt.insert("entries", json(json!({"worker": worker}))).await.unwrap();
                        match store.commit(attempt).await {
                            CommitOutcome::Committed { .. } => break,
                            CommitOutcome::Conflict(conflict) => {
                                // On what is validated and not yet published; answers come without a wait, so others
                                // must be let through.
                                begin = conflict.run_again_at;
                                conflicts += 1;
                                tokio::task::yield_now().await;
                            }
                            other => panic!("{other:?}"),
                        }
                    }
                }
                conflicts
            })
        });
        let workers: Vec<_> = workers.collect();
        let mut conflicts = 0;
        for worker in workers {
            conflicts += worker.await.expect("no worker panics");
        }
        assert!(conflicts > 0, "the workers must have met");
        let mut reader = store.begin().await;
        let counted = reader.get(get(&id)).await.unwrap().unwrap();
        assert_eq!(fields(&counted), json!({"n": WORKERS * INCREMENTS}));
        let scan = Query::full_table_scan("entries".parse().unwrap(), contract::Order::Ascending);
        assert_eq!(take(&mut reader, scan, usize::MAX).await.unwrap().len(), WORKERS * INCREMENTS);
    })
    .await;
}
