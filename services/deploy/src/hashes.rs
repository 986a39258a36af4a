//! What is deployed, for the command line tool to compare with.

use contract::{DeploymentRef, Result};
use serde_json::{Value as Json, json};

use crate::Deploy;

/// Where the functions are in a project that says nothing.
const DEFAULT_FUNCTIONS: &str = "convex/";

impl Deploy {
    /// The answer of `get_config_hashes`.
    pub async fn config_hashes(&self, deployment: DeploymentRef) -> Result<Json> {
        let mut transaction = self.snapshot(deployment).await?;
        let hashes: Vec<Json> = transaction
            .modules()
            .iter()
            .map(|module| {
                json!({
                    "path": module.row.path,
                    "environment": module.row.environment.name(),
                    "hash": hex::encode(module.row.hash),
                })
            })
            .collect();
        let config = transaction.udf_config();
        let functions = config.as_ref().map_or(DEFAULT_FUNCTIONS, |config| &config.row.functions_directory);
        let mut answer = json!({
            "config": {"functions": functions},
            "moduleHashes": hashes,
            "nodeDependencies": [],
        });
        if let Some(config) = &config {
            answer["udfServerVersion"] = Json::from(config.row.server_version.as_str());
        }
        Ok(answer)
    }
}
