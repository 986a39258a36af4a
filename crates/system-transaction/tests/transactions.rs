//! Work is run until it commits, and once it has, never again.

#[path = "../../transaction/tests/common/mod.rs"]
mod common;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use common::{MemoryLog, Store};
use contract::{DeploymentRef, GroupId, Position, Sequencer, TransactionLog};
use system_transaction::{Error, Result, SystemTransactions, Work};
use transaction::Limits;
use transaction::{CursorKey, EnvironmentVariableRow, Transaction};
use value::ComponentId;

/// Answers with the newest position of the log in memory.
struct Newest(Arc<MemoryLog>);

#[async_trait]
impl Sequencer for Newest {
    async fn latest(&self, group: GroupId) -> contract::Result<Position> {
        Ok(self.0.position(group)?.borrow().clone())
    }
}

fn transactions(store: &Store, limits: Limits) -> SystemTransactions {
    SystemTransactions {
        log: store.log.clone(),
        sequencer: Arc::new(Newest(store.log.clone())),
        catalogs: Arc::new(transaction::CatalogCache::new(1 << 20)),
        cursor_key: CursorKey::new(&[1; 32]),
        limits: Arc::new(limits),
    }
}

/// Counts in a variable. While it runs, others do so too, as often as `rivals` says.
struct Count<'s> {
    store: &'s Store,
    rivals: Mutex<usize>,
    runs: AtomicUsize,
}

impl<'s> Count<'s> {
    fn new(store: &'s Store, rivals: usize) -> Count<'s> {
        Count { store, rivals: Mutex::new(rivals), runs: AtomicUsize::new(0) }
    }
}

async fn count(transaction: &mut Transaction) -> Result<u64> {
    let row = |value: u64| EnvironmentVariableRow {
        component: ComponentId::ROOT,
        name: "COUNT".to_owned(),
        value: value.to_string(),
    };
    match transaction.environment_variable("COUNT") {
        Some(known) => {
            let next = known.row.value.parse::<u64>().expect("a number") + 1;
            transaction.replace_row(known.id, &row(next)).await?;
            Ok(next)
        }
        None => {
            transaction.insert_row(&row(1)).await?;
            Ok(1)
        }
    }
}

#[async_trait]
impl Work for Count<'_> {
    type Output = u64;

    async fn run(&self, transaction: &mut Transaction) -> Result<u64> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let counted = count(transaction).await?;
        let has_rival = {
            let mut rivals = self.rivals.lock().unwrap();
            let has_rival = *rivals > 0;
            *rivals = rivals.saturating_sub(1);
            has_rival
        };
        if has_rival {
            let mut rival = self.store.begin().await;
            count(&mut rival).await?;
            self.store.must_commit(rival).await;
        }
        Ok(counted)
    }
}

async fn counted(system: &SystemTransactions, deployment: DeploymentRef) -> Option<String> {
    let mut transaction = system.snapshot(deployment).await.expect("the log serves");
    transaction.environment_variable("COUNT").map(|stored| stored.row.value)
}

#[tokio::test]
async fn work_that_loses_a_race_runs_again_on_the_newer_state() {
    let store = Store::new();
    let system = transactions(&store, Limits::DEFAULT);
    let work = Count::new(&store, 3);
    assert_eq!(system.transact(store.deployment, &work).await.expect("it commits"), 4);
    assert_eq!(work.runs.into_inner(), 4);
    assert_eq!(counted(&system, store.deployment).await.as_deref(), Some("4"));
}

#[tokio::test]
async fn work_that_always_loses_is_given_up_and_has_no_effect() {
    let store = Store::new();
    let mut limits = Limits::DEFAULT;
    limits.retry.conflict_attempts_max = 3;
    let system = transactions(&store, limits);
    let work = Count::new(&store, usize::MAX);
    let error = system.transact(store.deployment, &work).await.expect_err("it never wins");
    assert!(matches!(error, Error::Contended), "{error}");
    assert_eq!(contract::Error::from(error).code, "OptimisticConcurrencyControlFailure");
    assert_eq!(work.runs.into_inner(), 3);
    assert_eq!(counted(&system, store.deployment).await.as_deref(), Some("3"), "only the rivals counted");
}

/// Writes, and then finds that it should not have.
struct Refused;

#[async_trait]
impl Work for Refused {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Result<()> {
        count(transaction).await?;
        Err(transaction::Error::user("TooManyTables", "no").into())
    }
}

#[tokio::test]
async fn an_error_of_the_work_ends_it_without_a_commit() {
    let store = Store::new();
    let system = transactions(&store, Limits::DEFAULT);
    let error = system.transact(store.deployment, &Refused).await.expect_err("the work says so");
    assert_eq!(error.code(), "TooManyTables");
    let told = contract::Error::from(error);
    assert_eq!((told.kind, told.message.as_str()), (contract::ErrorKind::BadRequest, "no"));
    assert_eq!(counted(&system, store.deployment).await, None);
}
