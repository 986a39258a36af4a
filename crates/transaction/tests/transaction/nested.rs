//! Calls within calls: what is rolled back, what stays, and what they may use.

use serde_json::json;
use transaction::Limits;
use transaction::{Error, NestedLimits, NestedOutcome, Query, Result, Transaction};
use value::ComponentId;

use crate::common::{
    Store, fields, for_seeds, get, index_query, json, model::written_keys, patch, properties, take,
};

/// The documents of `t` whose creation time is above a number: a range of its own.
fn scan_above(n: u32) -> Query {
    let range = json!([{"type": "Gt", "fieldPath": "_creationTime", "value": n}]);
    index_query("t.by_creation_time", range, "asc", json!([]))
}

fn code<T: std::fmt::Debug>(result: Result<T>) -> String {
    let error = result.expect_err("it must fail");
    assert!(matches!(error, Error::User(_)), "{error:?}");
    error.code().to_owned()
}

#[test]
fn a_call_that_failed_leaves_no_writes_behind() {
    for_seeds(200, async |mut random| {
        properties::failed_calls_leave_no_writes(&Store::with_small_pages(&mut random), random).await;
    });
}

async fn insert(transaction: &mut Transaction, table: &str) -> String {
    transaction.insert(table, json(json!({"n": 1}))).await.unwrap().to_string()
}

#[tokio::test]
async fn a_rolled_back_call_takes_its_tables_with_it_and_its_reads_stay() {
    let store = Store::new();
    let mut transaction = store.begin().await;
    let id = insert(&mut transaction, "t").await;
    let other = insert(&mut transaction, "t").await;
    store.must_commit(transaction).await;

    let mut transaction = store.begin().await;
    transaction.begin_nested(ComponentId::ROOT, &NestedLimits::default()).unwrap();
    insert(&mut transaction, "created").await;
    transaction.patch(&id, None, patch(json!({"n": 2}))).await.unwrap();
    transaction.get(get(&other)).await.unwrap();
    let scan = Query::full_table_scan("t".parse().unwrap(), contract::Order::Ascending);
    let open = transaction.open_query(scan).unwrap();
    transaction.next_document(open).await.unwrap();
    transaction.end_nested(NestedOutcome::RollBack);
    assert!(transaction.catalog().table("created").is_none());
    assert_eq!(fields(&transaction.get(get(&id)).await.unwrap().unwrap()), json!({"n": 1}));
    assert_eq!(code(transaction.next_document(open).await), "QueryNotFound", "its queries are closed");
    assert_eq!(transaction.usage().documents_written, 2, "what it used stays used");
    let finished = transaction.finish();
    assert_eq!(finished.writes, []);

    let mut changes = store.begin().await;
    changes.patch(&other, None, patch(json!({"n": 3}))).await.unwrap();
    let keys = written_keys(&changes.finish());
    assert!(keys.iter().any(|(index, key)| finished.read_set.contains(*index, key)));
}

#[tokio::test]
async fn calls_may_nest_only_so_deep() {
    let store = Store::new();
    let mut transaction = store.begin().await;
    for depth in 0..8 {
        assert_eq!(transaction.depth(), depth);
        transaction.begin_nested(ComponentId::ROOT, &NestedLimits::default()).unwrap();
    }
    assert_eq!(
        code(transaction.begin_nested(ComponentId::ROOT, &NestedLimits::default())),
        "MaximumCallDepthExceeded"
    );
    assert_eq!(transaction.depth(), 8);
    transaction.end_nested(NestedOutcome::Keep);
    transaction.begin_nested(ComponentId::ROOT, &NestedLimits::default()).unwrap();
}

#[tokio::test]
async fn each_limit_fails_by_name_and_a_nested_call_has_its_own() {
    let mut limits = Limits::DEFAULT;
    limits.transaction.written_documents_max = 4;
    limits.transaction.read_documents_max = 6;
    limits.transaction.read_intervals_max = 10;
    limits.transaction.written_bytes_max = 1_000;
    let store = Store::with_limits(limits);
    let scan = || Query::full_table_scan("t".parse().unwrap(), contract::Order::Ascending);

    let mut transaction = store.begin().await;
    for _ in 0..4 {
        insert(&mut transaction, "t").await;
    }
    assert_eq!(code(transaction.insert("t", json(json!({}))).await), "TooManyWrites");
    store.must_commit(transaction).await;
    let mut transaction = store.begin().await;
    for _ in 0..4 {
        insert(&mut transaction, "t").await;
    }
    store.must_commit(transaction).await;

    let mut transaction = store.begin().await;
    assert_eq!(code(take(&mut transaction, scan(), 100).await), "TooManyDocumentsRead");
    let mut transaction = store.begin().await;
    assert_eq!(
        code(transaction.insert("t", json(json!({"x": "x".repeat(1_000)}))).await),
        "TooManyBytesWritten"
    );
    let mut transaction = store.begin().await;
    for n in 0..10 {
        transaction.open_query(scan_above(n)).unwrap();
    }
    assert_eq!(code(transaction.open_query(scan_above(10))), "TooManyReads");
    let used = transaction.usage().database_queries;
    transaction.open_query(scan_above(7)).expect("a range that was read before adds nothing");
    assert_eq!((used, transaction.usage().database_queries), (10, 10));

    let mut transaction = store.begin().await;
    take(&mut transaction, scan(), 3).await.unwrap();
    transaction
        .begin_nested(
            ComponentId::ROOT,
            &NestedLimits { documents_read: Some(2.0), ..NestedLimits::default() },
        )
        .unwrap();
    let remaining = |transaction: &Transaction, name: &str| {
        transaction.metrics().into_iter().find(|metric| metric.name == name).unwrap().remaining
    };
    assert_eq!(remaining(&transaction, "documentsRead"), 2);
    assert_eq!(code(take(&mut transaction, scan(), 3).await), "TooManyDocumentsRead");
    transaction.end_nested(NestedOutcome::Keep);
    assert_eq!(
        remaining(&transaction, "documentsRead"),
        0,
        "three, and three that the nested call has tried"
    );
}

#[tokio::test]
async fn after_a_limit_was_hit_the_numbers_are_those_of_what_has_happened() {
    let mut limits = Limits::DEFAULT;
    limits.transaction.written_documents_max = 5;
    limits.transaction.written_bytes_max = 2_000;
    limits.transaction.read_intervals_max = 4;
    let store = Store::with_limits(limits);
    let scan = || Query::full_table_scan("t".parse().unwrap(), contract::Order::Ascending);
    let mut transaction = store.begin().await;
    let metric = |transaction: &Transaction, name: &str| {
        let metric = transaction.metrics().into_iter().find(|metric| metric.name == name).unwrap();
        (metric.used, metric.remaining)
    };
    let id = insert(&mut transaction, "t").await;
    let bytes = transaction.usage().bytes_written;
    assert_eq!(
        code(transaction.insert("t", json(json!({"x": "x".repeat(2_000)}))).await),
        "TooManyBytesWritten"
    );
    assert_eq!(metric(&transaction, "bytesWritten"), (bytes, 2_000 - bytes));
    assert_eq!(metric(&transaction, "documentsWritten"), (1, 4));
    for _ in 0..4 {
        insert(&mut transaction, "t").await;
    }
    for _ in 0..3 {
        assert_eq!(code(transaction.insert("t", json(json!({}))).await), "TooManyWrites");
        assert_eq!(code(transaction.patch(&id, None, patch(json!({"x": 1}))).await), "TooManyWrites");
    }
    assert_eq!(metric(&transaction, "documentsWritten"), (5, 0));
    assert_eq!(take(&mut transaction, scan(), 10).await.unwrap().len(), 5, "what failed has no effect");
    for n in 0..2 {
        transaction.open_query(scan_above(n)).unwrap();
    }
    for n in 2..5 {
        assert_eq!(code(transaction.open_query(scan_above(n))), "TooManyReads");
    }
    assert_eq!(metric(&transaction, "databaseQueries"), (4, 0));
    let limits = store.limits;
    let warnings = transaction.usage().warnings(&limits.transaction, &limits.value);
    let of_writes = warnings.iter().find(|warning| warning.code == "TooManyWrites").unwrap();
    assert_eq!(of_writes.message, "documentsWritten: 5 of at most 5 are used");
}

#[tokio::test]
async fn one_document_can_be_read_as_often_as_one_likes() {
    let store = Store::new();
    let mut transaction = store.begin().await;
    let id = insert(&mut transaction, "t").await;
    for _ in 0..=transaction::TransactionLimits::DEFAULT.read_intervals_max {
        transaction.get(get(&id)).await.expect("it adds nothing to what was read");
    }
    let usage = *transaction.usage();
    assert_eq!((usage.database_queries, usage.documents_read), (1, 4_097));
    // What isn't there is a range as well, and bounded like one.
    let missing =
        |n: usize| Query::full_table_scan(format!("missing{n}").parse().unwrap(), contract::Order::Ascending);
    for n in 0..4_095 {
        let query = transaction.open_query(missing(n)).unwrap();
        transaction.close_query(query);
    }
    assert_eq!(code(transaction.open_query(missing(4_095))), "TooManyReads");
    transaction.open_query(missing(17)).expect("it was read before");
}

#[tokio::test]
async fn open_queries_are_limited() {
    let mut limits = Limits::DEFAULT;
    limits.transaction.open_queries_max = 2;
    let store = Store::with_limits(limits);
    let mut transaction = store.begin().await;
    let scan = || Query::full_table_scan("t".parse().unwrap(), contract::Order::Ascending);
    let first = transaction.open_query(scan()).unwrap();
    transaction.open_query(scan()).unwrap();
    assert_eq!(code(transaction.open_query(scan())), "TooManyOpenQueries");
    transaction.close_query(first);
    transaction.open_query(scan()).unwrap();
}
