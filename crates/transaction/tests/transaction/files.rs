//! The life of a file, in the rows that tell it.

use contract::CommitOutcome;
use serde_json::json;
use transaction::{
    CursorKey, File, FileObjectRow, FileRow, FileState, GetRequest, Query, Stored, Transaction, UploadGrant,
};
use value::{ComponentId, DocumentId, InternalId};

use crate::common::{DEPLOYMENT, Store, json, take};

fn row(component: ComponentId) -> FileRow {
    FileRow { component, sha256: [7; 32], size_bytes: 1 << 33, content_type: Some("image/png".into()) }
}

async fn arriving(store: &Store) -> DocumentId {
    let mut transaction = store.begin().await;
    let object = transaction.note_object(ComponentId::ROOT).await.unwrap();
    store.must_commit(transaction).await;
    object
}

async fn kept(store: &Store) -> (DocumentId, DocumentId) {
    let object = arriving(store).await;
    let mut transaction = store.begin().await;
    let file = transaction.keep_file(object, &row(ComponentId::ROOT)).await.unwrap();
    store.must_commit(transaction).await;
    (file, object)
}

async fn states(store: &Store) -> Vec<FileState> {
    let mut transaction = store.begin().await;
    let rows: Vec<Stored<FileObjectRow>> = transaction.rows("by_state_and_since", &[]).await.unwrap();
    rows.into_iter().map(|stored| stored.row.state).collect()
}

fn code<T: std::fmt::Debug>(result: transaction::Result<T>) -> String {
    result.unwrap_err().code().to_owned()
}

#[tokio::test]
async fn a_file_is_found_by_its_id_and_by_its_uuid_and_its_document_is_what_applications_know() {
    let store = Store::new();
    let (id, object) = kept(&store).await;
    let mut transaction = store.begin().await;
    let found = transaction.file(&id.to_string()).await.unwrap().unwrap();
    let File { file, object: of, uuid } = found.clone();
    assert_eq!((file.id, file.row, of), (id, row(ComponentId::ROOT), object));
    assert_eq!(transaction.file(&uuid).await.unwrap(), Some(found.clone()));
    assert_eq!(transaction.file_by_uuid(ComponentId::ROOT, &uuid).await.unwrap(), Some(found));
    assert_eq!(uuid.len(), 36);

    let request = GetRequest { id: &id.to_string(), table: Some("_storage"), is_system: true };
    let document = transaction.get(request).await.unwrap().unwrap();
    let mut fields: serde_json::Value = serde_json::from_str(document.json()).unwrap();
    assert!(fields["_creationTime"].as_f64().unwrap() > 0.0);
    fields["_creationTime"] = json!(0);
    let sha256 = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
    let expected = json!({"_id": id.to_string(), "_creationTime": 0, "sha256": sha256, "size": 8589934592_u64, "contentType": "image/png"});
    assert_eq!(fields, expected);
    let all = Query::full_table_scan("_storage".parse().unwrap(), contract::Order::Ascending);
    assert_eq!(take(&mut transaction, all, 10).await.unwrap().len(), 1);
    assert_eq!(transaction.usage().documents_read, 0, "files are not counted as documents");
}

#[tokio::test]
async fn what_arrives_is_no_file_and_is_kept_once() {
    let store = Store::new();
    let object = arriving(&store).await;
    assert_eq!(states(&store).await, [FileState::Arriving]);
    let (mut first, mut second) = (store.begin().await, store.begin().await);
    first.keep_file(object, &row(ComponentId::ROOT)).await.unwrap();
    second.keep_file(object, &row(ComponentId::ROOT)).await.unwrap();
    store.must_commit(first).await;
    assert!(matches!(store.commit(second).await, CommitOutcome::Conflict(_)));
    let again = store.begin().await.keep_file(object, &row(ComponentId::ROOT)).await;
    assert_eq!(code(again), "UploadTooSlow");
}

#[tokio::test]
async fn a_deleted_file_leaves_its_object_to_be_removed_and_nothing_else() {
    let store = Store::new();
    let (id, object) = kept(&store).await;
    let mut transaction = store.begin().await;
    let uuid = transaction.file(&id.to_string()).await.unwrap().unwrap().uuid;
    transaction.delete_file(&id.to_string()).await.unwrap();
    assert_eq!(transaction.file(&id.to_string()).await.unwrap(), None, "it is gone for whoever deletes it");
    assert_eq!(code(transaction.delete_file(&id.to_string()).await), "StorageIdNotFound");
    store.must_commit(transaction).await;

    let mut transaction = store.begin().await;
    assert_eq!(transaction.file(&uuid).await.unwrap(), None);
    let request = GetRequest { id: &id.to_string(), table: None, is_system: true };
    assert_eq!(transaction.get(request).await.unwrap(), None);
    assert_eq!(transaction.discarded(0, 10).await.unwrap().len(), 1);
    assert_eq!(transaction.discarded(60_000, 10).await.unwrap().len(), 0, "not before its grace time");
    transaction.forget_object(object).await.unwrap();
    transaction.forget_object(object).await.unwrap();
    store.must_commit(transaction).await;
    assert_eq!(states(&store).await, []);
}

#[tokio::test]
async fn who_deletes_and_who_keeps_back_what_is_late_never_both_succeed() {
    let store = Store::new();
    let object = arriving(&store).await;
    // The clock moves on with each transaction.
    let (mut sweep, mut upload) = (store.begin().await, store.begin().await);
    assert_eq!(sweep.discard_late(60_000, 10).await.unwrap(), 0, "it has time");
    assert_eq!(sweep.discard_late(0, 10).await.unwrap(), 1);
    upload.keep_file(object, &row(ComponentId::ROOT)).await.unwrap();
    store.must_commit(sweep).await;
    assert!(matches!(store.commit(upload).await, CommitOutcome::Conflict(_)));
    let mut transaction = store.begin().await;
    assert_eq!(code(transaction.keep_file(object, &row(ComponentId::ROOT)).await), "UploadTooSlow");
    assert_eq!(transaction.discarded(0, 10).await.unwrap().len(), 1, "it was late already");
}

#[tokio::test]
async fn an_object_that_holds_a_file_is_not_forgotten() {
    let store = Store::new();
    let (id, object) = kept(&store).await;
    let mut transaction = store.begin().await;
    transaction.forget_object(object).await.unwrap();
    assert_eq!(transaction.discard_late(0, 10).await.unwrap(), 0);
    store.must_commit(transaction).await;
    assert!(store.begin().await.file(&id.to_string()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_sweep_takes_the_oldest_first_and_no_more_than_it_was_told() {
    let store = Store::new();
    let mut objects = Vec::new();
    for _ in 0..5 {
        objects.push(arriving(&store).await);
    }
    let mut transaction = store.begin().await;
    assert_eq!(transaction.discard_late(0, 3).await.unwrap(), 3);
    store.must_commit(transaction).await;
    let discarded = store.begin().await.discarded(0, 10).await.unwrap();
    assert_eq!(discarded.iter().map(|object| object.id).collect::<Vec<_>>(), objects[..3]);
    // Uploads that begin meanwhile are in nobody's way.
    let mut sweep = store.begin().await;
    assert_eq!(sweep.discard_late(0, 3).await.unwrap(), 2);
    arriving(&store).await;
    store.must_commit(sweep).await;
}

#[tokio::test]
async fn the_file_of_a_component_is_not_anothers() {
    let store = Store::new();
    let component = ComponentId::from(InternalId::from_bytes([4; 16]));
    let mut transaction = store.begin().await;
    let object = transaction.note_object(component).await.unwrap();
    let id = transaction.keep_file(object, &row(component)).await.unwrap();
    assert_eq!(transaction.file(&id.to_string()).await.unwrap(), None);
    assert_eq!(code(transaction.delete_file(&id.to_string()).await), "StorageIdNotFound");
    transaction.enter(component);
    let found = transaction.file(&id.to_string()).await.unwrap().unwrap();
    assert_eq!(transaction.file_by_uuid(ComponentId::ROOT, &found.uuid).await.unwrap(), None);
}

#[tokio::test]
async fn ids_of_other_tables_and_what_is_no_id_are_refused() {
    let store = Store::new();
    let mut transaction = store.begin().await;
    let id = transaction.insert("messages", json(json!({}))).await.unwrap().to_string();
    assert_eq!(code(transaction.file(&id).await), "InvalidTable");
    assert_eq!(code(transaction.file("../../secret").await), "InvalidArgument");
    let never = DocumentId::new(value::TableNumber::FILE_STORAGE, InternalId::from_bytes([9; 16]));
    assert_eq!(transaction.file(&never.to_string()).await.unwrap(), None);
}

#[tokio::test]
async fn a_token_holds_for_its_time_and_no_longer() {
    let store = Store::new();
    let component = ComponentId::from(InternalId::from_bytes([4; 16]));
    let key = CursorKey::new(&[3; 32]);
    let transaction: Transaction = store.begin().await;
    let now_ms = 1_700_000_000_000;
    let token = |issued_ms| key.upload_token(DEPLOYMENT, UploadGrant { component, issued_ms });
    assert_eq!(transaction.granted_component(&token(now_ms - 1_000), 60_000).unwrap(), component);
    // Another node's clock may be ahead.
    assert_eq!(transaction.granted_component(&token(now_ms + 60_000), 60_000).unwrap(), component);
    let expired = transaction.granted_component(&token(now_ms - 61_000), 60_000);
    assert_eq!(code(expired), "StorageTokenExpired");
    assert_eq!(code(transaction.granted_component("", 60_000)), "StorageTokenInvalid");
    assert_eq!(
        transaction.granted_component(&transaction.upload_token(now_ms), 1).unwrap(),
        ComponentId::ROOT
    );
}
