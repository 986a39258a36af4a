//! What a push waits for, on a real log, with a search service that never fills an index.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    ActionOutcome, BlobDigest, BlobStore, Deploy as _, DeploymentId, DeploymentRef, Error, Evaluation,
    EvaluationRequest, FunctionCall, FunctionKind, FunctionLogPage, GroupId, HttpAnswer, HttpCall, IndexId,
    MutationCall, MutationOutcome, NodeEvaluation, NodeEvaluationRequest, QueryCall, QueryOutcome, Result,
    Runner, SchemaId, SchemaProgress, Search, SearchIndexState, Sequencer, TextMatches, TextSearch,
    TransactionLog, VectorMatch, VectorSearch,
};
use deploy::{Dependencies, Limits, Options, Service};
use system_transaction::{SystemTransactions, Work};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use transaction::{IndexKind, IndexRow, IndexState, SchemaRow, SchemaState, TableState, Transaction};
use value::{ComponentId, TableName};

const DEPLOYMENT: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
/// So long nothing takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What else a push is made with, of which nothing is asked here; and a search service that has filled nothing.
struct Idle;

fn unasked<T>() -> Result<T> {
    Err(Error::internal("nobody asks for it"))
}

#[async_trait]
impl Search for Idle {
    async fn search_text(&self, _: TextSearch) -> Result<TextMatches> {
        unasked()
    }

    async fn search_vectors(&self, _: VectorSearch) -> Result<Vec<VectorMatch>> {
        unasked()
    }

    async fn search_index(&self, _: DeploymentRef, _: IndexId) -> Result<SearchIndexState> {
        Ok(SearchIndexState::default())
    }
}

#[async_trait]
impl BlobStore for Idle {
    async fn put(&self, _: Bytes) -> Result<BlobDigest> {
        unasked()
    }

    async fn get(&self, _: BlobDigest) -> Result<Option<Bytes>> {
        unasked()
    }

    async fn has(&self, _: BlobDigest) -> Result<bool> {
        unasked()
    }
}

#[async_trait]
impl Runner for Idle {
    async fn query(&self, _: QueryCall) -> Result<QueryOutcome> {
        unasked()
    }

    async fn inline_query(&self, _: QueryCall, _: Arc<str>) -> Result<QueryOutcome> {
        unasked()
    }

    async fn mutation(&self, _: MutationCall) -> Result<MutationOutcome> {
        unasked()
    }

    async fn action(&self, _: FunctionCall) -> Result<ActionOutcome> {
        unasked()
    }

    async fn http_action(&self, _: HttpCall) -> Result<HttpAnswer> {
        unasked()
    }

    async fn kind(&self, _: &FunctionCall) -> Result<Option<FunctionKind>> {
        unasked()
    }

    async fn evaluate(&self, _: EvaluationRequest) -> Result<Evaluation> {
        unasked()
    }

    async fn evaluate_node(&self, _: NodeEvaluationRequest) -> Result<NodeEvaluation> {
        unasked()
    }

    async fn function_log(&self, _: DeploymentRef, _: u64, _: Duration) -> Result<FunctionLogPage> {
        unasked()
    }
}

/// A log, and a deploy service on it.
struct Harness {
    transactions: SystemTransactions,
    service: Service,
    log_service: txlog::Service,
    shutdown: CancellationToken,
    _folder: TempDir,
}

impl Harness {
    async fn start() -> Harness {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let shutdown = CancellationToken::new();
        let options = txlog::Options::embedded(folder.path());
        let log_service = txlog::Service::start(options, shutdown.clone()).await.expect("the log starts");
        let log: Arc<dyn TransactionLog> = Arc::new(log_service.handle());
        let dependencies = sequencer::Dependencies { log: log.clone() };
        let sequencer = sequencer::Service::start(dependencies, shutdown.clone());
        let sequencer: Arc<dyn Sequencer> = Arc::new(sequencer.handle());
        let limits = transaction::Limits::DEFAULT;
        let transactions = SystemTransactions::new(log, sequencer, 1 << 20, &[7; 32], limits);
        let dependencies = Dependencies {
            transactions: transactions.clone(),
            runner: Arc::new(Idle),
            blobs: Arc::new(Idle),
            search: Arc::new(Idle),
        };
        let service = Service::start(Options { limits: Limits::DEFAULT }, dependencies, shutdown.clone());
        Harness { transactions, service, log_service, shutdown, _folder: folder }
    }

    async fn transact<W: Work>(&self, work: W) -> W::Output {
        self.transactions.transact(DEPLOYMENT, &work).await.expect("it commits")
    }

    /// How far a schema is after so long, or when it is ready.
    async fn wait(&self, schema: &SchemaId, wait: Duration) -> SchemaProgress {
        let schemas = BTreeMap::from([(String::new(), schema.clone())]);
        self.service.handle().wait_for_schema(DEPLOYMENT, schemas, wait).await.expect("it is answered")
    }

    async fn stop(self) {
        let Harness { transactions, service, log_service, shutdown, _folder } = self;
        shutdown.cancel();
        tokio::time::timeout(PATIENCE, service.stopped()).await.expect("it ends");
        drop(transactions);
        tokio::time::timeout(PATIENCE, log_service.stopped()).await.expect("it ends");
    }
}

fn name(text: &str) -> TableName {
    text.parse().expect("legal")
}

/// A new table with an index that is not filled yet.
struct CreateIndex(&'static str, IndexKind);

#[async_trait]
impl Work for CreateIndex {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<()> {
        let CreateIndex(table, kind) = self;
        let table = transaction.create_table(name(table)).await?;
        let row = IndexRow {
            component: ComponentId::ROOT,
            table: table.tablet,
            id: transaction.new_index_id(),
            name: "by_body".parse().expect("legal"),
            fields: vec!["body".parse().expect("legal")],
            kind: kind.clone(),
            state: IndexState::Backfilling,
            staged: false,
        };
        transaction.insert_row(&row).await?;
        Ok(())
    }
}

/// Takes a table away, as an import does that brings another one.
struct DropTable(&'static str);

#[async_trait]
impl Work for DropTable {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<()> {
        let table = transaction.table(&name(self.0)).expect("it is there");
        transaction.set_table_state(&table, TableState::Deleting).await?;
        Ok(())
    }
}

/// A schema that all documents fit.
struct BringSchema;

#[async_trait]
impl Work for BringSchema {
    type Output = SchemaId;

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<SchemaId> {
        let schema = r#"{"tables":[],"schemaValidation":false}"#.into();
        let (component, state) = (ComponentId::ROOT, SchemaState::Validated);
        let row = transaction.insert_row(&SchemaRow { component, state, schema, error: None }).await?;
        Ok(SchemaId(row.to_string()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_the_search_index_of_a_table_that_an_import_has_replaced() {
    let harness = Harness::start().await;
    let schema = harness.transact(BringSchema).await;
    harness.transact(CreateIndex("messages", IndexKind::Text { filter_fields: Vec::new() })).await;
    let preparing =
        SchemaProgress::Preparing { documents_checked: true, indexes_filled: 0, indexes_total: 1 };
    // So that the index is being waited for.
    assert_eq!(harness.wait(&schema, Duration::from_millis(300)).await, preparing);
    harness.transact(DropTable("messages")).await;
    assert_eq!(harness.wait(&schema, PATIENCE).await, SchemaProgress::Complete);
    // What has waited goes on with what else there is.
    harness.transact(CreateIndex("others", IndexKind::Ordered)).await;
    assert_eq!(harness.wait(&schema, PATIENCE).await, SchemaProgress::Complete);
    harness.stop().await;
}
