//! What functions ask about files.

use serde_json::json;
use transaction::FileRow;
use value::ComponentId;

use crate::harness::{DEPLOYMENT, Harness};

/// A file whose bytes are nowhere: functions do not ask for them.
async fn some_file(harness: &Harness) -> (String, String) {
    let mut known = None;
    harness
        .transact(async |transaction| {
            let object = transaction.note_object(ComponentId::ROOT).await.unwrap();
            let row =
                FileRow { component: ComponentId::ROOT, sha256: [7; 32], size_bytes: 3, content_type: None };
            let id = String::from(transaction.keep_file(object, &row).await.unwrap());
            let uuid = transaction.file(&id).await.unwrap().unwrap().uuid;
            known = Some((id, uuid));
        })
        .await;
    known.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_has_an_address_and_metadata_until_it_is_deleted() {
    let harness = Harness::start().await;
    let (id, uuid) = some_file(&harness).await;
    let file = json!({ "file": id });
    let url = format!("http://127.0.0.1:3210/api/storage/{uuid}");
    assert_eq!(harness.value_of("files:url", file.clone()).await, json!(url));
    let sha256 = "07".repeat(32);
    let metadata = json!({"storageId": id, "sha256": sha256, "size": 3, "contentType": null});
    assert_eq!(harness.value_of("files:metadata", file.clone()).await, metadata);
    harness.result_of("files:remove", file.clone()).await;
    assert_eq!(harness.value_of("files:url", file.clone()).await, json!(null));
    assert_eq!(harness.value_of("files:metadata", file.clone()).await, json!(null));
    let error = harness.mutation_error("files:remove", file).await;
    assert!(error.message.contains("StorageIdNotFound"), "{}", error.message);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_url_holds_for_the_deployment_that_made_it() {
    let harness = Harness::start().await;
    let url = harness.result_of("files:uploadUrl", json!({})).await;
    let begin = "http://127.0.0.1:3210/api/storage/upload?token=";
    let token = url.as_str().and_then(|url| url.strip_prefix(begin)).expect("an address with a token");
    let (transaction, _) = harness.transaction().await;
    assert_eq!(transaction.deployment(), DEPLOYMENT);
    assert_eq!(transaction.granted_component(token, 60_000).unwrap(), ComponentId::ROOT);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_store_and_delete_nothing_and_bytes_are_for_later() {
    let harness = Harness::start().await;
    for operation in ["1.0/storageGenerateUploadUrl", "1.0/storageDelete"] {
        let error = harness.query_error("files:askInQuery", json!({ "operation": operation })).await;
        assert!(error.message.contains("ReadOnly"), "{}", error.message);
    }
    for operation in ["1.0/storageStore", "1.0/storageGet"] {
        let error = harness.mutation_error("files:askInMutation", json!({ "operation": operation })).await;
        assert!(error.message.contains("NotSupportedYet"), "{}", error.message);
    }
    for operation in ["1.0/storageGetUrl", "1.0/storageGetMetadata"] {
        let error = harness.query_error("files:askInQuery", json!({ "operation": operation })).await;
        assert!(error.message.contains("InvalidArgument"), "{}", error.message);
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_store_files_and_read_them() {
    let harness = Harness::start().await;
    // More at once than may be under way, and one that takes several pieces.
    let sizes = [0, 1, 1 << 20, (2 << 20) + 3, 5, 6, 7, 8, 9, 10, 11, 12];
    let kept = harness.action_of("files:keepAll", json!({ "sizes": sizes })).await;
    let expected = sizes.map(|size| json!([true, if size > 0 { "image/png" } else { "" }, size, true]));
    assert_eq!(kept, json!(expected));
    assert_eq!(harness.runner.metrics().actions_running, 0);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_asks_about_a_file_and_deletes_it() {
    let harness = Harness::start().await;
    let file = harness.action_of("files:keepText", json!({"text": "hello"})).await;
    let named = json!({ "file": file });
    assert_eq!(harness.action_of("files:readText", named.clone()).await, json!(["text/plain", "hello"]));
    let url = harness.value_of("files:url", named.clone()).await;
    let about = harness.action_of("files:about", named.clone()).await;
    assert_eq!(about["url"], url);
    assert_eq!(about["metadata"], harness.value_of("files:metadata", named.clone()).await);
    assert_eq!(about["metadata"]["size"], 5);
    let upload = about["upload"].as_str().expect("a text");
    assert!(upload.starts_with("http://127.0.0.1:3210/api/storage/upload?token="), "{upload}");
    harness.action_of("files:removeByAction", named.clone()).await;
    assert_eq!(harness.action_of("files:readText", named.clone()).await, json!(null));
    assert_eq!(harness.action_of("files:about", named.clone()).await["url"], json!(null));
    let error = harness.action_error("files:removeByAction", named).await;
    assert!(error.message.contains("StorageIdNotFound"), "{}", error.message);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_digest_that_an_action_expects_is_checked_in_both_spellings() {
    let harness = Harness::start().await;
    let (base64, hex) = (
        "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    );
    for sha256 in [base64, hex] {
        harness.action_of("files:keepText", json!({"text": "hello", "sha256": sha256})).await;
    }
    let error = harness.action_error("files:keepText", json!({"text": "hallo", "sha256": base64})).await;
    let expected = format!("Sha256 mismatch. Expected: {base64} Actual: ");
    assert!(error.message.contains(&expected), "{}", error.message);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_nobody_waits_for_is_stored_all_the_same() {
    let harness = Harness::start().await;
    harness.action_of("files:keepBehind", json!({"text": "left behind"})).await;
    let files = harness.value_of("messages:list", json!({})).await;
    let read = harness.action_of("files:readText", json!({"file": files[0]})).await;
    assert_eq!(read, json!(["", "left behind"]));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_stored_or_read_is_refused_and_can_be_caught() {
    let harness = Harness::with(|options| options.limits.function.heap_bytes_max = 8 << 20).await;
    let caught = harness.action_of("files:wrong", json!({})).await;
    let caught: Vec<String> = serde_json::from_value(caught).expect("texts");
    for (message, part) in caught.iter().zip([
        "needs a Blob",
        "InvalidDigest",
        "InvalidContentType",
        "InvalidArgument",
        "InvalidOperationArguments",
        "there is no such file under way",
        "there is no such file under way",
        "there is no such file under way",
    ]) {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(caught.len(), 8);
    let mut large = None;
    harness
        .transact(async |transaction| {
            let object = transaction.note_object(ComponentId::ROOT).await.unwrap();
            let (component, sha256) = (ComponentId::ROOT, [7; 32]);
            let row = FileRow { component, sha256, size_bytes: 9 << 20, content_type: None };
            large = Some(String::from(transaction.keep_file(object, &row).await.unwrap()));
        })
        .await;
    let error = harness.action_error("files:readText", json!({ "file": large })).await;
    assert!(error.message.contains("FileTooLarge: the file has 9437184 bytes"), "{}", error.message);
    let error = harness.mutation_error("files:storeInMutation", json!({})).await;
    assert!(error.message.contains("storage.store() in queries and mutations"), "{}", error.message);
    harness.stop().await;
}
