//! Vector searches of actions.

use serde::Deserialize;
use serde_json::json;
use value::{DocumentId, InternalId};

use super::calls::Calls;
use crate::transaction::{Attempt, Failure, caught, parse};

#[derive(Deserialize)]
struct VectorSearchArguments {
    query: serde_json::Value,
}

impl Calls {
    /// Searches what was committed before the call. Whatever comes of it, the action may go on.
    pub(super) async fn vector_search(&self, operation: &str, arguments: &str) -> Attempt {
        let VectorSearchArguments { query } = parse(operation, arguments)?;
        let shared = &self.handle.shared;
        let mut transaction = shared.transactions.snapshot(self.call.deployment).await?;
        transaction.enter(self.component);
        let Some(checked) = transaction.vector_search(query)? else {
            return Ok(json!({"results": []}).to_string());
        };
        let found = match shared.search.search_vectors(checked.search).await {
            Ok(found) => found,
            Err(error) if error.code == "SearchIndexesUnavailable" => {
                return Err(caught("VectorIndexesUnavailable", error.message));
            }
            Err(error) => return Err(Failure::from(error)),
        };
        let results = found.into_iter().map(|found| {
            let id = DocumentId::new(checked.table, InternalId::from_bytes(found.id));
            json!({"_id": String::from(id), "_score": f64::from(found.score)})
        });
        Ok(json!({"results": results.collect::<Vec<_>>()}).to_string())
    }
}
