//! Instances of components: what each has for itself, and what a change of which disturbs whom.

use contract::{CommitOutcome, Order};
use serde_json::json;
use transaction::{
    ComponentRow, FileRow, GetRequest, NestedLimits, NestedOutcome, NewJob, Query, Transaction, component_id,
};
use value::{ComponentId, ComponentPath, Object};

use crate::common::{Store, get, json};

fn path(text: &str) -> ComponentPath {
    text.parse().expect("a legal path")
}

fn row(at: &str) -> ComponentRow {
    let path = path(at);
    ComponentRow { path, definition: "d".into(), is_mounted: true, variables: Vec::new(), http_prefix: None }
}

async fn mount(store: &Store, paths: &[&str]) {
    let mut transaction = store.begin().await;
    for at in paths {
        transaction.insert_instance(&row(at)).await.expect("it is mounted");
    }
    store.must_commit(transaction).await;
}

async fn texts(transaction: &mut Transaction, table: &str) -> Vec<String> {
    let query = transaction.open_query(Query::full_table_scan(table.parse().unwrap(), Order::Ascending));
    let query = query.expect("it is open");
    let mut texts = Vec::new();
    while let Some(document) = transaction.next_document(query).await.expect("the next one") {
        texts.push(document.json().to_owned());
    }
    texts
}

/// Does something in a component.
async fn within<T>(
    transaction: &mut Transaction,
    component: ComponentId,
    work: impl AsyncFnOnce(&mut Transaction) -> T,
) -> T {
    transaction.begin_nested(component, &NestedLimits::default()).expect("it is not too deep");
    let done = work(transaction).await;
    transaction.end_nested(NestedOutcome::Keep);
    done
}

#[tokio::test]
async fn equal_names_and_numbers_are_other_tables_in_every_instance() {
    let store = Store::new();
    mount(&store, &["a", "a/b"]).await;
    let mut transaction = store.begin().await;
    let mut ids = Vec::new();
    for at in ["", "a", "a/b"] {
        let id = within(&mut transaction, component_id(&path(at)), async |transaction| {
            transaction.insert("t", json(json!({ "of": at }))).await.expect("it is inserted").to_string()
        });
        ids.push(id.await);
    }
    store.must_commit(transaction).await;
    let mut transaction = store.begin().await;
    for (position, at) in ["", "a", "a/b"].into_iter().enumerate() {
        within(&mut transaction, component_id(&path(at)), async |transaction| {
            let seen = texts(transaction, "t").await;
            assert!(seen.len() == 1 && seen[0].contains(&format!(r#""of":"{at}""#)), "{at}: {seen:?}");
            for (other, id) in ids.iter().enumerate() {
                let found = transaction.get(get(id)).await.expect("it is read").is_some();
                assert_eq!(found, other == position, "{at}: {id}");
            }
        })
        .await;
    }
}

#[tokio::test]
async fn jobs_and_files_are_seen_by_their_component_alone_and_do_not_say_whose_they_are() {
    let store = Store::new();
    mount(&store, &["a"]).await;
    let a = component_id(&path("a"));
    let mut transaction = store.begin().await;
    let mut jobs = Vec::new();
    for component in [ComponentId::ROOT, a, a] {
        let id = within(&mut transaction, component, async |transaction| {
            keep_file(transaction, component).await;
            let job = NewJob {
                component: ComponentId::ROOT,
                function: "m:f".parse().unwrap(),
                arguments: Object::new(),
                time_ms: 1.0,
                now_ms: 1.0,
                parent: None,
            };
            transaction.schedule(job).await.expect("a job").to_string()
        });
        jobs.push(id.await);
    }
    store.must_commit(transaction).await;
    let mut transaction = store.begin().await;
    for (component, count) in [(ComponentId::ROOT, 1), (a, 2)] {
        within(&mut transaction, component, async |transaction| {
            for table in ["_storage", "_scheduled_functions"] {
                let seen = texts(transaction, table).await;
                assert_eq!(seen.len(), count, "{table}: {seen:?}");
                assert!(seen.iter().all(|text| !text.contains("component")), "{seen:?}");
                assert_eq!(transaction.count(table).await.expect("a count"), count as u64);
            }
            for (position, id) in jobs.iter().enumerate() {
                let request = GetRequest { id, table: None, is_system: true };
                let found = transaction.get(request).await.expect("it is read").is_some();
                assert_eq!(found, (position == 0) == component.is_root());
            }
        })
        .await;
    }
}

#[tokio::test]
async fn an_instance_is_found_as_long_as_it_is_mounted() {
    let store = Store::new();
    mount(&store, &["a", "a/b"]).await;
    let mut transaction = store.begin().await;
    assert_eq!(transaction.component_at(&path("")), Some(ComponentId::ROOT));
    assert_eq!(transaction.component_at(&path("a/b")), Some(component_id(&path("a/b"))));
    assert_eq!(transaction.component_at(&path("b")), None);
    let a = transaction.child_component("a").expect("it is mounted");
    assert_eq!(transaction.child_component("b").expect_err("it is not").code(), "ComponentNotFound");
    assert_eq!(transaction.child_component("a/b").expect_err("no name").code(), "ComponentNotFound");
    within(&mut transaction, a, async |transaction| {
        assert_eq!(transaction.child_component("b").expect("within"), component_id(&path("a/b")));
    })
    .await;
    let stored = transaction.instances()[0].1.clone();
    transaction
        .replace_row(stored.id, &ComponentRow { is_mounted: false, ..stored.row.clone() })
        .await
        .expect("it is unmounted");
    assert_eq!(transaction.component_at(&path("a")), None);
    assert_eq!(transaction.check_mounted(a).expect_err("it is not").code(), "UnmountedComponent");
    let never = component_id(&path("never"));
    assert_eq!(transaction.check_mounted(never).expect_err("it is not").code(), "ComponentNotFound");
    store.must_commit(transaction).await;
    let transaction = store.begin().await;
    assert_eq!(transaction.deployment_catalog().component_path(a), Some(path("a")));
    // Its data is kept.
    let all = ["", "a", "a/b"].map(|at| (path(at), component_id(&path(at))));
    assert_eq!(transaction.deployment_catalog().component_paths(), all);
}

#[tokio::test]
async fn mounting_disturbs_those_alone_who_have_looked_for_what_is_mounted() {
    let store = Store::new();
    mount(&store, &["a"]).await;
    let mut transaction = store.begin().await;
    transaction.insert("t", json(json!({}))).await.expect("the table is there");
    store.must_commit(transaction).await;
    let look = async |at: &str| {
        let mut transaction = store.begin().await;
        transaction.component_at(&path(at));
        transaction.insert("t", json(json!({}))).await.expect("it is inserted");
        transaction.finish()
    };
    let (of_a, of_b) = (look("a").await, look("b").await);
    mount(&store, &["b"]).await;
    assert!(matches!(store.commit_finished(of_a).await, CommitOutcome::Committed { .. }));
    assert!(matches!(store.commit_finished(of_b).await, CommitOutcome::Conflict(_)));
}

#[tokio::test]
async fn what_is_not_mounted_any_more_can_be_deleted_and_nothing_else() {
    let store = Store::new();
    mount(&store, &["a", "b"]).await;
    let (a, b) = (component_id(&path("a")), component_id(&path("b")));
    let mut transaction = store.begin().await;
    for component in [a, b] {
        within(&mut transaction, component, async |transaction| {
            transaction.insert("t", json(json!({}))).await.expect("it is inserted");
            for _ in 0..3 {
                keep_file(transaction, component).await;
                let job = NewJob {
                    component,
                    function: "m:f".parse().unwrap(),
                    arguments: Object::new(),
                    time_ms: 1_000.0,
                    now_ms: 0.0,
                    parent: None,
                };
                transaction.schedule(job).await.expect("it is scheduled");
            }
        })
        .await;
    }
    store.must_commit(transaction).await;

    let mut transaction = store.begin().await;
    let refused = transaction.delete_instance(a, 10).await.expect_err("it is mounted");
    assert!(refused.to_string().contains("mounted"), "{refused}");
    let nowhere =
        transaction.delete_instance(component_id(&path("c")), 10).await.expect_err("nothing is there");
    assert!(nowhere.to_string().contains("no such component"), "{nowhere}");
    let stored = transaction.deployment_catalog().instance(a).expect("it is there").clone();
    let row = ComponentRow { is_mounted: false, ..stored.row.clone() };
    transaction.replace_row(stored.id, &row).await.expect("it is not mounted any more");
    store.must_commit(transaction).await;

    // Two jobs of three; the third and two files of three; then all else. Files of others come and go meanwhile.
    for is_gone in [false, false, true] {
        let mut transaction = store.begin().await;
        assert_eq!(transaction.delete_instance(a, 2).await.expect("it is deleted"), is_gone);
        let written = transaction.usage().system_documents_written;
        assert!(is_gone || written <= 6, "{written} rows in one commit");
        let mut upload = store.begin().await;
        keep_file(&mut upload, b).await;
        store.must_commit(upload).await;
        store.must_commit(transaction).await;
    }
    assert_eq!(
        store.begin().await.discarded(0, 100).await.expect("they are read").len(),
        3,
        "their bytes go"
    );
    loop {
        let mut transaction = store.begin().await;
        assert!(transaction.deployment_catalog().instance(a).is_none());
        if !transaction.deployment_catalog().has_dropped_tables() {
            break;
        }
        assert!(transaction.erase_dropped(10).await.expect("documents go"));
        store.must_commit(transaction).await;
    }

    mount(&store, &["a"]).await;
    let mut transaction = store.begin().await;
    for (component, documents, jobs, files) in [(a, 0, 0, 0), (b, 1, 3, 6)] {
        let seen = within(&mut transaction, component, async |transaction| {
            let jobs = transaction.queued_jobs(None, None, 100).await.expect("they are read").jobs.len();
            (texts(transaction, "t").await.len(), jobs, texts(transaction, "_storage").await.len())
        });
        assert_eq!(seen.await, (documents, jobs, files));
    }
}

async fn keep_file(transaction: &mut Transaction, component: ComponentId) {
    let object = transaction.note_object(component).await.expect("an object");
    let file = FileRow { component, sha256: [7; 32], size_bytes: 3, content_type: None };
    transaction.keep_file(object, &file).await.expect("a file");
}

#[tokio::test]
async fn files_go_by_their_component_and_some_at_a_time() {
    let store = Store::new();
    mount(&store, &["a"]).await;
    let a = component_id(&path("a"));
    let mut transaction = store.begin().await;
    for component in [ComponentId::ROOT, a, ComponentId::ROOT, ComponentId::ROOT] {
        keep_file(&mut transaction, component).await;
    }
    store.must_commit(transaction).await;
    for (component, more) in [(ComponentId::ROOT, [true, false]), (a, [false, false])] {
        for more in more {
            let mut transaction = store.begin().await;
            assert_eq!(transaction.delete_files(component, 2).await.expect("they go"), more);
            store.must_commit(transaction).await;
        }
        let mut transaction = store.begin().await;
        assert!(!transaction.has_files(component).await.expect("it can be read"));
        assert_eq!(transaction.has_files(a).await.expect("it can be read"), component.is_root());
    }
    assert_eq!(store.begin().await.discarded(0, 100).await.expect("they are read").len(), 4);
}

#[tokio::test]
async fn jobs_are_listed_by_the_component_that_has_scheduled_them_whoever_stands_before_them() {
    let mut limits = transaction::Limits::DEFAULT;
    limits.transaction.queue_rows_max = 50;
    let store = Store::with_limits(limits);
    mount(&store, &["a", "b"]).await;
    let (a, b) = (component_id(&path("a")), component_id(&path("b")));
    let schedule = async |transaction: &mut Transaction, owner, component, time_ms| {
        let (function, arguments) = ("m:f".parse().unwrap(), Object::new());
        let job = NewJob { component, function, arguments, time_ms, now_ms: 0.0, parent: None };
        within(transaction, owner, async |transaction| transaction.schedule(job).await.expect("a job")).await
    };
    let mut transaction = store.begin().await;
    for time_ms in 0..40 {
        schedule(&mut transaction, b, b, f64::from(time_ms)).await;
    }
    let up = schedule(&mut transaction, a, ComponentId::ROOT, 1_000.0).await;
    let down = schedule(&mut transaction, ComponentId::ROOT, a, 2_000.0).await;
    let own = schedule(&mut transaction, ComponentId::ROOT, ComponentId::ROOT, 3_000.0).await;
    store.must_commit(transaction).await;

    let mut transaction = store.begin().await;
    for (component, jobs) in [(ComponentId::ROOT, vec![down, own]), (a, vec![up])] {
        transaction.enter(component);
        let queued = transaction.queued_jobs(None, None, 100).await.expect("they are read").jobs;
        assert_eq!(queued, jobs);
        let (upcoming, has_more) = transaction.upcoming_jobs(2).await.expect("they are read");
        let shown: Vec<_> = upcoming.iter().filter_map(|job| job.job.get("_id")?.as_str()).collect();
        assert_eq!(shown, jobs.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert!(!has_more, "there are no others");
        assert_eq!(transaction.upcoming_jobs(1).await.expect("they are read").1, jobs.len() > 1);
    }
    // However many others have, so much is looked at.
    for time_ms in 40..60 {
        schedule(&mut transaction, b, b, f64::from(time_ms)).await;
    }
    transaction.enter(a);
    assert_eq!(transaction.upcoming_jobs(2).await.expect("they are read"), (Vec::new(), true));
}

#[tokio::test]
async fn requests_go_to_the_longest_prefix_that_has_a_router() {
    let store = Store::new();
    let mut transaction = store.begin().await;
    for (at, prefix) in [("a", Some("/a/")), ("a/b", Some("/b/")), ("root", Some("/")), ("none", None)] {
        let row = ComponentRow { http_prefix: prefix.map(str::to_owned), ..row(at) };
        let id = transaction.insert_instance(&row).await.expect("it is mounted");
        transaction.enter(id);
        router(&mut transaction).await;
        transaction.enter(ComponentId::ROOT);
    }
    let routed = |transaction: &Transaction, asked: &str| {
        let catalog = transaction.deployment_catalog();
        catalog
            .routed(asked)
            .map(|(id, route)| format!("{} {route}", catalog.component_path(id).expect("it is there")))
    };
    let expect = |transaction: &Transaction, all: &[(&str, &str)]| {
        for (asked, answer) in all {
            assert_eq!(routed(transaction, asked).as_deref(), Some(*answer), "{asked}");
        }
    };
    let all = [
        ("/", "root /"),
        ("/x", "root /x"),
        ("/a", "a /"),
        ("/a/x", "a /x"),
        ("/ab", "root /ab"),
        ("/a/b/c/", "a/b /c/"),
    ];
    expect(&transaction, &all);
    // The app's own router comes before a component's at the same place.
    router(&mut transaction).await;
    expect(&transaction, &[("/x", " /x"), ("/a/x", "a /x")]);
    // A component comes before those that it mounts at its own place, whatever their names are, and two beside each other have an order.
    let within_it = ["c", "d", "e", "f", "g", "h", "c/x", "c/y"].map(|name| format!("a/{name}"));
    for at in &within_it {
        let row = ComponentRow { http_prefix: Some("/".to_owned()), ..row(at) };
        let id = transaction.insert_instance(&row).await.expect("it is mounted");
        transaction.enter(id);
        router(&mut transaction).await;
        transaction.enter(ComponentId::ROOT);
    }
    expect(&transaction, &[("/x", " /x"), ("/a/x", "a /x"), ("/a/b/c/", "a/b /c/")]);
    let a = transaction.deployment_catalog().instance(component_id(&path("a"))).expect("it is there").clone();
    let unmounted = ComponentRow { is_mounted: false, ..a.row.clone() };
    transaction.replace_row(a.id, &unmounted).await.expect("it is unmounted");
    expect(&transaction, &[("/a/x", "a/c /x"), ("/a/b/c/", "a/b /c/")]);
    assert_eq!(transaction.deployment_catalog().site_path(component_id(&path("a/b"))), "/a/b");
    assert_eq!(transaction.deployment_catalog().site_path(component_id(&path("none"))), "");
}

async fn router(transaction: &mut Transaction) {
    let row = transaction::ModuleRow {
        component: transaction.component(),
        path: "http.js".into(),
        environment: transaction::ModuleEnvironment::Isolate,
        source: contract::BlobDigest([1; 32]),
        source_map: None,
        hash: [1; 32],
        analysis: None,
        imports: Vec::new(),
    };
    transaction.insert_row(&row).await.expect("a router");
}
