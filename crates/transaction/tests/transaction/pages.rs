//! Pages: together they hold everything once, whatever is written between them.

use contract::CommitOutcome;
use serde_json::json;
use transaction::{Error, NestedLimits, NestedOutcome, PageRequest, PageStatus, Query, Result};
use value::ComponentId;

use crate::common::{
    Store, for_seeds, index_query, json,
    properties::{self, ids, page, request},
};

#[test]
fn pages_cover_everything_once_while_others_write() {
    let mut split = 0;
    for_seeds(300, async |mut random| {
        split += properties::pages_cover_everything_once(&Store::with_small_pages(&mut random), random).await;
    });
    assert!(
        split > 50 || std::env::var("SEED").is_ok(),
        "the test must see pages that can be split: {split}"
    );
}

/// A table with `count` documents, and a query over all of them.
async fn numbered(count: usize) -> (Store, impl Fn() -> Query) {
    let store = Store::new();
    let mut transaction = store.begin().await;
    for n in 0..count {
        transaction.insert("t", json(json!({"n": n}))).await.unwrap();
    }
    store.must_commit(transaction).await;
    (store, || index_query("t.by_creation_time", json!([]), "asc", json!([])))
}

fn code<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.expect_err("it must fail").code().to_owned()
}

#[tokio::test]
async fn a_page_depends_on_what_lies_in_it_and_not_on_what_follows() {
    let (store, query) = numbered(10).await;
    let mut transaction = store.begin().await;
    let read = transaction.page(request(query(), None, 4.0)).await.unwrap();
    assert!(!read.is_done && read.status.is_none());
    let end = transaction.finish();
    let mut other = store.begin().await;
    other.insert("t", json(json!({}))).await.unwrap();
    store.must_commit(other).await;
    assert!(
        matches!(store.commit_finished(end.clone()).await, CommitOutcome::Committed { .. }),
        "it lies behind"
    );
    let mut other = store.begin().await;
    other.delete(&ids(&read)[2], None).await.unwrap();
    store.must_commit(other).await;
    assert!(matches!(store.commit_finished(end).await, CommitOutcome::Conflict(_)));
}

#[tokio::test]
async fn limits_on_what_is_read_cut_a_page_and_ask_to_split_it() {
    let (store, query) = numbered(10).await;
    let rows = |rows: f64| PageRequest { maximum_rows_read: Some(rows), ..request(query(), None, 8.0) };
    let (cut, _) = page(&store, rows(5.0), None).await.unwrap();
    assert_eq!((cut.documents.len(), cut.status), (5, Some(PageStatus::SplitRequired)));
    assert!(!cut.is_done && cut.split_cursor.is_some());
    let (near, _) = page(&store, rows(9.0), None).await.unwrap();
    assert_eq!((near.documents.len(), near.status), (8, Some(PageStatus::SplitRecommended)));
    // Three quarters of small limits are no whole numbers.
    for (rows_max, items, status) in [
        (3.0, 1.0, None),
        (3.0, 2.0, None),
        (2.0, 1.0, None),
        (3.0, 3.0, Some(PageStatus::SplitRecommended)),
        (5.0, 3.0, None),
        (5.0, 4.0, Some(PageStatus::SplitRecommended)),
    ] {
        let small = PageRequest { page_size: items, ..rows(rows_max) };
        let (read, _) = page(&store, small, None).await.unwrap();
        assert_eq!((read.documents.len(), read.status), (items as usize, status), "{items} of {rows_max}");
    }
    let (bytes, _) =
        page(&store, PageRequest { maximum_bytes_read: Some(100.0), ..request(query(), None, 8.0) }, None)
            .await
            .unwrap();
    assert_eq!((bytes.documents.len(), bytes.status), (2, Some(PageStatus::SplitRequired)));
    let (whole, _) = page(&store, request(query(), None, 11.0), None).await.unwrap();
    assert!(whole.is_done && whole.documents.len() == 10);
}

#[tokio::test]
async fn a_page_ends_before_the_function_would_have_read_too_much() {
    let mut limits = transaction::Limits::DEFAULT;
    limits.transaction.read_documents_max = 8;
    limits.value.document_bytes_max = 1_000;
    let store = Store::with_limits(limits);
    let mut transaction = store.begin().await;
    for n in 0..20 {
        transaction.insert("t", json(json!({"n": n, "text": "x".repeat(800)}))).await.unwrap();
    }
    store.must_commit(transaction).await;
    let query = || index_query("t.by_creation_time", json!([]), "asc", json!([]));
    let (by_rows, _) = page(&store, request(query(), None, 20.0), None).await.unwrap();
    assert_eq!((by_rows.documents.len(), by_rows.status), (8, Some(PageStatus::SplitRequired)));

    let mut store = store;
    store.limits.transaction.read_bytes_max = 3_000;
    let (by_bytes, _) = page(&store, request(query(), None, 20.0), None).await.unwrap();
    assert_eq!((by_bytes.documents.len(), by_bytes.status), (3, Some(PageStatus::SplitRequired)));
}

#[tokio::test]
async fn sizes_that_make_no_sense_are_refused_by_name() {
    let (store, query) = numbered(1).await;
    let base = || request(query(), None, 1.0);
    for (request, expected) in [
        (PageRequest { page_size: 0.0, ..base() }, "NoDocumentsForPagination"),
        (PageRequest { page_size: f64::NAN, ..base() }, "NoDocumentsForPagination"),
        (PageRequest { page_size: 32_001.0, ..base() }, "PageSizeTooLarge"),
        (PageRequest { maximum_rows_read: Some(0.0), ..base() }, "InvalidPaginationLimit"),
        (PageRequest { maximum_bytes_read: Some(-1.0), ..base() }, "InvalidPaginationLimit"),
    ] {
        assert_eq!(code(page(&store, request, None).await), expected);
    }
}

#[tokio::test]
async fn a_cursor_is_good_for_its_query_only() {
    let (store, query) = numbered(5).await;
    let (first, journal) = page(&store, request(query(), None, 2.0), None).await.unwrap();
    let cursor = Some(first.continue_cursor.as_str());
    let descending = index_query("t.by_creation_time", json!([]), "desc", json!([]));
    let filtered =
        index_query("t.by_creation_time", json!([]), "asc", json!([{"filter": {"$literal": true}}]));
    for other in [descending.clone(), filtered] {
        let error = page(&store, request(other, cursor, 2.0), None).await.unwrap_err();
        let Error::User(error) = error else { panic!("{error}") };
        assert_eq!(error.code, "InvalidCursor");
        assert_eq!(
            error.data.unwrap().to_json(),
            r#"{"isConvexSystemError":true,"paginationError":"InvalidCursor"}"#
        );
    }
    assert_eq!(code(page(&store, request(query(), Some("nonsense"), 2.0), None).await), "InvalidCursor");
    // A journal of another query belongs to older code: the page begins anew.
    let (other, _) = page(&store, request(descending, None, 3.0), journal).await.unwrap();
    assert_eq!(other.documents.len(), 3);
}

#[tokio::test]
async fn a_function_reads_one_page_and_nested_ones_leave_no_journal() {
    let (store, query) = numbered(5).await;
    let mut transaction = store.begin().await;
    transaction.page(request(query(), None, 2.0)).await.unwrap();
    assert_eq!(code(transaction.page(request(query(), None, 2.0)).await), "MultiplePaginatedDatabaseQueries");

    let mut transaction = store.begin().await;
    transaction.begin_nested(ComponentId::ROOT, &NestedLimits::default()).unwrap();
    transaction.page(request(query(), None, 2.0)).await.unwrap();
    transaction.end_nested(NestedOutcome::Keep);
    transaction.begin_nested(ComponentId::ROOT, &NestedLimits::default()).unwrap();
    transaction.page(request(query(), None, 2.0)).await.unwrap();
    transaction.end_nested(NestedOutcome::Keep);
    assert_eq!(transaction.finish().journal, None);
}

#[tokio::test]
async fn a_page_is_written_as_the_library_reads_it() {
    let (store, query) = numbered(2).await;
    let (read, _) = page(&store, request(query(), None, 5.0), None).await.unwrap();
    let json: serde_json::Value = serde_json::from_str(&read.to_json()).unwrap();
    assert_eq!(json["page"][1]["n"], json!(1));
    assert_eq!((&json["isDone"], &json["pageStatus"]), (&json!(true), &json!(null)));
    assert_eq!(json["continueCursor"], json!(read.continue_cursor));
    assert_eq!(json["splitCursor"], json!(read.split_cursor.unwrap()));
    let (missing, _) = page(
        &store,
        request(Query::full_table_scan("no".parse().unwrap(), contract::Order::Ascending), None, 5.0),
        None,
    )
    .await
    .unwrap();
    assert!(missing.is_done && missing.documents.is_empty());
}
