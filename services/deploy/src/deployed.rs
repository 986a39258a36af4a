//! What is deployed, for the command line tool to compare with.

use std::sync::Arc;

use contract::{DeployedCode, DeploymentRef, Error, ModuleHash, Result};

use crate::{Handle, node};

impl Handle {
    pub(crate) async fn deployed(&self, deployment: DeploymentRef) -> Result<DeployedCode> {
        let mut transaction = self.transactions().snapshot(deployment).await?;
        let modules = transaction.modules().into_iter().map(|module| ModuleHash {
            path: module.row.path.clone(),
            environment: module.row.environment.name().to_owned(),
            sha256: hex::encode(module.row.hash),
        });
        let modules = modules.collect();
        let config = transaction.udf_config().map(|config| config.row);
        let node = config.as_ref().map(|config| config.node.clone()).unwrap_or_default();
        Ok(DeployedCode {
            functions_folder: config.as_ref().map(|config| config.functions_directory.clone()),
            server_version: config.map(|config| config.server_version),
            modules,
            node_version: node.version,
            node_packages: node::packages(&node.packages).map_err(Error::internal)?,
        })
    }

    pub(crate) async fn auth(&self, deployment: DeploymentRef) -> Result<Arc<str>> {
        let mut transaction = self.transactions().snapshot(deployment).await?;
        Ok(transaction.auth().map_or_else(|| "[]".into(), |stored| stored.row.providers))
    }
}
