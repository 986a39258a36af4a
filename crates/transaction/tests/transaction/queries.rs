//! Queries: which documents come in which order, and what they leave in the read set.

use serde_json::json;
use transaction::{Error, Query};

use crate::common::{
    Store, create_index, fields, for_seeds, id_of, index_query, json,
    model::written_keys,
    patch,
    properties::{self, Touched},
    query, take,
};

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.expect_err("it must fail").code().to_owned()
}

#[test]
fn pending_writes_and_committed_rows_are_one_ordered_whole() {
    for_seeds(400, async |mut random| {
        properties::queries_see_own_writes(&Store::with_small_pages(&mut random), random).await;
    });
}

#[test]
fn whatever_leaves_the_read_set_alone_does_not_change_what_was_seen() {
    let (mut same, mut touched) = (0, 0);
    for_seeds(1_500, async |mut random| {
        let store = Store::with_small_pages(&mut random);
        match properties::read_set_is_sound(&store, random).await {
            Touched::No => same += 1,
            Touched::Yes => touched += 1,
        }
    });
    if std::env::var("SEED").is_err() {
        assert!(same > 300 && touched > 300, "the test must see both: {same} and {touched}");
    }
}

/// Documents with `n` from 0 to 9, an index over `n`, and the number of index keys that reading `query` covers.
async fn keys_covered(query: Query, count: usize) -> usize {
    let store = Store::new();
    let mut transaction = store.begin().await;
    create_index(&mut transaction, "t", "by_n", &["n"]).await;
    for n in 0..10 {
        transaction.insert("t", json(json!({"n": n}))).await.unwrap();
    }
    let finished = transaction.finish();
    let keys = written_keys(&finished);
    store.commit_finished(finished).await;
    let mut transaction = store.begin().await;
    let index = transaction.catalog().table("t").unwrap().index("by_n").unwrap().id;
    take(&mut transaction, query, count).await.unwrap();
    let read_set = transaction.finish().read_set;
    keys.iter().filter(|(of, key)| *of == index && read_set.contains(*of, key)).count()
}

#[tokio::test]
async fn only_what_was_consumed_is_in_the_read_set() {
    let by_n = |range: serde_json::Value, order: &str, operators: serde_json::Value| {
        index_query("t.by_n", range, order, operators)
    };
    let above_2 = json!([{"type": "Gt", "fieldPath": "n", "value": 2}]);
    assert_eq!(keys_covered(by_n(above_2.clone(), "asc", json!([])), 3).await, 3);
    assert_eq!(keys_covered(by_n(above_2.clone(), "desc", json!([])), 2).await, 2);
    assert_eq!(keys_covered(by_n(above_2.clone(), "asc", json!([{"limit": 2}])), 10).await, 2);
    assert_eq!(
        keys_covered(by_n(above_2.clone(), "asc", json!([])), 10).await,
        7,
        "the whole range when it is exhausted"
    );
    let fifth = json!([{"filter": {"$eq": [{"$field": "n"}, {"$literal": 5}]}}, {"limit": 1}]);
    assert_eq!(keys_covered(by_n(json!([]), "asc", fifth), 10).await, 6, "what a filter drops was read too");
    assert_eq!(keys_covered(by_n(above_2, "asc", json!([{"limit": 0}])), 10).await, 0);
}

#[tokio::test]
async fn what_an_abandoned_query_has_read_is_in_the_read_set() {
    let store = Store::new();
    let mut transaction = store.begin().await;
    transaction.insert("t", json(json!({}))).await.unwrap();
    let written = transaction.finish();
    let keys = written_keys(&written);
    store.commit_finished(written).await;
    let mut transaction = store.begin().await;
    let by_creation_time = transaction.catalog().table("t").unwrap().index("by_creation_time").unwrap().id;
    let open = query(json!({"source": {"type": "FullTableScan", "tableName": "t", "order": "asc"}}));
    let open = transaction.open_query(open).unwrap();
    transaction.next_document(open).await.unwrap().expect("one document");
    let read_set = transaction.finish().read_set;
    assert!(keys.iter().any(|(index, key)| *index == by_creation_time && read_set.contains(*index, key)));
}

#[tokio::test]
async fn ranges_that_make_no_sense_are_refused_by_name() {
    let store = Store::new();
    let mut transaction = store.begin().await;
    create_index(&mut transaction, "t", "by_a_b", &["a", "b"]).await;
    let range = |conditions: &[(&str, &str)]| -> serde_json::Value {
        conditions.iter().map(|(kind, field)| json!({"type": kind, "fieldPath": field, "value": 1})).collect()
    };
    for (conditions, expected) in [
        (range(&[("Eq", "c")]), "FieldNotInIndex"),
        (range(&[("Lt", "_id")]), "InvalidIndexRange"),
        (range(&[("Eq", "a"), ("Eq", "b"), ("Gt", "_id")]), "InvalidIndexRange"),
        (range(&[("Eq", "b")]), "InvalidIndexRange"),
        (range(&[("Gt", "b")]), "InvalidIndexRange"),
        (range(&[("Eq", "a"), ("Gt", "a")]), "InvalidIndexRange"),
        (range(&[("Eq", "a"), ("Eq", "a")]), "AlreadyDefinedBound"),
        (range(&[("Gt", "a"), ("Gte", "a")]), "AlreadyDefinedBound"),
        (range(&[("Gt", "a"), ("Lt", "b")]), "BoundsOnMultipleFields"),
        (range(&[("Gt", "a"), ("Gt", "b")]), "BoundsOnMultipleFields"),
    ] {
        let query = index_query("t.by_a_b", conditions.clone(), "asc", json!([]));
        assert_eq!(code(transaction.open_query(query)), expected, "{conditions}");
    }
    for (conditions, index) in [
        (range(&[("Eq", "a"), ("Eq", "b"), ("Gt", "_creationTime"), ("Lte", "_creationTime")]), "by_a_b"),
        (range(&[("Lt", "a"), ("Gt", "a")]), "by_a_b"),
        (range(&[("Eq", "a"), ("Eq", "b"), ("Eq", "_creationTime"), ("Gt", "_id")]), "by_a_b"),
        (range(&[("Eq", "_creationTime"), ("Lte", "_id"), ("Gt", "_id")]), "by_creation_time"),
        (range(&[("Eq", "_id")]), "by_id"),
    ] {
        let query = index_query(&format!("t.{index}"), conditions, "asc", json!([]));
        assert_eq!(take(&mut transaction, query, 10).await.unwrap(), []);
    }
}

#[tokio::test]
async fn the_id_ends_every_index() {
    let store = Store::new();
    let mut transaction = store.begin().await;
    create_index(&mut transaction, "t", "by_a", &["a"]).await;
    for _ in 0..3 {
        transaction.insert("t", json(json!({"a": 1}))).await.unwrap();
    }
    store.must_commit(transaction).await;
    let mut transaction = store.begin().await;
    let all = index_query("t.by_a", json!([]), "asc", json!([]));
    for document in take(&mut transaction, all, 10).await.unwrap() {
        let id = id_of(&document);
        let object = document.to_object().unwrap();
        let time = object.get("_creationTime").unwrap().to_serde_json();
        for (order, bound, value, count) in [
            ("asc", "Gt", "", 1),
            ("asc", "Gt", id.as_str(), 0),
            ("asc", "Gte", id.as_str(), 1),
            ("desc", "Lt", id.as_str(), 0),
            ("desc", "Lte", id.as_str(), 1),
            ("desc", "Eq", id.as_str(), 1),
        ] {
            let position = [
                json!({"type": "Eq", "fieldPath": "_creationTime", "value": time}),
                json!({"type": bound, "fieldPath": "_id", "value": value}),
            ];
            let of_a = [&[json!({"type": "Eq", "fieldPath": "a", "value": 1})], &position[..]].concat();
            for (index, range) in [("t.by_a", of_a), ("t.by_creation_time", position.to_vec())] {
                let query = index_query(index, json!(range), order, json!([]));
                let found = take(&mut transaction, query, 10).await.unwrap();
                assert_eq!(found.len(), count, "{index} {order} {bound} {value}");
                assert!(found.iter().all(|found| id_of(found) == id));
            }
        }
    }
}

#[tokio::test]
async fn while_a_push_changes_an_index_the_one_that_was_there_serves() {
    use contract::IndexId;
    use transaction::{IndexRow, IndexState, Stored, Transaction};
    let store = Store::new();
    let mut transaction = store.begin().await;
    create_index(&mut transaction, "t", "by_a", &["a"]).await;
    let mut rows: Vec<Stored<IndexRow>> = transaction.rows("by_id", &[]).await.unwrap();
    let Stored { id, row } = rows.pop().unwrap();
    let with = |id, state| IndexRow { id, state, ..row.clone() };
    let other_id = IndexId([9; 16]);
    let other = transaction.insert_row(&with(other_id, IndexState::Backfilling)).await.unwrap();
    let index = |transaction: &Transaction| {
        transaction.catalog().table("t").unwrap().index("by_a").map(|index| index.id)
    };
    assert_eq!(index(&transaction), Some(row.id));
    transaction.replace_row(other, &with(other_id, IndexState::Enabled)).await.unwrap();
    transaction.replace_row(id, &with(row.id, IndexState::Backfilling)).await.unwrap();
    assert_eq!(index(&transaction), Some(other_id));
    transaction.open_query(index_query("t.by_a", json!([]), "asc", json!([]))).unwrap();
}

#[tokio::test]
async fn an_index_can_be_queried_only_when_it_is_enabled() {
    use transaction::{IndexRow, IndexState, Stored};
    let store = Store::new();
    let mut transaction = store.begin().await;
    create_index(&mut transaction, "t", "by_a", &["a"]).await;
    let mut rows: Vec<Stored<IndexRow>> = transaction.rows("by_id", &[]).await.unwrap();
    let Stored { id, mut row } = rows.pop().unwrap();
    let by_a = || index_query("t.by_a", json!([]), "asc", json!([]));
    for (state, staged, expected) in [
        (IndexState::Backfilling, false, "IndexBackfillingError"),
        (IndexState::Backfilled, false, "IndexBackfillingError"),
        (IndexState::Backfilled, true, "IndexStagedError"),
    ] {
        (row.state, row.staged) = (state, staged);
        transaction.replace_row(id, &row).await.unwrap();
        assert_eq!(code(transaction.open_query(by_a())), expected);
    }
    (row.state, row.staged) = (IndexState::Enabled, false);
    transaction.replace_row(id, &row).await.unwrap();
    transaction.open_query(by_a()).unwrap();
    transaction.delete_row::<IndexRow>(id).await.unwrap();
    assert_eq!(code(transaction.open_query(by_a())), "IndexNotFoundError");
    assert_eq!(
        code(transaction.open_query(index_query("missing.by_a", json!([]), "asc", json!([])))),
        "IndexNotFoundError"
    );
    for index in ["by_id", "by_creation_time"] {
        let query = index_query(&format!("missing.{index}"), json!([]), "asc", json!([]));
        assert_eq!(take(&mut transaction, query, 1).await.unwrap(), []);
    }
}

#[test]
fn queries_that_are_not_well_formed_are_refused() {
    let limits = transaction::Limits::DEFAULT.transaction;
    let scan = |operators: serde_json::Value| json!({"source": {"type": "FullTableScan", "tableName": "t", "order": null}, "operators": operators});
    let search = |filters: serde_json::Value| json!({"source": {"type": "Search", "indexName": "t.s", "filters": filters}, "operators": []});
    for (query, expected) in [
        (json!([]), "InvalidQuery"),
        (json!({"source": {"type": "Other"}, "operators": []}), "InvalidQuery"),
        (
            json!({"source": {"type": "IndexRange", "indexName": "t", "range": []}, "operators": []}),
            "InvalidQuery",
        ),
        (
            json!({"source": {"type": "FullTableScan", "tableName": "9"}, "operators": []}),
            "InvalidIdentifier",
        ),
        (scan(json!([{"limit": -1}])), "InvalidQuery"),
        (scan(json!([{"limit": 1.5}])), "InvalidQuery"),
        (scan(json!([{"limit": 1, "filter": {"$literal": true}}])), "InvalidQuery"),
        (scan(json!([{"sort": 1}])), "InvalidQuery"),
        (scan(json!(vec![json!({"limit": 1}); 257])), "TooManyQueryOperators"),
        (search(json!([{"type": "Eq", "fieldPath": "a"}])), "InvalidQuery"),
        (search(json!([{"type": "Search", "fieldPath": "a", "value": 1}])), "InvalidQuery"),
    ] {
        assert_eq!(code(Query::from_serde_json(query.clone(), &limits)), expected, "{query}");
    }
    assert_eq!(code(Query::from_json("{", &limits)), "InvalidQuery");
    assert!(Query::from_serde_json(scan(json!(vec![json!({"limit": 1}); 256])), &limits).is_ok());
}

#[tokio::test]
async fn a_document_that_is_changed_while_it_is_iterated_over_is_seen_as_it_is_then() {
    let store = Store::new();
    let mut transaction = store.begin().await;
    for n in 0..5 {
        transaction.insert("t", json(json!({"n": n}))).await.unwrap();
    }
    store.must_commit(transaction).await;
    let mut transaction = store.begin().await;
    let all =
        take(&mut transaction, Query::full_table_scan("t".parse().unwrap(), contract::Order::Ascending), 9);
    let ids: Vec<String> = all.await.unwrap().iter().map(id_of).collect();
    let open = transaction
        .open_query(query(json!({"source": {"type": "FullTableScan", "tableName": "t", "order": "asc"}})));
    let open = open.unwrap();
    assert_eq!(fields(&transaction.next_document(open).await.unwrap().unwrap()), json!({"n": 0}));
    transaction.patch(&ids[1], None, patch(json!({"n": 10}))).await.unwrap();
    transaction.delete(&ids[2], None).await.unwrap();
    transaction.delete(&ids[0], None).await.unwrap();
    transaction.insert("t", json(json!({"n": 5}))).await.unwrap();
    let mut rest = Vec::new();
    while let Some(document) = transaction.next_document(open).await.unwrap() {
        rest.push(fields(&document));
    }
    assert_eq!(rest, [json!({"n": 10}), json!({"n": 3}), json!({"n": 4}), json!({"n": 5})]);
    assert!(transaction.next_document(open).await.unwrap().is_none(), "the end stays the end");
    assert!(transaction.close_query(open) && !transaction.close_query(open));
    assert_eq!(code(transaction.next_document(open).await), "QueryNotFound");
}
