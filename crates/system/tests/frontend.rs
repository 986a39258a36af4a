//! What consoles are shown and what they change: each function's answer, and that it holds exactly until what it shows changes.

#[path = "../../transaction/tests/common/mod.rs"]
mod common;

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use common::{Store, json, model::written_keys};
use contract::FunctionKind;
use serde_json::{Value as Json, json};
use system::Environment;
use transaction::{
    ComponentRow, FileRow, Finished, NewJob, NodeConfig, Result, SchemaRow, SchemaState, Transaction,
    UdfConfigRow, component_id,
};
use value::{ComponentId, ComponentPath};

/// Calls a function, as far as a commit.
async fn call_in(transaction: &mut Transaction, path: &str, arguments: Json) -> Result<Json> {
    let variables = [("CONVEX_CLOUD_URL".to_owned(), "http://127.0.0.1:3210".to_owned())];
    let environment = Environment { variables: variables.into() };
    let path = format!("_system/frontend/{path}");
    let result = system::call(&path, &json(arguments), transaction, &environment).await?;
    Ok(serde_json::from_str(&result).expect("JSON"))
}

async fn ask(store: &Store, path: &str, arguments: Json) -> Result<(Json, Finished)> {
    let mut transaction = store.begin().await;
    let result = call_in(&mut transaction, path, arguments).await?;
    Ok((result, transaction.finish()))
}

async fn change(store: &Store, path: &str, arguments: Json) -> Result<Json> {
    let mut transaction = store.begin().await;
    let result = call_in(&mut transaction, path, arguments).await?;
    store.must_commit(transaction).await;
    Ok(result)
}

/// Whether a write makes an earlier answer invalid.
async fn touches(store: &Store, answered: &Finished, write: impl AsyncFnOnce(&mut Transaction)) -> bool {
    let mut transaction = store.begin().await;
    write(&mut transaction).await;
    let keys = written_keys(&transaction.finish());
    assert!(!keys.is_empty());
    keys.iter().any(|(index, key)| answered.read_set.contains(*index, key))
}

async fn insert(transaction: &mut Transaction, table: &str, document: Json) -> String {
    transaction.insert(table, json(document)).await.unwrap().to_string()
}

fn page_of(table: &str, filters: Option<Json>) -> Json {
    let filters = filters.map(|filters| BASE64.encode(filters.to_string()));
    json!({"table": table, "filters": filters, "paginationOpts": {"cursor": null, "numItems": 10}})
}

fn numbers(page: &Json) -> Vec<i64> {
    let documents = page["page"].as_array().expect("a page");
    documents.iter().map(|document| document["n"].as_f64().expect("a number") as i64).collect()
}

/// A table of five documents, `n` from 0 on; the even ones are `even`.
async fn with_documents() -> (Store, Vec<String>) {
    let store = Store::new();
    let mut transaction = store.begin().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let document = if n % 2 == 0 { json!({"n": n, "even": true}) } else { json!({ "n": n }) };
        ids.push(insert(&mut transaction, "counts", document).await);
    }
    store.must_commit(transaction).await;
    (store, ids)
}

#[tokio::test]
async fn documents_come_newest_first_and_as_the_filters_choose_them() {
    let (store, _) = with_documents().await;
    let all = ask(&store, "paginatedTableDocuments", page_of("counts", None)).await.unwrap();
    assert_eq!((numbers(&all.0), &all.0["isDone"]), (vec![4, 3, 2, 1, 0], &json!(true)));
    assert!(touches(&store, &all.1, async |tx| drop(insert(tx, "counts", json!({"n": 9})).await)).await);

    let clauses = json!([{"field": "even", "op": "exists"}, {"field": "n", "op": "lt", "value": 4}]);
    let filters = Some(json!({"clauses": clauses, "order": "asc"}));
    let (some, _) = ask(&store, "paginatedTableDocuments", page_of("counts", filters)).await.unwrap();
    assert_eq!(numbers(&some), [0, 2]);

    for (filters, code) in [
        (json!({"clauses": [{"field": "n", "op": "eq"}]}), "ArgumentValidationError"),
        (json!({"index": "by_nothing"}), "IndexNotFoundError"),
        (json!({"clauses": [{"field": "", "op": "eq", "value": 1}]}), "InvalidFieldPath"),
    ] {
        let refused = ask(&store, "paginatedTableDocuments", page_of("counts", Some(filters))).await;
        assert_eq!(refused.unwrap_err().code(), code);
    }
    let hidden = ask(&store, "paginatedTableDocuments", page_of("_tables", None)).await.unwrap_err();
    assert_eq!(hidden.code(), "SystemTableError");
}

#[tokio::test]
async fn a_count_ends_where_it_was_asked_to() {
    let (store, ids) = with_documents().await;
    let count = |most: f64| ask(&store, "tableSize:upTo", json!({"tableName": "counts", "most": most}));
    let (all, whole) = count(5.0).await.unwrap();
    assert_eq!(all, json!({"count": 5, "isExact": true}));
    let (part, _) = count(2.0).await.unwrap();
    assert_eq!(part, json!({"count": 2, "isExact": false}));
    assert_eq!(count(0.0).await.unwrap_err().code(), "ArgumentValidationError");
    assert!(touches(&store, &whole, async |tx| tx.delete(&ids[1], None).await.unwrap()).await);
    assert!(touches(&store, &whole, async |tx| drop(insert(tx, "counts", json!({})).await)).await);
    let missing = json!({"tableName": "missing", "most": 5});
    assert_eq!(ask(&store, "tableSize:upTo", missing).await.unwrap().0["count"], json!(0));
}

#[tokio::test]
async fn documents_are_added_changed_and_deleted_all_or_none() {
    let (store, ids) = with_documents().await;
    let added = json!({"table": "counts", "documents": [{"n": 5}, {"n": 6}]});
    let added = change(&store, "addDocument", added).await.unwrap();
    let id = added["ids"][1].as_str().expect("an id").to_owned();
    let get = |id: &str| ask(&store, "getById", json!({ "id": id }));
    assert_eq!(get(&id).await.unwrap().0["n"], json!(6));

    change(&store, "replaceDocument", json!({"id": id, "document": {"m": 1}})).await.unwrap();
    let (replaced, _) = get(&id).await.unwrap();
    assert_eq!((&replaced["m"], replaced.get("n")), (&json!(1), None));

    let fields = json!({"table": "counts", "ids": [ids[0], ids[1]], "fields": {"n": 7}, "removed": ["even"]});
    change(&store, "patchDocumentsFields", fields).await.unwrap();
    let (patched, _) = get(&ids[0]).await.unwrap();
    assert_eq!((&patched["n"], patched.get("even")), (&json!(7), None));

    let named = |id: &str| json!({"id": id, "tableName": "counts"});
    change(&store, "deleteDocuments", json!({"toDelete": [named(&id), named(&ids[0])]})).await.unwrap();
    assert_eq!(get(&id).await.unwrap().0, json!(null));
    let again = json!({"toDelete": [named(&ids[1]), named(&id)]});
    assert_eq!(change(&store, "deleteDocuments", again).await.unwrap_err().code(), "NonexistentDocument");
    assert_ne!(get(&ids[1]).await.unwrap().0, json!(null));
    let of_another = json!({"toDelete": [{"id": ids[1], "tableName": "others"}]});
    assert_eq!(change(&store, "deleteDocuments", of_another).await.unwrap_err().code(), "InvalidTable");

    let cleared = change(&store, "clearTablePage", json!({"tableName": "counts"})).await.unwrap();
    assert_eq!(cleared, json!({"deleted": 5, "hasMore": false}));
    change(&store, "createTable", json!({"table": "empty"})).await.unwrap();
    change(&store, "createTable", json!({"table": "empty"})).await.unwrap();
    assert!(change(&store, "createTable", json!({"table": "_own"})).await.is_err());
}

#[tokio::test]
async fn schemas_hold_for_consoles_too() {
    let store = Store::new();
    let schema = json!({"tables": [{
        "tableName": "boats", "indexes": [], "searchIndexes": [], "vectorIndexes": [],
        "documentType": {"type": "object", "value": {"name": {"fieldType": {"type": "string"}, "optional": false}}},
    }], "schemaValidation": true});
    let mut push = store.begin().await;
    let row = SchemaRow {
        component: ComponentId::ROOT,
        state: SchemaState::Active,
        schema: schema.to_string().into(),
        error: None,
    };
    push.insert_row(&row).await.unwrap();
    push.create_table("boats".parse().unwrap()).await.unwrap();
    store.must_commit(push).await;
    let (shown, _) = ask(&store, "getSchemas", json!({})).await.unwrap();
    let active: Json = serde_json::from_str(shown["active"].as_str().expect("text")).expect("JSON");
    assert_eq!(active["tables"][0]["tableName"], "boats");
    let nameless = json!({"table": "boats", "documents": [{"name": "Aurora"}, {"length": 9}]});
    assert!(change(&store, "addDocument", nameless).await.is_err());
    assert_eq!(ask(&store, "indexes", json!({"tableName": "boats"})).await.unwrap().0, json!([]));
    assert_eq!(ask(&store, "getVersion", json!({})).await.unwrap().0, json!(null));
}

#[tokio::test]
async fn what_is_scheduled_is_shown_in_the_order_in_which_it_runs() {
    let store = Store::new();
    let upcoming = |limit: u32| ask(&store, "scheduler:upcomingJobs", json!({ "limit": limit }));
    assert_eq!(upcoming(5).await.unwrap().0, json!({"jobs": [], "hasMore": false}));
    let mut transaction = store.begin().await;
    let now_ms = transaction.now_ms() as f64;
    let job = |delay_ms: f64| NewJob {
        component: ComponentId::ROOT,
        function: "jobs:run".parse().unwrap(),
        arguments: value::object! { "delay" => delay_ms },
        time_ms: now_ms + delay_ms,
        now_ms,
        parent: None,
    };
    let mut ids = Vec::new();
    for delay_ms in [9_000.0, 1_000.0, 5_000.0] {
        ids.push(transaction.schedule(job(delay_ms)).await.unwrap().to_string());
    }
    store.must_commit(transaction).await;
    let (shown, _) = upcoming(5).await.unwrap();
    let order: Vec<&Json> = shown["jobs"].as_array().unwrap().iter().map(|job| &job["_id"]).collect();
    assert_eq!(order, [&json!(ids[1]), &json!(ids[2]), &json!(ids[0])]);
    assert_eq!(
        (&shown["hasMore"], shown["jobs"][0]["nextTs"].as_f64()),
        (&json!(false), Some(now_ms + 1_000.0))
    );
    let (part, answered) = upcoming(2).await.unwrap();
    assert_eq!((part["jobs"].as_array().map(Vec::len), &part["hasMore"]), (Some(2), &json!(true)));
    assert!(touches(&store, &answered, async |tx| _ = tx.cancel(&ids[1], now_ms).await.unwrap()).await);
    assert!(touches(&store, &answered, async |tx| _ = tx.schedule(job(2_000.0)).await.unwrap()).await);
    assert!(!touches(&store, &answered, async |tx| _ = tx.schedule(job(90_000.0)).await.unwrap()).await);
    assert_eq!(upcoming(0).await.unwrap_err().code(), "ArgumentValidationError");
}

#[tokio::test]
async fn files_are_shown_with_their_addresses_and_deleted_all_or_none() {
    let store = Store::new();
    let mut transaction = store.begin().await;
    let mut ids = Vec::new();
    for size_bytes in [1, 2] {
        let object = transaction.note_object(ComponentId::ROOT).await.unwrap();
        let content_type = Some("text/plain".to_owned());
        let file = FileRow { component: ComponentId::ROOT, sha256: [7; 32], size_bytes, content_type };
        ids.push(transaction.keep_file(object, &file).await.unwrap().to_string());
    }
    store.must_commit(transaction).await;
    let files = || ask(&store, "fileStorageV2:fileMetadata", page_of("", None));
    let (shown, answered) = files().await.unwrap();
    let page = shown["page"].as_array().expect("a page");
    assert_eq!(page.iter().map(|file| &file["_id"]).collect::<Vec<_>>(), [&json!(ids[1]), &json!(ids[0])]);
    assert_eq!((&page[0]["size"], &page[0]["contentType"]), (&json!(2), &json!("text/plain")));
    assert!(page[0]["url"].as_str().expect("a URL").starts_with("http://127.0.0.1:3210/api/storage/"));
    assert!(touches(&store, &answered, async |tx| tx.delete_file(&ids[0]).await.unwrap()).await);

    change(&store, "fileStorageV2:deleteFiles", json!({"storageIds": [ids[0]]})).await.unwrap();
    let both = json!({"storageIds": [ids[1], ids[0]]});
    assert_eq!(
        change(&store, "fileStorageV2:deleteFiles", both).await.unwrap_err().code(),
        "StorageIdNotFound"
    );
    assert_eq!(files().await.unwrap().0["page"].as_array().map(Vec::len), Some(1));
    let url = change(&store, "fileStorageV2:generateUploadUrl", json!({})).await;
    assert!(url.unwrap().as_str().unwrap().starts_with("http://127.0.0.1:3210/api/storage/upload?token="));
}

#[tokio::test]
async fn a_component_is_named_by_its_id_and_must_be_there() {
    let (store, _) = with_documents().await;
    let of = |id: Json| json!({"tableName": "counts", "most": 9, "componentId": id});
    for root in [json!(null), json!("")] {
        assert_eq!(ask(&store, "tableSize:upTo", of(root)).await.unwrap().0["count"], json!(5));
    }
    for wrong in [json!("nothing"), json!(value::InternalId::from_bytes([9; 16]).to_string())] {
        let error = ask(&store, "tableSize:upTo", of(wrong)).await.unwrap_err();
        assert_eq!(error.code(), "ArgumentValidationError");
    }
    // One without tables is there, too, and an answer that there is none holds until there is one.
    let plain = instance("plain", false, None);
    let of_plain = of(json!(component_id(&plain.path).to_string()));
    let mut asking = store.begin().await;
    assert!(call_in(&mut asking, "tableSize:upTo", of_plain.clone()).await.is_err());
    let missing = asking.finish();
    assert!(touches(&store, &missing, async |tx| _ = tx.insert_instance(&plain).await.unwrap()).await);
    let mut push = store.begin().await;
    push.insert_instance(&plain).await.unwrap();
    store.must_commit(push).await;
    assert_eq!(ask(&store, "tableSize:upTo", of_plain).await.unwrap().0["count"], json!(0));
}

fn instance(path: &str, is_mounted: bool, http_prefix: Option<&str>) -> ComponentRow {
    let path: ComponentPath = path.parse().expect("a legal path");
    let http_prefix = http_prefix.map(str::to_owned);
    ComponentRow { path, definition: "d".into(), is_mounted, variables: Vec::new(), http_prefix }
}

#[tokio::test]
async fn routes_answer_below_the_prefixes_of_all_that_mount_them() {
    let store = Store::new();
    let prefix = |id: Json| ask(&store, "httpPrefix", json!({ "componentId": id }));
    let instances = [
        (instance("pier", true, Some("/pier/")), json!("/pier/")),
        (instance("pier/lamp", true, Some("/lamp/")), json!("/pier/lamp/")),
        (instance("hidden", true, None), json!(null)),
        (instance("hidden/lamp", true, Some("/lamp/")), json!(null)),
        (instance("gone", false, Some("/gone/")), json!(null)),
    ];
    let mut push = store.begin().await;
    for (row, _) in &instances {
        push.insert_instance(row).await.unwrap();
    }
    store.must_commit(push).await;
    for (row, expected) in &instances {
        let (answer, _) = prefix(json!(component_id(&row.path).to_string())).await.unwrap();
        assert_eq!(&answer, expected, "{}", row.path);
    }

    let (whole, answered) = prefix(json!(null)).await.unwrap();
    assert_eq!(whole, json!("/"));
    let config = UdfConfigRow {
        component: ComponentId::ROOT,
        server_version: "1.48.0".into(),
        import_seed: 1,
        import_time_ms: 1,
        functions_directory: "convex/".into(),
        code_hash: String::new(),
        node: NodeConfig::default(),
        http_prefix: Some("/api/".into()),
    };
    assert!(touches(&store, &answered, async |tx| _ = tx.insert_row(&config).await.unwrap()).await);
    let mut push = store.begin().await;
    push.insert_row(&config).await.unwrap();
    store.must_commit(push).await;
    assert_eq!(prefix(json!(null)).await.unwrap().0, json!("/api/"));
}

#[test]
fn those_that_change_something_are_mutations() {
    assert_eq!(system::kind("_system/frontend/addDocument"), Some(FunctionKind::Mutation));
    assert_eq!(system::kind("_system/frontend/paginatedTableDocuments:default"), Some(FunctionKind::Query));
    assert_eq!(system::kind("_system/cli/tables"), Some(FunctionKind::Query));
    assert_eq!(system::kind("_system/frontend/nothing"), None);
}
