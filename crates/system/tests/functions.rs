//! Each function's answer, and that the answer holds exactly until what it shows changes.

#[path = "../../transaction/tests/common/mod.rs"]
mod common;

use common::{Store, json, model::written_keys, patch};
use contract::BlobDigest;
use serde_json::json;
use system::Environment;
use transaction::{
    CronJobRow, DueRow, EnvironmentVariableRow, Finished, ModuleEnvironment, ModuleRow, Result, RunEnd,
    Transaction,
};
use value::ComponentId;

/// Calls a function in a transaction of its own.
async fn call(
    store: &Store,
    path: &str,
    arguments: serde_json::Value,
) -> Result<(serde_json::Value, Finished)> {
    let variables =
        [("CONVEX_CLOUD_URL", "http://127.0.0.1:3210"), ("CONVEX_SITE_URL", "http://127.0.0.1:3211")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let environment = Environment { variables: variables.into() };
    let mut transaction = store.begin().await;
    let result = system::call(path, &json(arguments), &mut transaction, &environment).await?;
    Ok((serde_json::from_str(&result).expect("JSON"), transaction.finish()))
}

async fn answer(store: &Store, path: &str, arguments: serde_json::Value) -> serde_json::Value {
    call(store, path, arguments).await.expect("an answer").0
}

/// Whether a write makes an earlier answer invalid.
async fn touches(store: &Store, answered: &Finished, write: impl AsyncFnOnce(&mut Transaction)) -> bool {
    let mut transaction = store.begin().await;
    write(&mut transaction).await;
    let keys = written_keys(&transaction.finish());
    assert!(!keys.is_empty());
    keys.iter().any(|(index, key)| answered.read_set.contains(*index, key))
}

async fn insert(transaction: &mut Transaction, table: &str, document: serde_json::Value) -> String {
    transaction.insert(table, json(document)).await.unwrap().to_string()
}

async fn set_variable(transaction: &mut Transaction, name: &str, value: &str) {
    transaction
        .insert_row(&EnvironmentVariableRow {
            component: ComponentId::ROOT,
            name: name.into(),
            value: value.into(),
        })
        .await
        .unwrap();
}

/// A deployment with three tables, of which `messages` has five documents.
async fn with_tables() -> (Store, Vec<String>) {
    let store = Store::new();
    let mut transaction = store.begin().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(insert(&mut transaction, "messages", json!({"n": n})).await);
    }
    insert(&mut transaction, "users", json!({})).await;
    insert(&mut transaction, "channels", json!({})).await;
    store.must_commit(transaction).await;
    (store, ids)
}

#[tokio::test]
async fn tables_are_listed_by_name_in_pages() {
    let (store, _) = with_tables().await;
    let page = |cursor: serde_json::Value, items: u32| json!({"paginationOpts": {"cursor": cursor, "numItems": items}});
    let all = answer(&store, "_system/cli/tables:default", page(json!(null), 10_000)).await;
    assert_eq!(all["page"], json!([{"name": "channels"}, {"name": "messages"}, {"name": "users"}]));
    assert_eq!(all["isDone"], json!(true));

    let first = answer(&store, "_system/cli/tables", page(json!(null), 2)).await;
    assert_eq!(
        (&first["page"], &first["isDone"]),
        (&json!([{"name": "channels"}, {"name": "messages"}]), &json!(false))
    );
    let rest = answer(&store, "_system/cli/tables", page(first["continueCursor"].clone(), 2)).await;
    assert_eq!((&rest["page"], &rest["isDone"]), (&json!([{"name": "users"}]), &json!(true)));
    let end = answer(&store, "_system/cli/tables", page(rest["continueCursor"].clone(), 2)).await;
    assert_eq!((&end["page"], &end["isDone"]), (&json!([]), &json!(true)));

    let (_, answered) = call(&store, "_system/cli/tables", page(json!(null), 10)).await.unwrap();
    assert!(touches(&store, &answered, async |tx| drop(insert(tx, "new", json!({})).await)).await);
    assert!(!touches(&store, &answered, async |tx| drop(insert(tx, "users", json!({})).await)).await);
}

#[tokio::test]
async fn a_tables_documents_come_in_pages_in_either_order() {
    let (store, ids) = with_tables().await;
    let arguments = |order: &str, cursor: serde_json::Value| json!([{"table": "messages", "order": order, "paginationOpts": {"cursor": cursor, "numItems": 3}}]);
    let (first, answered) =
        call(&store, "_system/cli/tableData", arguments("desc", json!(null))).await.unwrap();
    let numbers = |page: &serde_json::Value| {
        let documents = page["page"].as_array().unwrap();
        documents.iter().map(|document| document["n"].as_f64().unwrap() as i64).collect::<Vec<_>>()
    };
    assert_eq!((numbers(&first), &first["isDone"]), (vec![4, 3, 2], &json!(false)));
    let cursor = first["continueCursor"].clone();
    let rest = answer(&store, "_system/cli/tableData:default", arguments("desc", cursor.clone())).await;
    assert_eq!((numbers(&rest), &rest["isDone"]), (vec![1, 0], &json!(true)));
    assert_eq!(
        numbers(&answer(&store, "_system/cli/tableData", arguments("asc", json!(null))).await),
        [0, 1, 2]
    );
    let error = call(&store, "_system/cli/tableData", arguments("asc", cursor)).await.unwrap_err();
    assert_eq!(error.code(), "InvalidCursor");

    let change =
        async |tx: &mut Transaction, id: &str| tx.patch(id, None, patch(json!({"n": 9}))).await.unwrap();
    assert!(touches(&store, &answered, async |tx| change(tx, &ids[3]).await).await);
    assert!(!touches(&store, &answered, async |tx| change(tx, &ids[0]).await).await);
    assert!(touches(&store, &answered, async |tx| drop(insert(tx, "messages", json!({})).await)).await);

    let missing =
        json!({"table": "missing", "order": "asc", "paginationOpts": {"cursor": null, "numItems": 3}});
    let (page, answered) = call(&store, "_system/cli/tableData", missing).await.unwrap();
    assert_eq!((&page["page"], &page["isDone"]), (&json!([]), &json!(true)));
    assert!(touches(&store, &answered, async |tx| drop(insert(tx, "missing", json!({})).await)).await);
}

#[tokio::test]
async fn a_tables_size_and_its_changes_can_be_watched() {
    let (store, ids) = with_tables().await;
    let size = |table: &str| call(&store, "_system/cli/tableSize:default", json!({"tableName": table}));
    assert_eq!(size("messages").await.unwrap().0, json!(5));
    assert_eq!(size("missing").await.unwrap().0, json!(0));
    let watch = |table: &str| call(&store, "_system/cli/queryTable:default", json!({"tableName": table}));
    for answered in [size("messages").await.unwrap().1, watch("messages").await.unwrap().1] {
        assert!(touches(&store, &answered, async |tx| tx.delete(&ids[2], None).await.unwrap()).await);
        assert!(touches(&store, &answered, async |tx| drop(insert(tx, "messages", json!({})).await)).await);
        assert!(!touches(&store, &answered, async |tx| drop(insert(tx, "users", json!({})).await)).await);
    }
    let before = watch("messages").await.unwrap().0;
    let mut transaction = store.begin().await;
    insert(&mut transaction, "messages", json!({})).await;
    store.must_commit(transaction).await;
    assert_ne!(
        watch("messages").await.unwrap().0,
        before,
        "an equal result would not be sent to the watcher"
    );
    for answered in [size("missing").await.unwrap().1, watch("missing").await.unwrap().1] {
        assert!(touches(&store, &answered, async |tx| drop(insert(tx, "missing", json!({})).await)).await);
    }
}

#[tokio::test]
async fn environment_variables_are_listed_and_found_by_name() {
    let store = Store::new();
    let mut transaction = store.begin().await;
    set_variable(&mut transaction, "B", "2").await;
    set_variable(&mut transaction, "A", "1").await;
    store.must_commit(transaction).await;
    let (all, listed) = call(&store, "_system/cli/queryEnvironmentVariables", json!({})).await.unwrap();
    assert_eq!(all, json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]));
    let get = |name: &str| call(&store, "_system/cli/queryEnvironmentVariables:get", json!({"name": name}));
    let (found, one) = get("A").await.unwrap();
    assert_eq!(found, json!({"name": "A", "value": "1"}));
    let (absent, missing) = get("C").await.unwrap();
    assert_eq!(absent, json!(null));
    // By this one the command line tool of some versions learns an address.
    let (site_url, _) = get("CONVEX_SITE_URL").await.unwrap();
    assert_eq!(site_url, json!({"name": "CONVEX_SITE_URL", "value": "http://127.0.0.1:3211"}));

    assert!(touches(&store, &listed, async |tx| set_variable(tx, "C", "3").await).await);
    assert!(touches(&store, &missing, async |tx| set_variable(tx, "C", "3").await).await);
    assert!(!touches(&store, &one, async |tx| set_variable(tx, "C", "3").await).await);
    let delete = async |tx: &mut Transaction| {
        let known = tx.environment_variable("A").unwrap();
        tx.delete_row::<EnvironmentVariableRow>(known.id).await.unwrap();
    };
    assert!(touches(&store, &one, delete).await);
}

#[tokio::test]
async fn the_api_specification_lists_functions_and_routes() {
    let module = |path: &str, analysis: Option<serde_json::Value>| ModuleRow {
        component: ComponentId::ROOT,
        path: path.to_owned(),
        environment: ModuleEnvironment::Isolate,
        source: BlobDigest([1; 32]),
        source_map: None,
        hash: [1; 32],
        analysis: analysis.map(|analysis| analysis.to_string().into()),
        imports: Vec::new(),
    };
    let store = Store::new();
    let mut push = store.begin().await;
    let arguments = json!({"type": "object", "value": {"n": {"fieldType": {"type": "literal", "value": {"$integer": "AQAAAAAAAAA="}}, "optional": false}}});
    let functions = json!([
        {"name": "list", "pos": null, "udfType": "Query", "visibility": {"kind": "public"},
         "args": arguments.to_string(), "returns": "null"},
        {"name": "secret", "pos": null, "udfType": "Mutation", "visibility": {"kind": "internal"},
         "args": null, "returns": "{\"type\":\"string\"}"},
    ]);
    let analysis =
        json!({"functions": functions, "httpRoutes": null, "cronSpecs": null, "sourceMapped": null});
    push.insert_row(&module("messages.js", Some(analysis))).await.unwrap();
    let routes = json!([{"route": {"path": "/hello", "method": "GET"}, "pos": null}]);
    push.insert_row(&module("http.js", Some(json!({"functions": [], "httpRoutes": routes})))).await.unwrap();
    push.insert_row(&module("_deps/A.js", None)).await.unwrap();
    store.must_commit(push).await;

    let (spec, answered) = call(&store, "_system/cli/modules:apiSpec", json!({})).await.unwrap();
    let any = json!({"type": "any"});
    assert_eq!(
        spec,
        json!([
            {"functionType": "HttpAction", "method": "GET", "path": "/hello"},
            {"functionType": "Query", "identifier": "messages.js:list", "args": arguments, "returns": any,
             "visibility": {"kind": "public"}},
            {"functionType": "Mutation", "identifier": "messages.js:secret", "args": any,
             "returns": {"type": "string"}, "visibility": {"kind": "internal"}},
        ])
    );
    let added = module("more.js", Some(json!({"functions": []})));
    assert!(touches(&store, &answered, async |tx| _ = tx.insert_row(&added).await.unwrap()).await);
    assert!(!touches(&store, &answered, async |tx| drop(insert(tx, "t", json!({})).await)).await);
}

#[tokio::test]
async fn the_cloud_url_is_told_and_wrong_calls_are_refused_by_name() {
    let store = Store::new();
    assert_eq!(
        answer(&store, "_system/cli/convexUrl:cloudUrl", json!({})).await,
        json!("http://127.0.0.1:3210")
    );
    for (path, arguments, expected) in [
        ("_system/cli/nothing:here", json!({}), "FunctionNotFound"),
        ("_system/cli/tableSize", json!({}), "ArgumentValidationError"),
        ("_system/cli/tableSize", json!({"tableName": 1}), "ArgumentValidationError"),
        ("_system/cli/tableSize", json!("messages"), "ArgumentValidationError"),
        ("_system/cli/tableSize", json!({"tableName": "no name"}), "InvalidIdentifier"),
        ("_system/cli/tableSize", json!({"tableName": "_tables"}), "SystemTableError"),
        ("_system/cli/tables", json!({"paginationOpts": null}), "ArgumentValidationError"),
        ("_system/cli/tables", json!({"paginationOpts": {"numItems": 0}}), "ArgumentValidationError"),
        (
            "_system/cli/tables",
            json!({"paginationOpts": {"numItems": 1, "cursor": 1}}),
            "ArgumentValidationError",
        ),
        (
            "_system/cli/tableData",
            json!({"table": "t", "order": "up", "paginationOpts": {"numItems": 1}}),
            "ArgumentValidationError",
        ),
    ] {
        let error = call(&store, path, arguments.clone()).await.unwrap_err();
        assert_eq!(error.code(), expected, "{path} {arguments}");
    }
}

async fn run_due(transaction: &mut Transaction) {
    let [entry] = &transaction.rows::<DueRow>("by_due", &[]).await.unwrap()[..] else { panic!("one entry") };
    let run = transaction.due_run(entry.id).await.unwrap().expect("it is there");
    let end = RunEnd {
        result: Ok(r#""done""#.into()),
        log_lines: vec!["[LOG] 'x'".to_owned()],
        execution_time: std::time::Duration::ZERO,
        at_ms: run.due.due_ms,
    };
    transaction.end_run(&run, &end).await.unwrap();
}

#[tokio::test]
async fn cron_jobs_are_shown_with_their_last_and_their_next_run() {
    let store = Store::new();
    let (jobs, runs) = ("_system/frontend/listCronJobs:default", "_system/frontend/listCronJobRuns:default");
    assert_eq!(answer(&store, jobs, json!({})).await, json!([]));
    assert_eq!(answer(&store, runs, json!({})).await, json!([]));
    let declared =
        json!({"name": "messages:send", "args": [{"n": 1}], "schedule": {"type": "interval", "seconds": 5}});
    let mut transaction = store.begin().await;
    let row =
        CronJobRow::new(ComponentId::ROOT, cron::CronSpec::from_json("tidy", &declared).unwrap()).unwrap();
    transaction.change_crons(ComponentId::ROOT, vec![row]).await.unwrap();
    store.must_commit(transaction).await;

    let (shown, finished) = call(&store, jobs, json!({})).await.expect("an answer");
    let [job] = &shown.as_array().expect("a list")[..] else { panic!("one job") };
    assert_eq!(job["name"], "tidy");
    assert_eq!(job["cronSpec"]["udfPath"], "messages.js:send");
    assert_eq!(
        job["cronSpec"]["cronSchedule"],
        json!({"type": "interval", "seconds": {"$integer": "BQAAAAAAAAA="}})
    );
    assert_eq!(job["lastRun"], json!(null));
    assert_eq!(
        (&job["nextRun"]["cronJobId"], &job["nextRun"]["state"]),
        (&job["_id"], &json!({"type": "pending"}))
    );

    assert!(touches(&store, &finished, run_due).await);
    let mut transaction = store.begin().await;
    run_due(&mut transaction).await;
    store.must_commit(transaction).await;
    let after = answer(&store, jobs, json!({})).await;
    assert_eq!(
        after[0]["lastRun"]["status"],
        json!({"type": "success", "result": {"type": "value", "value": "done"}})
    );
    assert_eq!(after[0]["lastRun"]["logLines"], json!({"logLines": ["[LOG] 'x'"], "isTruncated": false}));
    assert_eq!(after[0]["nextRun"]["prevTs"], job["nextRun"]["nextTs"]);
    assert_eq!(answer(&store, runs, json!({})).await, json!([after[0]["lastRun"]]));
}
