//! What the tests of this crate share: a log, and short ways to use it.

#![allow(dead_code, reason = "each test file uses a part")]

mod memory_log;
pub mod model;
pub mod properties;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use contract::{
    CommitId, CommitOutcome, DeploymentId, DeploymentRef, GroupId, NodeId, Position, ReadAt, Timestamp,
    TransactionLog,
};
pub use memory_log::MemoryLog;
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use transaction::{
    CatalogCache, ClaimLease, CursorKey, Document, DueRow, DueRun, Finished, GetRequest, Holder, Limits,
    Options, Query, Result, Transaction,
};
use value::{ComponentId, Object, Patch, Value};

pub const DEPLOYMENT: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };

/// Who claims what is due.
pub const HOLDER: Holder = Holder { node: NodeId(1), boot: [7; 16] };

/// A deployment on a log.
pub struct Store<L = MemoryLog> {
    pub log: Arc<L>,
    pub deployment: DeploymentRef,
    pub catalogs: CatalogCache,
    pub limits: Limits,
    random: Mutex<StdRng>,
    /// Nanoseconds; a millisecond later for each transaction.
    clock: AtomicU64,
}

impl Store {
    /// A new deployment on a log in memory.
    pub fn new() -> Store {
        Store::with_limits(Limits::DEFAULT)
    }

    pub fn with_limits(limits: Limits) -> Store {
        Store::on(Arc::default(), DEPLOYMENT, limits)
    }

    /// Reads ahead little, on a log of small pages, so that scans take several reads.
    pub fn with_small_pages(random: &mut StdRng) -> Store {
        let limits = model::random_limits(random);
        let log = MemoryLog::with_pages(random.random_range(1..6), 1 << random.random_range(6..12));
        Store::on(Arc::new(log), DEPLOYMENT, limits)
    }
}

impl<L: TransactionLog> Store<L> {
    pub fn on(log: Arc<L>, deployment: DeploymentRef, limits: Limits) -> Store<L> {
        Store {
            log,
            deployment,
            catalogs: CatalogCache::new(1 << 20),
            limits,
            random: Mutex::new(StdRng::seed_from_u64(deployment.deployment.0.into())),
            clock: AtomicU64::new(1_700_000_000_000_000_000),
        }
    }

    fn random_bytes<const COUNT: usize>(&self) -> [u8; COUNT] {
        let mut bytes = [0; COUNT];
        self.random.lock().unwrap().fill_bytes(&mut bytes);
        bytes
    }

    fn position(&self) -> Position {
        self.log.position(self.deployment.group).expect("the log has the group").borrow().clone()
    }

    pub fn published(&self) -> Timestamp {
        self.position().published
    }

    pub fn options(&self) -> Options {
        Options {
            limits: Arc::new(self.limits),
            id_seed: self.random_bytes(),
            now_ns: self.clock.fetch_add(1_000_000, Ordering::Relaxed),
            cursor_key: CursorKey::new(&[3; 32]),
            journal: None,
        }
    }

    pub async fn begin(&self) -> Transaction {
        self.begin_at(ReadAt::published(self.published()), self.options()).await
    }

    pub async fn begin_with_journal(&self, journal: Option<String>) -> Transaction {
        let options = Options { journal: journal.map(Arc::from), ..self.options() };
        self.begin_at(ReadAt::published(self.published()), options).await
    }

    pub async fn begin_at(&self, at: ReadAt, options: Options) -> Transaction {
        let log = Arc::clone(&self.log) as Arc<dyn TransactionLog>;
        Transaction::begin(log, self.deployment, at, &self.catalogs, options).await.expect("the log answers")
    }

    pub async fn commit(&self, transaction: Transaction) -> CommitOutcome {
        self.commit_finished(transaction.finish()).await
    }

    pub async fn commit_finished(&self, finished: Finished) -> CommitOutcome {
        let id = CommitId(self.random_bytes());
        let commit = finished.into_commit(self.deployment, self.position().epoch, id);
        self.log.commit(commit).await.expect("the log answers")
    }

    /// Claims what is due first.
    pub async fn claim_first(&self) -> DueRun {
        let mut transaction = self.begin().await;
        let entry = transaction.rows::<DueRow>("by_due", &[]).await.unwrap()[0].id;
        let run = transaction.due_run(entry).await.unwrap().expect("it is there");
        let claimed =
            transaction.claim_run(&run, HOLDER, ClaimLease::Keep).await.unwrap().expect("nobody holds it");
        self.must_commit(transaction).await;
        claimed
    }

    pub async fn must_commit(&self, transaction: Transaction) -> Timestamp {
        match self.commit(transaction).await {
            CommitOutcome::Committed { timestamp } => timestamp,
            other => panic!("not committed: {other:?}"),
        }
    }
}

pub fn json(value: serde_json::Value) -> Value {
    Value::from_json(&value.to_string()).expect("a value")
}

pub fn patch(value: serde_json::Value) -> Patch {
    Patch::from_json(&value.to_string()).expect("a patch")
}

pub fn query(value: serde_json::Value) -> Query {
    Query::from_json(&value.to_string(), &Limits::DEFAULT.transaction).expect("a query")
}

/// A query on an index: `range` as functions send it.
pub fn index_query(
    index: &str,
    range: serde_json::Value,
    order: &str,
    operators: serde_json::Value,
) -> Query {
    query(serde_json::json!({
        "source": {"type": "IndexRange", "indexName": index, "range": range, "order": order},
        "operators": operators,
    }))
}

pub fn get(id: &str) -> GetRequest<'_> {
    GetRequest { id, table: None, is_system: false }
}

/// A document without its system fields.
pub fn fields(document: &Document) -> serde_json::Value {
    let mut object: Object = document.to_object().expect("a document");
    object.remove("_id");
    object.remove("_creationTime");
    Value::Object(object).to_serde_json()
}

pub fn id_of(document: &Document) -> String {
    let object = document.to_object().expect("a document");
    object.get("_id").and_then(Value::as_str).expect("every document has an id").to_owned()
}

/// The first `count` documents of a query.
pub async fn take(transaction: &mut Transaction, query: Query, count: usize) -> Result<Vec<Document>> {
    let query = transaction.open_query(query)?;
    let mut documents = Vec::new();
    while documents.len() < count
        && let Some(document) = transaction.next_document(query).await?
    {
        documents.push(document);
    }
    transaction.close_query(query);
    Ok(documents)
}

/// Creates an enabled index over a table that has no documents yet; the table is created if it isn't there.
pub async fn create_index(transaction: &mut Transaction, table: &str, name: &str, fields: &[&str]) {
    use transaction::{IndexRow, IndexState};
    let table = match transaction.table(&table.parse().unwrap()) {
        Some(table) => table,
        None => transaction.create_table(table.parse().unwrap()).await.unwrap(),
    };
    let row = IndexRow {
        component: ComponentId::ROOT,
        table: table.tablet,
        id: transaction.new_index_id(),
        name: name.parse().unwrap(),
        fields: fields.iter().map(|field| field.parse().unwrap()).collect(),
        kind: transaction::IndexKind::Ordered,
        state: IndexState::Enabled,
        staged: false,
    };
    transaction.insert_row(&row).await.unwrap();
}

/// Runs a randomized test once per seed. A failure names the seed; `SEED=n` repeats only that one.
pub fn for_seeds(count: u64, mut test: impl AsyncFnMut(StdRng)) {
    let only = std::env::var("SEED").ok().map(|seed| seed.parse::<u64>().expect("SEED is a number"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for seed in 0..count {
        let seed = only.unwrap_or(seed);
        let told = TellSeed(seed);
        runtime.block_on(test(StdRng::seed_from_u64(seed)));
        std::mem::forget(told);
        if only.is_some() {
            break;
        }
    }
}

/// Says which seed was running if the test panics.
pub struct TellSeed(pub u64);

impl Drop for TellSeed {
    fn drop(&mut self) {
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        eprintln!("SEED={} cargo test --workspace --test {} -- {test}", self.0, env!("CARGO_CRATE_NAME"));
    }
}
