//! Metadata: pushes disturb exactly those whom they concern, and schemas hold.

use std::sync::Arc;

use contract::{BackfillStep, BlobDigest, CommitOutcome, Epoch, ReadAt, TransactionLog};
use serde_json::json;
use transaction::{
    CatalogCache, EnvironmentVariableRow, IndexRow, IndexState, ModuleEnvironment, ModuleRow, Query,
    SchemaRow, SchemaState, SessionRequestRow, Stored, Transaction,
};
use value::{ComponentId, DocumentId, Value};

use crate::common::{DEPLOYMENT, Store, create_index, get, index_query, json, patch, take};

async fn insert(transaction: &mut Transaction, table: &str, document: serde_json::Value) -> String {
    transaction.insert(table, json(document)).await.unwrap().to_string()
}

fn module(path: &str, imports: &[&str]) -> ModuleRow {
    ModuleRow {
        component: ComponentId::ROOT,
        path: path.to_owned(),
        environment: ModuleEnvironment::Isolate,
        source: BlobDigest([1; 32]),
        source_map: None,
        hash: [1; 32],
        analysis: None,
        imports: imports.iter().map(|path| path.to_string()).collect(),
    }
}

fn conflicts(outcome: CommitOutcome) -> bool {
    matches!(outcome, CommitOutcome::Conflict(_))
}

#[tokio::test]
async fn a_push_disturbs_only_those_whom_it_concerns() {
    let store = Store::new();
    let mut push = store.begin().await;
    let used = push.insert_row(&module("a.js", &["_deps/X.js"])).await.unwrap();
    push.insert_row(&module("_deps/X.js", &["_deps/Y.js", "a.js"])).await.unwrap();
    let shared = push.insert_row(&module("_deps/Y.js", &[])).await.unwrap();
    let unused = push.insert_row(&module("b.js", &[])).await.unwrap();
    push.insert_row(&EnvironmentVariableRow {
        component: ComponentId::ROOT,
        name: "A".into(),
        value: "1".into(),
    })
    .await
    .unwrap();
    insert(&mut push, "t", json!({})).await;
    insert(&mut push, "u", json!({})).await;
    store.must_commit(push).await;

    let reader = async || {
        let mut reader = store.begin().await;
        let paths: Vec<String> =
            reader.module_with_imports("a.js").iter().map(|module| module.row.path.clone()).collect();
        assert_eq!(paths.len(), 3, "{paths:?}");
        assert_eq!(reader.environment_variable("A").unwrap().row.value, "1");
        assert!(reader.environment_variable("B").is_none());
        take(&mut reader, Query::full_table_scan("t".parse().unwrap(), contract::Order::Ascending), 9)
            .await
            .unwrap();
        reader.finish()
    };
    let finished = reader().await;

    let mut push = store.begin().await;
    let mut changed = module("b.js", &[]);
    changed.hash = [2; 32];
    push.replace_row(unused, &changed).await.unwrap();
    push.insert_row(&module("c.js", &[])).await.unwrap();
    push.insert_row(&EnvironmentVariableRow {
        component: ComponentId::ROOT,
        name: "C".into(),
        value: "1".into(),
    })
    .await
    .unwrap();
    create_index(&mut push, "u", "by_x", &["x"]).await;
    store.must_commit(push).await;
    assert!(!conflicts(store.commit_finished(finished.clone()).await), "nothing of this was used");

    let changes = [
        Change::Module(used, "a.js"),
        Change::Module(shared, "_deps/Y.js"),
        Change::Variable("A"),
        Change::Variable("B"),
    ];
    for change in changes {
        let finished = reader().await;
        let mut push = store.begin().await;
        change.apply(&mut push).await;
        let push = push.finish();
        let touched = crate::common::model::written_keys(&push);
        assert!(touched.iter().any(|(index, key)| finished.read_set.contains(*index, key)));
    }
}

/// Something of what the reader above relies on.
enum Change {
    Module(DocumentId, &'static str),
    Variable(&'static str),
}

impl Change {
    async fn apply(&self, push: &mut Transaction) {
        match *self {
            Change::Module(id, path) => {
                let mut changed = module(path, &[]);
                changed.hash = [9; 32];
                push.replace_row(id, &changed).await.unwrap();
            }
            Change::Variable(name) => {
                let known = push.environment_variable(name);
                let row = EnvironmentVariableRow {
                    component: ComponentId::ROOT,
                    name: name.into(),
                    value: "new".into(),
                };
                match known {
                    Some(known) => push.replace_row(known.id, &row).await.unwrap(),
                    None => drop(push.insert_row(&row).await.unwrap()),
                }
            }
        }
    }
}

#[tokio::test]
async fn a_writer_that_does_not_know_a_new_index_conflicts() {
    let store = Store::new();
    let mut transaction = store.begin().await;
    let id = insert(&mut transaction, "t", json!({"x": 1})).await;
    let other = insert(&mut transaction, "other", json!({"x": 1})).await;
    store.must_commit(transaction).await;

    let mut writer = store.begin().await;
    writer.patch(&id, None, patch(json!({"x": 2}))).await.unwrap();
    let mut other_writer = store.begin().await;
    other_writer.patch(&other, None, patch(json!({"x": 2}))).await.unwrap();
    let mut reader = store.begin().await;
    reader.get(get(&id)).await.unwrap();

    let mut push = store.begin().await;
    let table = push.table(&"t".parse().unwrap()).unwrap();
    let index = push.new_index_id();
    let mut row = IndexRow {
        component: ComponentId::ROOT,
        table: table.tablet,
        id: index,
        name: "by_x".parse().unwrap(),
        fields: vec!["x".parse().unwrap()],
        kind: transaction::IndexKind::Ordered,
        state: IndexState::Backfilling,
        staged: false,
    };
    let row_id = push.insert_row(&row).await.unwrap();
    store.must_commit(push).await;
    assert!(conflicts(store.commit(writer).await), "its write would be missing in the index");
    assert!(!conflicts(store.commit(other_writer).await));
    assert!(!conflicts(store.commit(reader).await));

    // What is written now is in the index, what was there comes by the backfill.
    let mut writer = store.begin().await;
    let newer = insert(&mut writer, "t", json!({"x": 0})).await;
    store.must_commit(writer).await;
    let fields = ["x", "_creationTime", "_id"].map(str::to_owned).to_vec();
    let step = BackfillStep { deployment: DEPLOYMENT, primary: table.by_id.id, index, fields, from: None };
    store.log.backfill(step).await.unwrap();
    let mut push = store.begin().await;
    row.state = IndexState::Enabled;
    push.replace_row(row_id, &row).await.unwrap();
    let query = || index_query("t.by_x", json!([]), "asc", json!([]));
    let found = take(&mut push, query(), 9).await.unwrap();
    assert_eq!(found.iter().map(crate::common::id_of).collect::<Vec<_>>(), [newer, id]);
    store.must_commit(push).await;
    let mut reader = store.begin().await;
    assert_eq!(take(&mut reader, query(), 9).await.unwrap(), found);
}

#[tokio::test]
async fn an_index_that_is_created_after_writes_in_the_same_transaction_has_them() {
    let store = Store::new();
    let mut push = store.begin().await;
    let id = insert(&mut push, "t", json!({"x": 1})).await;
    let deleted = insert(&mut push, "t", json!({"x": 2})).await;
    push.delete(&deleted, None).await.unwrap();
    create_index(&mut push, "t", "by_x", &["x"]).await;
    let query =
        || index_query("t.by_x", json!([{"type": "Gte", "fieldPath": "x", "value": 1}]), "asc", json!([]));
    assert_eq!(
        take(&mut push, query(), 9).await.unwrap().iter().map(crate::common::id_of).collect::<Vec<_>>(),
        std::slice::from_ref(&id)
    );
    store.must_commit(push).await;
    let mut reader = store.begin().await;
    assert_eq!(
        take(&mut reader, query(), 9).await.unwrap().iter().map(crate::common::id_of).collect::<Vec<_>>(),
        [id]
    );
}

fn schema(field_type: &str, validation: bool) -> Arc<str> {
    json!({
        "tables": [
            {"tableName": "t", "indexes": [], "documentType": {"type": "object", "value": {
                "n": {"fieldType": {"type": field_type}, "optional": false},
                "owner": {"fieldType": {"type": "id", "tableName": "users"}, "optional": true},
            }}},
            {"tableName": "users", "indexes": [], "documentType": {"type": "any"}},
        ],
        "schemaValidation": validation,
    })
    .to_string()
    .into()
}

async fn push_schema(store: &Store, state: SchemaState, schema: Arc<str>) -> DocumentId {
    let mut push = store.begin().await;
    let id = push
        .insert_row(&SchemaRow { component: ComponentId::ROOT, state, schema, error: None })
        .await
        .unwrap();
    store.must_commit(push).await;
    id
}

#[tokio::test]
async fn what_violates_the_active_schema_is_refused() {
    let store = Store::new();
    push_schema(&store, SchemaState::Active, schema("number", true)).await;
    let mut transaction = store.begin().await;
    let user = insert(&mut transaction, "users", json!({"anything": [1]})).await;
    let id = insert(&mut transaction, "t", json!({"n": 1, "owner": user})).await;
    let refused = |result: Result<(), transaction::Error>| {
        let error = result.unwrap_err();
        assert_eq!(error.code(), "SchemaEnforcementError");
        assert!(error.to_string().contains("`t`") && error.to_string().contains("Validator"), "{error}");
    };
    refused(transaction.insert("t", json(json!({"n": "one"}))).await.map(drop));
    refused(transaction.insert("t", json(json!({"n": 1, "owner": id}))).await.map(drop));
    refused(transaction.patch(&id, None, patch(json!({"n": {"$undefined": null}}))).await);
    refused(transaction.replace(&id, None, json(json!({"n": 1, "extra": 1}))).await);
    assert_eq!(transaction.usage().documents_written, 2);
    insert(&mut transaction, "undeclared", json!({"n": "one"})).await;
    transaction.delete(&id, None).await.unwrap();
    store.must_commit(transaction).await;

    let unchecked = Store::new();
    push_schema(&unchecked, SchemaState::Active, schema("number", false)).await;
    let mut transaction = unchecked.begin().await;
    insert(&mut transaction, "t", json!({"n": "one"})).await;
}

#[tokio::test]
async fn what_violates_only_a_coming_schema_makes_that_schema_fail() {
    for state in [SchemaState::Pending, SchemaState::Validated] {
        let store = Store::new();
        push_schema(&store, SchemaState::Active, schema("number", true)).await;
        let id = push_schema(&store, state, schema("string", true)).await;
        let mut finish = store.begin().await;
        let coming = finish.catalog().coming_schema().unwrap().row.clone();
        finish
            .replace_row(
                id,
                &SchemaRow { component: ComponentId::ROOT, state: SchemaState::Active, ..coming },
            )
            .await
            .unwrap();

        let mut writer = store.begin().await;
        let document = insert(&mut writer, "t", json!({"n": 1})).await;
        store.must_commit(writer).await;
        assert!(conflicts(store.commit(finish).await), "the schema no longer is what it was");
        let mut reader = store.begin().await;
        let rows: Vec<Stored<SchemaRow>> = reader.rows("by_id", &[]).await.unwrap();
        let failed = rows.iter().find(|row| row.id == id).unwrap();
        assert_eq!(failed.row.state, SchemaState::Failed);
        let error = failed.row.error.as_ref().unwrap();
        assert!(error.message.contains(&document) && error.table.as_deref() == Some("t"), "{error:?}");
        assert!(reader.catalog().coming_schema().is_none());
    }
}

#[tokio::test]
async fn a_write_conflicts_with_a_schema_that_it_was_not_checked_against() {
    let store = Store::new();
    let mut transaction = store.begin().await;
    let id = insert(&mut transaction, "t", json!({"n": 1})).await;
    store.must_commit(transaction).await;
    let mut writer = store.begin().await;
    writer.patch(&id, None, patch(json!({"n": 2}))).await.unwrap();
    let mut reader = store.begin().await;
    reader.get(get(&id)).await.unwrap();
    push_schema(&store, SchemaState::Pending, schema("string", true)).await;
    assert!(conflicts(store.commit(writer).await));
    assert!(!conflicts(store.commit(reader).await));
}

#[tokio::test]
async fn a_session_request_takes_effect_once() {
    let store = Store::new();
    let row = SessionRequestRow {
        session: "6f2b6a0e-0000-4000-8000-000000000000".into(),
        request: 3,
        result: "null".into(),
        log_lines: vec!["[LOG] hi".into()],
        component: String::new(),
        function: "messages:send".into(),
    };
    let key = [Value::from(row.session.as_str()), Value::Float64(3.0)];
    let attempt = async || {
        let mut attempt = store.begin().await;
        let known: Vec<Stored<SessionRequestRow>> =
            attempt.rows("by_session_and_request", &key).await.unwrap();
        if known.is_empty() {
            attempt.insert_row(&row).await.unwrap();
        }
        (known, attempt)
    };
    let (known_one, one) = attempt().await;
    let (known_two, two) = attempt().await;
    assert!(known_one.is_empty() && known_two.is_empty());
    let version = one.deployment_catalog().version();
    store.must_commit(one).await;
    assert!(conflicts(store.commit(two).await));
    let (known, again) = attempt().await;
    assert_eq!(known[0].row, row);
    assert_eq!(again.deployment_catalog().version(), version, "a session record is no metadata");
}

#[tokio::test]
async fn a_catalog_is_loaded_once_for_all_who_ask() {
    let store = Store::new();
    let mut push = store.begin().await;
    insert(&mut push, "t", json!({})).await;
    store.must_commit(push).await;
    let reads = || store.log.reads.load(std::sync::atomic::Ordering::Relaxed);
    let catalogs = CatalogCache::new(1 << 20);
    let get = |epoch| {
        let at = ReadAt { timestamp: store.published(), epoch };
        catalogs.get(&*store.log, DEPLOYMENT, at)
    };

    let before = reads();
    let (one, two) = tokio::join!(get(None), get(None));
    assert!(Arc::ptr_eq(&one.unwrap(), &two.unwrap()));
    let loaded = reads() - before;
    let again = get(None).await.unwrap();
    assert_eq!(reads() - before - loaded, 1, "only the version is asked for");

    // What is known to be published serves speculative readers too; what was read speculatively stays in its epoch.
    let epoch = |term| Some(Epoch { term, reset: 0 });
    assert!(Arc::ptr_eq(&get(epoch(1)).await.unwrap(), &again));
    let mut push = store.begin().await;
    insert(&mut push, "u", json!({})).await;
    store.must_commit(push).await;
    let speculative = get(epoch(1)).await.unwrap();
    assert!(Arc::ptr_eq(&get(epoch(1)).await.unwrap(), &speculative));
    assert!(!Arc::ptr_eq(&get(epoch(2)).await.unwrap(), &speculative));
    assert!(!Arc::ptr_eq(&get(None).await.unwrap(), &speculative));
}

#[tokio::test]
async fn many_small_catalogs_are_kept_and_the_oldest_go_by_size() {
    let store = Store::new();
    let mut push = store.begin().await;
    insert(&mut push, "t", json!({})).await;
    store.must_commit(push).await;
    let reads = || store.log.reads.load(std::sync::atomic::Ordering::Relaxed);
    let loads = async |catalogs: &CatalogCache, deployments: std::ops::Range<u32>| {
        let mut loads = 0;
        for number in deployments {
            let deployment =
                contract::DeploymentRef { deployment: contract::DeploymentId(number), ..DEPLOYMENT };
            let before = reads();
            catalogs.get(&*store.log, deployment, ReadAt::published(store.published())).await.unwrap();
            // One read asks for the version.
            loads += usize::from(reads() - before > 1);
        }
        loads
    };
    let large = CatalogCache::new(1 << 20);
    assert_eq!(loads(&large, 0..200).await, 200);
    assert_eq!(loads(&large, 0..200).await, 0, "each is loaded once");
    // Some three catalogs fit, and one that doesn't is kept alone.
    let small = CatalogCache::new(10_000);
    assert_eq!(loads(&small, 0..20).await, 20);
    assert_eq!(loads(&small, 18..20).await, 0, "the newest are there");
    assert_eq!(loads(&small, 0..1).await, 1, "the oldest are not");
    let none = CatalogCache::new(1);
    assert_eq!((loads(&none, 0..1).await, loads(&none, 0..1).await), (1, 0));
}
