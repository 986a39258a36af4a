//! The service on a real log: what it answers after writes, stops, kills and gaps; and the contract's suite, directly and over gRPC.

#[path = "../../../crates/rpc/tests/support/loopback.rs"]
mod loopback;

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use contract::{
    Deployment, DeploymentId, DeploymentRef, GroupId, IndexId, Search, Sequencer, TextCondition, TextSearch,
    Timestamp, TransactionLog, VectorSearch,
};
use rpc::{GrpcTransactionLog, RpcLimits, TransactionLogServer};
use search::{Dependencies, Options, SearchLimits, Service};
use serde_json::json;
use system_transaction::{SystemTransactions, Work};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use transaction::{IndexKind, IndexRow, IndexState, Transaction};
use value::{ComponentId, Value, object};

const DEPLOYMENT: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
const TEXT: IndexId = IndexId([1; 16]);
const VECTORS: IndexId = IndexId([2; 16]);
/// So long nothing takes.
const PATIENCE: Duration = Duration::from_secs(120);

struct Harness {
    transactions: SystemTransactions,
    log: Arc<dyn TransactionLog>,
    sequencer: Arc<dyn Sequencer>,
    log_service: txlog::Service,
    shutdown: CancellationToken,
    folder: TempDir,
}

/// Makes the table and its indexes.
struct Create;

#[async_trait]
impl Work for Create {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<()> {
        let table = transaction.create_table("things".parse().expect("legal")).await?;
        let filter_fields = || vec!["kind".parse().expect("a path")];
        let text = (TEXT, "by_text", "text", IndexKind::Text { filter_fields: filter_fields() });
        let vectors = (
            VECTORS,
            "by_vector",
            "vector",
            IndexKind::Vector { dimensions: 2, filter_fields: filter_fields() },
        );
        for (id, name, field, kind) in [text, vectors] {
            let row = IndexRow {
                component: ComponentId::ROOT,
                table: table.tablet,
                id,
                name: name.parse().expect("legal"),
                fields: vec![field.parse().expect("a path")],
                kind,
                state: IndexState::Enabled,
                staged: false,
            };
            transaction.insert_row(&row).await?;
        }
        Ok(())
    }
}

/// Writes a document, or deletes the one with its text.
struct Write {
    text: String,
    vector: [f64; 2],
    kind: String,
    is_deleted: bool,
}

#[async_trait]
impl Work for Write {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<()> {
        if !self.is_deleted {
            let document = object! {
                "text" => self.text.as_str(),
                "vector" => Value::Array(self.vector.map(Value::Float64).to_vec()),
                "kind" => self.kind.as_str(),
            };
            transaction.insert("things", Value::Object(document)).await?;
            return Ok(());
        }
        let scan =
            transaction::Query::full_table_scan("things".parse().expect("legal"), contract::Order::Ascending);
        let query = transaction.open_query(scan)?;
        while let Some(document) = transaction.next_document(query).await? {
            let object = document.to_object()?;
            if object.get("text").and_then(Value::as_str) == Some(&self.text) {
                let id = object.get("_id").and_then(Value::as_str).expect("it has one").to_owned();
                transaction.delete(&id, None).await?;
                return Ok(());
            }
        }
        panic!("there is no document {}", self.text);
    }
}

fn deployment() -> Deployment {
    Deployment {
        reference: DEPLOYMENT,
        name: "d".to_owned(),
        cloud_url: String::new(),
        site_url: String::new(),
    }
}

fn transactions_on(log: Arc<dyn TransactionLog>, sequencer: Arc<dyn Sequencer>) -> SystemTransactions {
    SystemTransactions::new(log, sequencer, 1 << 20, &[7; 32], transaction::Limits::DEFAULT)
}

impl Harness {
    async fn start() -> Harness {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let shutdown = CancellationToken::new();
        let options = txlog::Options::embedded(folder.path().join("log"));
        let log_service = txlog::Service::start(options, shutdown.clone()).await.expect("the log starts");
        let log: Arc<dyn TransactionLog> = Arc::new(log_service.handle());
        let dependencies = sequencer::Dependencies { log: log.clone() };
        let sequencer = sequencer::Service::start(dependencies, shutdown.clone());
        let sequencer: Arc<dyn Sequencer> = Arc::new(sequencer.handle());
        let transactions = transactions_on(log.clone(), sequencer.clone());
        transactions.transact(DEPLOYMENT, &Create).await.expect("it is created");
        Harness { transactions, log, sequencer, log_service, shutdown, folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn search(&self, limits: SearchLimits) -> (Service, CancellationToken) {
        self.search_on(self.transactions.clone(), limits)
    }

    fn search_on(
        &self,
        transactions: SystemTransactions,
        limits: SearchLimits,
    ) -> (Service, CancellationToken) {
        self.search_of(Deployment::fixed([deployment()]), transactions, limits)
    }

    fn search_of(
        &self,
        deployments: tokio::sync::watch::Receiver<Arc<contract::Deployments>>,
        transactions: SystemTransactions,
        limits: SearchLimits,
    ) -> (Service, CancellationToken) {
        let token = CancellationToken::new();
        let options = Options { limits, deployments, folder: self.path().join("search") };
        let dependencies = Dependencies { transactions };
        (Service::start(options, dependencies, token.clone()), token)
    }

    async fn write(&self, text: &str, vector: [f64; 2], kind: &str, is_deleted: bool) -> Timestamp {
        let write = Write { text: text.to_owned(), vector, kind: kind.to_owned(), is_deleted };
        self.transactions.transact(DEPLOYMENT, &write).await.expect("it is written");
        self.published()
    }

    fn published(&self) -> Timestamp {
        self.transactions.log.position(DEPLOYMENT.group).expect("there is the group").borrow().published
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.log_service.stopped().await;
    }
}

fn asked(prefix: &str, at: Timestamp) -> TextSearch {
    TextSearch {
        deployment: DEPLOYMENT,
        index: TEXT,
        at,
        condition: TextCondition { terms: Vec::new(), prefix: prefix.to_owned(), filters: Vec::new() },
        matches_max: 1_024,
        replaced: Vec::new(),
        written: Vec::new(),
    }
}

/// The number of documents that a search finds.
async fn found(search: &dyn Search, prefix: &str, at: Timestamp) -> usize {
    let asked = asked(prefix, at);
    let answered = async {
        loop {
            match search.search_text(asked.clone()).await {
                Ok(found) => return found.matches.len(),
                Err(error) if error.code == "SearchIndexesUnavailable" => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.expect("the index comes to it")
}

async fn nearest(search: &dyn Search, at: Timestamp) -> usize {
    let asked = VectorSearch {
        deployment: DEPLOYMENT,
        index: VECTORS,
        not_before: at,
        vector: vec![1.0, 0.0],
        any_of: Vec::new(),
        matches_max: 100,
    };
    search.search_vectors(asked).await.expect("it is answered").len()
}

/// Files are written after every few documents.
fn small() -> SearchLimits {
    SearchLimits {
        text_memory_bytes_max: 4_000,
        vectors_plain_bytes_max: 200,
        log_pause_ms: 1,
        ..SearchLimits::DEFAULT
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_of_before_the_service_and_those_written_meanwhile_are_found() {
    let harness = Harness::start().await;
    for number in 0..40 {
        harness.write(&format!("old w{number}"), [1.0, f64::from(number)], "a", false).await;
    }
    let (service, token) = harness.search(SearchLimits { documents_read_max: 3, ..small() });
    let handle = service.handle();
    for number in 0..40 {
        harness.write(&format!("new w{number}"), [1.0, f64::from(number)], "a", false).await;
        if number % 4 == 0 {
            harness.write(&format!("old w{number}"), [0.0, 0.0], "", true).await;
        }
    }
    let at = harness.published();
    assert_eq!(found(&handle, "new", at).await, 40);
    assert_eq!(found(&handle, "old", at).await, 30);
    // Of each, w1 and w10 to w19, but the old w12 and w16.
    assert_eq!(found(&handle, "w1", at).await, 2 * 11 - 2);
    assert_eq!(nearest(&handle, at).await, 70);
    drop(handle);
    token.cancel();
    service.stopped().await;
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_stop_in_order_nothing_is_read_again() {
    let harness = Harness::start().await;
    let (service, token) = harness.search(small());
    for number in 0..60 {
        harness.write(&format!("word n{number}"), [1.0, f64::from(number)], "a", false).await;
    }
    let at = harness.published();
    assert_eq!(found(&service.handle(), "word", at).await, 60);
    token.cancel();
    service.stopped().await;

    // Nobody keeps the indexes meanwhile.
    harness.write("word n60", [1.0, 1.0], "a", false).await;
    harness.write("word n7", [0.0, 0.0], "", true).await;
    let (service, token) = harness.search(small());
    let at = harness.published();
    assert_eq!(found(&service.handle(), "word", at).await, 60);
    assert_eq!(nearest(&service.handle(), at).await, 60);
    assert_eq!(service.handle().metrics().documents_read, 0, "the stream has told everything");
    token.cancel();
    service.stopped().await;
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_killed_finds_again_what_is_there() {
    let harness = Harness::start().await;
    let (service, token) = harness.search(small());
    for number in 0..60 {
        harness.write(&format!("word n{number}"), [1.0, f64::from(number)], "a", false).await;
    }
    let at = harness.published();
    assert_eq!(found(&service.handle(), "word", at).await, 60);
    // As a kill leaves it: the files of some time ago.
    let files = harness.path().join("search");
    let left = harness.path().join("left");
    copy(&files, &left);
    for number in 0..20 {
        harness.write(&format!("word n{number}"), [0.0, 0.0], "", true).await;
        harness.write(&format!("late n{number}"), [1.0, f64::from(number)], "a", false).await;
    }
    token.cancel();
    service.stopped().await;
    std::fs::remove_dir_all(&files).expect("they are removed");
    copy(&left, &files);

    let (service, token) = harness.search(small());
    let at = harness.published();
    assert_eq!(found(&service.handle(), "word", at).await, 40);
    assert_eq!(found(&service.handle(), "late", at).await, 20);
    assert_eq!(nearest(&service.handle(), at).await, 60);
    token.cancel();
    service.stopped().await;

    // Files that can't be read are made anew.
    for file in walk(&files).expect("it is read") {
        if file.extension().is_none_or(|extension| extension != "json") {
            std::fs::write(&file, b"nonsense").expect("it is written");
        }
    }
    let (service, token) = harness.search(small());
    assert_eq!(found(&service.handle(), "late", harness.published()).await, 20);
    token.cancel();
    service.stopped().await;
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_indexes_together_take_no_more_memory_than_they_may() {
    let harness = Harness::start().await;
    let limits = SearchLimits { memory_bytes_max: 10_000, log_pause_ms: 1, ..SearchLimits::DEFAULT };
    let (service, token) = harness.search(limits);
    let handle = service.handle();
    for number in 0..200 {
        harness.write(&format!("word n{number}"), [1.0, f64::from(number)], "a", false).await;
    }
    assert_eq!(found(&handle, "word", harness.published()).await, 200);
    let written = async {
        loop {
            let [_, used] = handle.limits_used();
            if handle.metrics().memory_bytes <= 10_000 && used.used <= 10_000 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, written).await.expect("files are written");
    assert!(handle.metrics().files_written > 0 && handle.metrics().file_memory_bytes > 0);
    assert_eq!(found(&handle, "word", harness.published()).await, 200);
    drop(handle);
    token.cancel();
    service.stopped().await;
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_that_break_again_and_again_are_made_anew_after_pauses() {
    let harness = Harness::start().await;
    for number in 0..60 {
        harness.write(&format!("word n{number}"), [1.0, f64::from(number)], "a", false).await;
    }
    let limits = SearchLimits { remake_pause_ms_min: 1_000, remake_pause_ms_max: 2_000, ..small() };
    let (service, token) = harness.search(limits);
    let handle = service.handle();
    // No list of parts can be saved.
    let is_over = CancellationToken::new();
    let breaking = {
        let (is_over, folder) = (is_over.clone(), harness.path().join("search/1-1"));
        std::thread::spawn(move || {
            while !is_over.is_cancelled() {
                for index in [TEXT, VECTORS] {
                    let index: String = index.0.iter().map(|byte| format!("{byte:02x}")).collect();
                    let _ = std::fs::create_dir_all(folder.join(index).join("parts.json.new"));
                }
                std::thread::sleep(Duration::from_micros(100));
            }
        })
    };
    tokio::time::sleep(Duration::from_secs(4)).await;
    // Each time 60 documents are read for each index.
    let read = handle.metrics().documents_read;
    assert!((120..=120 * 6).contains(&read), "{read}");
    is_over.cancel();
    breaking.join().expect("it ends");
    assert_eq!(found(&handle, "word", harness.published()).await, 60);
    drop(handle);
    token.cancel();
    service.stopped().await;
    harness.stop().await;
}

/// Removes the text index.
struct RemoveIndex;

#[async_trait]
impl Work for RemoveIndex {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<()> {
        for stored in transaction.first_rows::<IndexRow>(usize::MAX).await? {
            if stored.row.id == TEXT {
                transaction.delete_row::<IndexRow>(stored.id).await?;
            }
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_at_moments_of_which_an_index_has_nothing_may_be_tried_again() {
    let harness = Harness::start().await;
    let before = harness.write("word", [1.0, 0.0], "a", false).await;
    harness.write("word", [1.0, 0.0], "a", false).await;
    // Whoever has waited since before, until the index was made anew.
    let (service, token) = harness.search(small());
    let handle = service.handle();
    assert_eq!(found(&handle, "word", harness.published()).await, 2);
    let error = handle.search_text(asked("word", before)).await.expect_err("it was made afterwards");
    assert_eq!((error.code.as_ref(), error.retry), ("SearchIndexesUnavailable", contract::Retry::Later));
    let old = handle.search_text(asked("word", Timestamp::ZERO)).await.expect_err("nobody keeps it");
    assert_eq!(old.code, "SearchIndexesUnavailable", "how old it is has not been seen");

    let last = harness.published();
    harness.transactions.transact(DEPLOYMENT, &RemoveIndex).await.expect("it is removed");
    let gone = harness.published();
    let error = handle.search_text(asked("word", gone)).await.expect_err("it is gone");
    assert_eq!(error.code, "IndexNotFoundError");
    let error = handle.search_text(asked("word", last)).await.expect_err("it was there");
    assert_eq!(error.code, "SearchIndexesUnavailable");
    assert!(handle.metrics().unavailable >= 2);
    drop(handle);
    token.cancel();
    service.stopped().await;
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moments_are_kept_as_long_as_the_limit_says_and_no_longer() {
    let harness = Harness::start().await;
    let kept = Duration::from_millis(600);
    let limits = SearchLimits { retention_ms: kept.as_millis() as u64, ..small() };
    let (service, token) = harness.search(limits);
    let handle = service.handle();
    found(&handle, "nothing", harness.published()).await;
    let first = harness.write("word", [1.0, 0.0], "a", false).await;
    let began = std::time::Instant::now();
    let forgotten = async {
        loop {
            harness.write("word", [1.0, 0.0], "a", false).await;
            match handle.search_text(asked("word", first)).await {
                Ok(found) => assert_eq!(found.matches.len(), 1),
                Err(error) => return error,
            }
        }
    };
    let error = tokio::time::timeout(PATIENCE, forgotten).await.expect("it is forgotten");
    assert_eq!(error.code, "OutOfRetention");
    assert!(began.elapsed() >= kept, "{:?}", began.elapsed());
    drop(handle);
    token.cancel();
    service.stopped().await;
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_ready_once_its_indexes_hold_what_there_was_and_searches_wait_for_it() {
    let harness = Harness::start().await;
    for number in 0..40 {
        harness.write(&format!("word n{number}"), [1.0, 1.0], "a", false).await;
    }
    // Of a deployment that went while nobody looked.
    let left = harness.path().join("search/1-9");
    std::fs::create_dir_all(left.join("index")).expect("it is made");
    let (told, deployments) = tokio::sync::watch::channel(Arc::default());
    let limits = SearchLimits { documents_read_max: 1, wait_ms_max: 60_000, ..small() };
    let (service, token) = harness.search_of(deployments, harness.transactions.clone(), limits);
    let handle = service.handle();
    assert_eq!(handle.why_not_ready().as_deref(), Some("the directory is not known yet"));
    assert!(left.exists(), "nobody knows yet whose it is");
    let at = harness.published();
    let searching = {
        let handle = handle.clone();
        tokio::spawn(async move { handle.search_text(asked("word", at)).await })
    };
    let known = Deployment::fixed([deployment()]).borrow().clone();
    told.send_replace(known);
    let waiting = async {
        while handle.why_not_ready().is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it becomes ready");
    assert!(!left.exists() && harness.path().join("search/1-1").exists());
    assert_eq!(handle.metrics().incomplete, 0);
    assert_eq!(handle.metrics().documents, 80);
    assert_eq!(searching.await.expect("it ends").expect("it is answered").matches.len(), 40);
    drop(handle);
    token.cancel();
    service.stopped().await;
    harness.stop().await;
}

/// Writes documents of 4 KB in one commit.
struct Large(usize);

#[async_trait]
impl Work for Large {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<()> {
        for number in 0..self.0 {
            let document = object! {"text" => format!("large n{number}"), "kind" => "x".repeat(4_000)};
            transaction.insert("things", Value::Object(document)).await?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_which_an_answer_of_the_log_holds_a_few_documents_are_heard() {
    let harness = Harness::start().await;
    let limits = RpcLimits { calls_bytes_max: 64 << 10, ..RpcLimits::DEFAULT };
    let server = rpc::server(&limits).add_service(TransactionLogServer::service(harness.log.clone(), limits));
    let mut servers = JoinSet::new();
    let channel = loopback::channel_to(server, &limits, &mut servers).await;
    let remote = GrpcTransactionLog::connect(channel, &[DEPLOYMENT.group], limits).await;
    let remote: Arc<dyn TransactionLog> = Arc::new(remote.expect("it connects"));
    let transactions = transactions_on(remote, harness.sequencer.clone());
    let (service, token) = harness.search_on(transactions, small());
    found(&service.handle(), "nothing", harness.published()).await;
    for _ in 0..3 {
        harness.transactions.transact(DEPLOYMENT, &Large(100)).await.expect("they are written");
    }
    assert_eq!(found(&service.handle(), "large", harness.published()).await, 300);
    token.cancel();
    service.stopped().await;
    drop(servers);
    harness.stop().await;
}

/// The texts that a query finds, in its order.
async fn texts(transaction: &mut Transaction, query: serde_json::Value) -> transaction::Result<Vec<String>> {
    let query = transaction::Query::from_serde_json(query, &transaction::Limits::DEFAULT.transaction)?;
    let query = transaction.open_query(query)?;
    let mut texts = Vec::new();
    while let Some(document) = transaction.next_document(query).await? {
        texts.push(text_of(&document));
    }
    Ok(texts)
}

fn text_of(document: &transaction::Document) -> String {
    let object = document.to_object().expect("it is one");
    object.get("text").and_then(Value::as_str).expect("it has a text").to_owned()
}

fn query(text: &str, operators: serde_json::Value) -> serde_json::Value {
    let filters = json!([{"type": "Search", "fieldPath": "text", "value": text}]);
    json!({"source": {"type": "Search", "indexName": "things.by_text", "filters": filters}, "operators": operators})
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_find_what_they_have_written_and_say_what_they_have_searched_for() {
    let harness = Harness::start().await;
    let (service, token) = harness.search(small());
    for text in ["red one", "red two two", "blue three"] {
        harness.write(text, [1.0, 0.0], "a", false).await;
    }
    found(&service.handle(), "red", harness.published()).await;
    let begin = async || {
        let mut transaction = harness.transactions.snapshot(DEPLOYMENT).await.expect("it begins");
        transaction.search_by(Arc::new(service.handle()));
        transaction
    };
    let mut transaction = begin().await;
    assert_eq!(
        texts(&mut transaction, query("red", json!([]))).await.expect("it is searched"),
        ["red one", "red two two"]
    );
    let new = object! {"text" => "red", "kind" => "b"};
    let id = transaction.insert("things", Value::Object(new)).await.expect("it is written");
    let with_own = texts(&mut transaction, query("red", json!([]))).await.expect("it is searched");
    assert_eq!(with_own, ["red", "red one", "red two two"]);
    transaction.delete(&String::from(id), None).await.expect("it is deleted");
    assert_eq!(
        texts(&mut transaction, query("red", json!([{"limit": 1}]))).await.expect("it is searched"),
        ["red one"]
    );
    assert_eq!(texts(&mut transaction, query(" -", json!([]))).await.expect("it is searched"), [""; 0]);
    let error = texts(
        &mut transaction,
        json!({"source": {"type": "Search", "indexName": "things.by_text", "filters": []}, "operators": []}),
    );
    assert_eq!(error.await.expect_err("nothing to search for").code(), "InvalidSearchQuery");
    let error = texts(
        &mut transaction,
        json!({"source": {"type": "IndexRange", "indexName": "things.by_text", "range": []}, "operators": []}),
    );
    assert_eq!(error.await.expect_err("it has no order").code(), "WrongIndexKind");

    // What was written to the transaction's documents conflicts if and only if its searches would find it, before or after.
    let finished = transaction.finish();
    let condition = finished.read_set.searches().next().expect("it has searched").1.clone();
    assert_eq!((condition.terms.len(), condition.prefix.as_str()), (0, "red"));
    let key = |text: &str| {
        let terms = relevance::DocumentTerms::of(text);
        contract::TextKey::encode(&[[0; 16]], terms.counts.keys().map(String::as_str))
    };
    assert!(finished.read_set.contains(TEXT, &key("redder")));
    assert!(!finished.read_set.contains(TEXT, &key("bored blue")));

    // Pages.
    let mut transaction = begin().await;
    let page = |cursor: Option<String>| transaction::PageRequest {
        query: transaction::Query::from_serde_json(
            query("two one three", json!([])),
            &transaction::Limits::DEFAULT.transaction,
        )
        .expect("a query"),
        cursor,
        end_cursor: None,
        page_size: 2.0,
        maximum_rows_read: None,
        maximum_bytes_read: None,
    };
    let first = transaction.page(page(None)).await.expect("a page");
    assert!(!first.is_done);
    let second = begin().await.page(page(Some(first.continue_cursor))).await.expect("a page");
    assert!(second.is_done);
    let mut all: Vec<String> = first.documents.iter().chain(&second.documents).map(text_of).collect();
    assert_eq!(all[0], "red two two", "it has its term twice");
    all.sort();
    assert_eq!(all, ["blue three", "red one", "red two two"]);

    // Vectors.
    let mut transaction = begin().await;
    let mut checked =
        |query: serde_json::Value| transaction.vector_search(query).map(|found| found.is_some());
    let ask = |change: serde_json::Value| {
        let mut query = json!({"indexName": "things.by_vector", "vector": [1, 2], "expressions": null});
        for (name, value) in change.as_object().expect("an object") {
            query[name] = value.clone();
        }
        query
    };
    assert!(checked(ask(json!({}))).expect("it is right"));
    assert!(!checked(ask(json!({"indexName": "nothing.by_vector"}))).expect("an empty table"));
    let eq = json!({"$eq": [{"$field": "kind"}, {"$literal": "a"}]});
    assert!(checked(ask(json!({"expressions": {"$or": [eq, eq]}, "limit": 256}))).expect("it is right"));
    for (change, code) in [
        (json!({"vector": [1]}), "VectorDimensionsMismatch"),
        (json!({"vector": [1, null]}), "InvalidVector"),
        (json!({"limit": 257}), "VectorLimitTooLargeError"),
        (json!({"limit": 0}), "InvalidVectorLimit"),
        (json!({"indexName": "things.by_text"}), "WrongIndexKind"),
        (json!({"indexName": "things.by_x"}), "IndexNotFoundError"),
        (
            json!({"expressions": {"$eq": [{"$field": "text"}, {"$literal": "a"}]}}),
            "IncorrectVectorFilterField",
        ),
        (json!({"expressions": {"$and": []}}), "InvalidQuery"),
        (json!({"expressions": {"$or": vec![eq.clone(); 65]}}), "TooManyVectorFilters"),
    ] {
        assert_eq!(checked(ask(change.clone())).expect_err("it is wrong").code(), code, "{change}");
    }
    token.cancel();
    service.stopped().await;
    harness.stop().await;
}

fn walk(folder: &Path) -> std::io::Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)?.flatten() {
        match entry.path().is_dir() {
            true => files.extend(walk(&entry.path())?),
            false => files.push(entry.path()),
        }
    }
    files.sort();
    Ok(files)
}

/// Copies a folder whose files may come and go meanwhile: again until nothing did.
fn copy(from: &Path, to: &Path) {
    let copied = || {
        let files = walk(from)?;
        for file in &files {
            let place = to.join(file.strip_prefix(from).expect("it is in it"));
            std::fs::create_dir_all(place.parent().expect("it is in a folder"))?;
            std::fs::copy(file, place)?;
        }
        std::io::Result::Ok(walk(from)? == files)
    };
    loop {
        match copied() {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => panic!("it is not copied: {error}"),
        }
        let _ = std::fs::remove_dir_all(to);
    }
}

/// The contract's suite.
mod conformance_suite {
    use conformance::{SearchSubject, SearchedDocument};
    use rpc::{GrpcSearch, SearchServer};

    use super::*;

    const LIMITS: RpcLimits = RpcLimits::DEFAULT;

    async fn subject(over_grpc: bool) -> SearchSubject {
        let harness = Arc::new(Harness::start().await);
        let (service, token) = harness.search(small());
        let mut servers = JoinSet::new();
        let mut search: Arc<dyn Search> = Arc::new(service.handle());
        if over_grpc {
            let server = rpc::server(&LIMITS).add_service(SearchServer::service(search, LIMITS));
            let channel = loopback::channel_to(server, &LIMITS, &mut servers).await;
            search = Arc::new(GrpcSearch::new(channel, LIMITS));
        }
        // Until it keeps the deployment's indexes.
        found(&*search, "nothing", harness.published()).await;
        let writing = harness.clone();
        let write = Box::new(move |document: SearchedDocument| {
            let harness = writing.clone();
            Box::pin(async move {
                let SearchedDocument { text, vector, kind, is_deleted } = document;
                harness.write(text, vector, kind, is_deleted).await
            }) as _
        });
        let ends = [token, harness.shutdown.clone()].map(CancellationToken::drop_guard);
        let kept = Box::new((servers, ends, service, harness));
        SearchSubject { search, deployment: DEPLOYMENT, text: TEXT, vectors: VECTORS, write, kept }
    }

    mod direct {
        use super::*;

        async fn search() -> SearchSubject {
            subject(false).await
        }

        conformance::search!(search);
    }

    mod over_grpc {
        use super::*;

        async fn search() -> SearchSubject {
            subject(true).await
        }

        conformance::search!(search);
    }
}
