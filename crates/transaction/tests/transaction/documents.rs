//! Single documents: what each operation does, and how it fails.

use contract::CommitOutcome;
use serde_json::json;
use transaction::{Error, GetRequest, Query, Transaction};
use value::TableNumber;

use crate::common::{Store, fields, get, id_of, json, patch, take};

fn scan(table: &str) -> Query {
    Query::full_table_scan(table.parse().unwrap(), contract::Order::Ascending)
}

async fn inserted(transaction: &mut Transaction, table: &str, document: serde_json::Value) -> String {
    transaction.insert(table, json(document)).await.expect("inserts").into()
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    let error = result.expect_err("it must fail");
    assert!(matches!(error, Error::User(_)), "a mistake of the function: {error:?}");
    error.code().to_owned()
}

#[tokio::test]
async fn a_document_goes_through_its_life() {
    let store = Store::new();
    let mut transaction = store.begin().await;
    let id = inserted(&mut transaction, "messages", json!({"body": "hi", "n": 1})).await;
    assert!(id.starts_with("j57"), "the first user table has number 10001: {id}");
    assert_eq!(fields(&transaction.get(get(&id)).await.unwrap().unwrap()), json!({"body": "hi", "n": 1}));
    store.must_commit(transaction).await;

    let mut transaction = store.begin().await;
    transaction
        .patch(&id, None, patch(json!({"n": 2, "body": {"$undefined": null}, "new": [1]})))
        .await
        .unwrap();
    assert_eq!(fields(&transaction.get(get(&id)).await.unwrap().unwrap()), json!({"n": 2, "new": [1]}));
    store.must_commit(transaction).await;

    let mut transaction = store.begin().await;
    let before = transaction.get(get(&id)).await.unwrap().unwrap().to_object().unwrap();
    transaction.replace(&id, Some("messages"), json(json!({"only": true}))).await.unwrap();
    store.must_commit(transaction).await;

    let mut transaction = store.begin().await;
    let after = transaction.get(get(&id)).await.unwrap().unwrap();
    assert_eq!(fields(&after), json!({"only": true}));
    let after = after.to_object().unwrap();
    assert_eq!(after.get("_id"), before.get("_id"));
    assert_eq!(after.get("_creationTime"), before.get("_creationTime"));
    transaction.delete(&id, None).await.unwrap();
    assert!(transaction.get(get(&id)).await.unwrap().is_none());
    store.must_commit(transaction).await;

    let mut transaction = store.begin().await;
    assert!(transaction.get(get(&id)).await.unwrap().is_none());
    for result in [
        transaction.patch(&id, None, patch(json!({}))).await,
        transaction.replace(&id, None, json(json!({}))).await,
        transaction.delete(&id, None).await,
    ] {
        assert_eq!(code(result), "NonexistentDocument");
    }
}

#[tokio::test]
async fn creation_times_grow_and_begin_at_the_clock() {
    let store = Store::new();
    let mut transaction = store.begin().await;
    let mut last = 0.0;
    for _ in 0..100 {
        let id = inserted(&mut transaction, "t", json!({})).await;
        let document = transaction.get(get(&id)).await.unwrap().unwrap().to_object().unwrap();
        let time = document.get("_creationTime").unwrap().as_f64().unwrap();
        assert!(time > last && (1_700_000_000_000.0..1_700_000_000_001.0).contains(&time), "{time}");
        last = time;
    }
}

#[tokio::test]
async fn a_patch_that_changes_nothing_reads_and_writes_nothing() {
    let store = Store::new();
    let mut transaction = store.begin().await;
    let id = inserted(&mut transaction, "t", json!({"a": 1, "b": {"c": []}})).await;
    store.must_commit(transaction).await;

    let mut transaction = store.begin().await;
    transaction.patch(&id, None, patch(json!({"b": {"c": []}, "z": {"$undefined": null}}))).await.unwrap();
    transaction.replace(&id, None, json(json!({"a": 1, "b": {"c": []}}))).await.unwrap();
    assert_eq!(transaction.usage().documents_written, 0);
    let finished = transaction.finish();
    assert_eq!(finished.writes, []);

    // It has read, so that it can conflict.
    let mut other = store.begin().await;
    other.patch(&id, None, patch(json!({"a": 2}))).await.unwrap();
    store.must_commit(other).await;
    assert!(matches!(store.commit_finished(finished).await, CommitOutcome::Conflict(_)));
}

#[tokio::test]
async fn the_system_fields_are_the_systems() {
    let store = Store::new();
    let mut transaction = store.begin().await;
    let id = inserted(&mut transaction, "t", json!({"a": 1})).await;
    let time = transaction.get(get(&id)).await.unwrap().unwrap().to_object().unwrap();
    let time = time.get("_creationTime").unwrap().as_f64().unwrap();

    transaction.replace(&id, None, json(json!({"_id": id, "_creationTime": time}))).await.unwrap();
    transaction.patch(&id, None, patch(json!({"_id": id, "a": 2}))).await.unwrap();
    let cases = [
        (json!({"_id": "other"}), "InvalidIdError"),
        (json!({"_id": {"$undefined": null}}), "InvalidIdError"),
        (json!({"_creationTime": time + 1.0}), "InvalidCreationTimeError"),
        (json!({"_other": 1}), "InvalidDocumentError"),
    ];
    for (change, expected) in cases {
        assert_eq!(code(transaction.patch(&id, None, patch(change.clone())).await), expected, "{change}");
    }
    assert_eq!(code(transaction.insert("t", json(json!({"_id": id}))).await), "InvalidDocumentError");
    assert_eq!(code(transaction.insert("t", json(json!("text"))).await), "InvalidDocumentError");
    assert_eq!(fields(&transaction.get(get(&id)).await.unwrap().unwrap()), json!({"a": 2}), "nothing stuck");
}

#[tokio::test]
async fn ids_of_other_tables_and_unknown_ids_are_told_apart() {
    let store = Store::new();
    let mut transaction = store.begin().await;
    let a = inserted(&mut transaction, "a", json!({})).await;
    let b = inserted(&mut transaction, "b", json!({})).await;
    let in_table = |id, table| GetRequest { id, table: Some(table), is_system: false };
    assert!(transaction.get(in_table(&a, "a")).await.unwrap().is_some());
    assert_eq!(code(transaction.get(in_table(&b, "a")).await), "InvalidTable");
    assert_eq!(code(transaction.get(in_table(&b, "missing")).await), "InvalidTable");
    assert_eq!(code(transaction.patch(&b, Some("a"), patch(json!({}))).await), "InvalidTable");
    assert_eq!(code(transaction.get(get("not an id")).await), "InvalidArgument");
    assert_eq!(code(transaction.delete("", None).await), "InvalidArgument");
    let unknown = value::DocumentId::new(
        TableNumber::new(20_000).unwrap(),
        a.parse::<value::DocumentId>().unwrap().internal_id,
    );
    assert!(transaction.get(get(&unknown.to_string())).await.unwrap().is_none());
    assert_eq!(code(transaction.delete(&unknown.to_string(), None).await), "NonexistentDocument");

    assert_eq!(transaction.normalize_id("a", &a).unwrap(), Some(a.clone()));
    assert_eq!(transaction.normalize_id("a", &b).unwrap(), None);
    assert_eq!(transaction.normalize_id("missing", &a).unwrap(), None);
    assert_eq!(transaction.normalize_id("a", "nonsense").unwrap(), None);
    assert_eq!(code(transaction.normalize_id("not a name", &a)), "InvalidIdentifier");
}

#[tokio::test]
async fn the_systems_tables_are_out_of_reach() {
    let store = Store::new();
    let mut transaction = store.begin().await;
    let id = inserted(&mut transaction, "t", json!({})).await;
    let internal_id = id.parse::<value::DocumentId>().unwrap().internal_id;
    let of_table =
        |number| value::DocumentId::new(TableNumber::new(number).unwrap(), internal_id).to_string();
    let (storage, tables) = (of_table(540), of_table(513));

    assert_eq!(code(transaction.get(get(&storage)).await), "SystemTableError");
    assert_eq!(
        code(transaction.get(GetRequest { id: &id, table: None, is_system: true }).await),
        "SystemTableError"
    );
    let system = GetRequest { id: &storage, table: Some("_storage"), is_system: true };
    assert!(transaction.get(system).await.unwrap().is_none());
    assert!(transaction.get(get(&tables)).await.unwrap().is_none());
    assert_eq!(transaction.normalize_id("_storage", &storage).unwrap(), Some(storage.clone()));
    assert_eq!(transaction.normalize_id("_tables", &tables).unwrap(), None);
    assert_eq!(code(transaction.delete(&storage, None).await), "SystemTableError");
    assert_eq!(code(transaction.insert("_storage", json(json!({}))).await), "SystemTableError");
    assert_eq!(code(transaction.insert("_tables", json(json!({}))).await), "SystemTableError");
    // There are tables, but to functions there are none.
    for table in ["_storage", "_scheduled_functions", "_tables", "_file_storage", "_nothing"] {
        assert_eq!(take(&mut transaction, scan(table), 10).await.unwrap(), [], "{table}");
        assert_eq!(transaction.count(table).await.unwrap(), 0, "{table}");
    }
}

#[tokio::test]
async fn a_table_appears_with_its_first_document_and_two_that_create_it_conflict() {
    let store = Store::new();
    let mut one = store.begin().await;
    let mut two = store.begin().await;
    let mut other = store.begin().await;
    assert_eq!(take(&mut one, scan("t"), 10).await.unwrap(), []);
    inserted(&mut one, "t", json!({})).await;
    assert_eq!(take(&mut one, scan("t"), 10).await.unwrap().len(), 1);
    inserted(&mut two, "t", json!({})).await;
    inserted(&mut other, "u", json!({})).await;
    let only_reads = {
        let mut reader = store.begin().await;
        assert_eq!(take(&mut reader, scan("t"), 10).await.unwrap(), []);
        reader
    };
    store.must_commit(one).await;
    assert!(matches!(store.commit(two).await, CommitOutcome::Conflict(_)), "the same name");
    assert!(matches!(store.commit(other).await, CommitOutcome::Conflict(_)), "the same number");
    assert!(
        matches!(store.commit(only_reads).await, CommitOutcome::Conflict(_)),
        "it has seen that there is no table"
    );

    let mut again = store.begin().await;
    let id = inserted(&mut again, "u", json!({})).await;
    assert_eq!(id.parse::<value::DocumentId>().unwrap().table.get(), 10_002);
    store.must_commit(again).await;
}

#[tokio::test]
async fn transactions_that_touch_different_documents_do_not_conflict() {
    let store = Store::new();
    let mut transaction = store.begin().await;
    let a = inserted(&mut transaction, "t", json!({})).await;
    let b = inserted(&mut transaction, "t", json!({})).await;
    store.must_commit(transaction).await;
    let mut one = store.begin().await;
    let mut two = store.begin().await;
    one.patch(&a, None, patch(json!({"x": 1}))).await.unwrap();
    two.patch(&b, None, patch(json!({"x": 1}))).await.unwrap();
    inserted(&mut two, "t", json!({})).await;
    store.must_commit(one).await;
    store.must_commit(two).await;
}

#[tokio::test]
async fn documents_are_counted_as_the_transaction_sees_them() {
    let store = Store::new();
    let mut transaction = store.begin().await;
    assert_eq!(transaction.count("t").await.unwrap(), 0);
    let mut ids = Vec::new();
    for _ in 0..2_500 {
        ids.push(inserted(&mut transaction, "t", json!({})).await);
    }
    store.must_commit(transaction).await;
    let mut transaction = store.begin().await;
    transaction.delete(&ids[7], None).await.unwrap();
    inserted(&mut transaction, "t", json!({})).await;
    inserted(&mut transaction, "t", json!({})).await;
    assert_eq!(transaction.count("t").await.unwrap(), 2_501);
    let finished = transaction.finish();
    let mut other = store.begin().await;
    inserted(&mut other, "t", json!({})).await;
    store.must_commit(other).await;
    assert!(matches!(store.commit_finished(finished).await, CommitOutcome::Conflict(_)));
}

#[tokio::test]
async fn a_document_holds_the_timestamp_of_its_commit_and_is_found_by_it() {
    let store = Store::new();
    let mut transaction = store.begin().await;
    let placeholder = |text: &str| {
        value::Value::from_json_with_placeholder(&text.replace("TS", r#"{"$commitTs":null}"#)).unwrap()
    };
    let id = transaction.insert("t", placeholder(r#"{"t":TS,"list":[TS,1]}"#)).await.expect("inserted");
    let id = String::from(id);
    let get = GetRequest { id: &id, table: None, is_system: false };
    let seen = transaction.get(get).await.expect("read").expect("there").json().to_owned();
    assert!(seen.contains(r#""t":{"$commitTs":null}"#), "{seen}");
    let finished = transaction.finish();
    let waits = |write: &contract::Write| contract::document::is_unstamped(write);
    assert_eq!(finished.writes.iter().filter(|write| waits(write)).count(), 1);
    let write = finished.writes.iter().find(|write| waits(write)).expect("one waits");
    let timestamp = contract::Timestamp::new(1 << 60).expect("a timestamp");
    let stamped = contract::document::stamp(write, timestamp).expect("it can be stamped");
    let (json, size) = contract::document::decode(stamped.document.as_ref().expect("a document")).unwrap();
    let integer = value::Value::Int64(1 << 60).to_json();
    assert!(json.contains(&format!(r#""list":[{integer},1],"t":{integer}"#)), "{json}");
    let object = value::Object::from_json(json).expect("a document");
    assert_eq!(size as usize, object.size_bytes());
}

#[tokio::test]
async fn oversized_documents_and_names_are_refused_and_change_nothing() {
    let store = Store::new();
    let mut transaction = store.begin().await;
    let large = "x".repeat(1 << 20);
    let deep = (0..20).fold(json!(1), |inner, _| json!([inner]));
    assert_eq!(code(transaction.insert("t", json(json!({"large": large}))).await), "ValueTooLargeError");
    assert_eq!(code(transaction.insert("t", json(json!({"deep": deep}))).await), "InvalidDocumentError");
    assert_eq!(code(transaction.insert("not-a-name", json(json!({}))).await), "InvalidIdentifier");
    assert!(transaction.catalog().table("t").is_none(), "the table was not created by what failed");
    assert_eq!(transaction.finish().writes, []);
}

#[tokio::test]
async fn what_was_read_is_read_from_the_log_once() {
    let store = Store::new();
    let mut transaction = store.begin().await;
    let mut ids = Vec::new();
    for n in 0..16 {
        ids.push(inserted(&mut transaction, "t", json!({"n": n})).await);
    }
    store.must_commit(transaction).await;

    let mut transaction = store.begin().await;
    let reads = || store.log.reads.load(std::sync::atomic::Ordering::Relaxed);
    let before = reads();
    let requests: Vec<_> = ids.iter().map(|id| get(id)).collect();
    let documents: Vec<_> = transaction
        .get_many(&requests)
        .await
        .into_iter()
        .map(|document| document.unwrap().unwrap())
        .collect();
    assert_eq!(documents.iter().map(id_of).collect::<Vec<_>>(), ids);
    assert_eq!(reads() - before, 1, "all by one read");
    for id in &ids {
        transaction.patch(id, None, patch(json!({"n": -1}))).await.unwrap();
    }
    assert_eq!(reads() - before, 1, "a patch reads what is known already");
    assert_eq!(transaction.usage().documents_read, 32, "and counts it");
}

#[tokio::test]
async fn a_transaction_can_move_between_threads() {
    fn is_send<T: Send>(future: T) -> T {
        future
    }
    let store = Store::new();
    let mut transaction = is_send(store.begin().await);
    let id = is_send(transaction.insert("t", json(json!({})))).await.unwrap().to_string();
    is_send(transaction.patch(&id, None, patch(json!({"a": 1})))).await.unwrap();
    is_send(transaction.get(get(&id))).await.unwrap();
    let query = transaction.open_query(scan("t")).unwrap();
    is_send(transaction.next_document(query)).await.unwrap();
    is_send(transaction.delete(&id, None)).await.unwrap();
}
