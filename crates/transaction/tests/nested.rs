//! Calls within calls: what is rolled back, what stays, and what they may use.

mod common;

use common::{
    Store, fields, for_seeds, get, json,
    model::{random_limits, written_keys},
    patch, properties, take,
};
use limits::Limits;
use serde_json::json;
use transaction::{Error, NestedLimits, NestedOutcome, Query, Result, Transaction};
use value::ComponentId;

fn code<T: std::fmt::Debug>(result: Result<T>) -> String {
    let error = result.expect_err("it must fail");
    assert!(matches!(error, Error::User(_)), "{error:?}");
    error.code().to_owned()
}

#[test]
fn a_call_that_failed_leaves_no_writes_behind() {
    for_seeds(200, async |mut random| {
        properties::failed_calls_leave_no_writes(&Store::with_limits(random_limits(&mut random)), random)
            .await;
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
    for _ in 0..10 {
        transaction.open_query(scan()).unwrap();
    }
    assert_eq!(code(transaction.open_query(scan())), "TooManyReads");

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
