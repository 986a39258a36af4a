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
