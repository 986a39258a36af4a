//! The modules of a push that are for Node.js, and the packages that they import.

use std::collections::BTreeMap;

use bytes::Bytes;
use contract::{
    DeploymentRef, ModuleSource, NodeEvaluation, NodeEvaluationRequest, NodePackage, NodePackages, Push,
    Result,
};
use transaction::NodeConfig;

use crate::Handle;

impl Handle {
    /// Evaluates the modules of a push. Without any, what the push says of packages is of no account.
    pub(crate) async fn evaluate_node(
        &self,
        deployment: DeploymentRef,
        modules: Vec<ModuleSource>,
        environment: &BTreeMap<String, String>,
        push: &Push,
    ) -> Result<Option<NodeEvaluation>> {
        if modules.is_empty() {
            return Ok(None);
        }
        let request = NodeEvaluationRequest {
            deployment,
            modules,
            environment_variables: environment.clone(),
            version: push.node_version.clone(),
            packages: NodePackages::Wanted(push.node_packages.clone()),
        };
        self.dependencies().runner.evaluate_node(request).await.map(Some)
    }

    /// The modules as they are deployed, with other variables.
    pub(crate) async fn evaluate_deployed_node(
        &self,
        deployment: DeploymentRef,
        modules: Vec<ModuleSource>,
        environment: &BTreeMap<String, String>,
        config: &NodeConfig,
    ) -> Result<NodeEvaluation> {
        let lock = match config.lock {
            Some(digest) => Some(self.text_of(digest, "package-lock.json").await?),
            None => None,
        };
        let request = NodeEvaluationRequest {
            deployment,
            modules,
            environment_variables: environment.clone(),
            version: config.version.clone(),
            packages: NodePackages::Locked(lock),
        };
        self.dependencies().runner.evaluate_node(request).await
    }

    /// What is deployed with the modules of a push.
    pub(crate) async fn node_config(
        &self,
        evaluation: Option<&NodeEvaluation>,
        version: Option<String>,
        mut packages: Vec<NodePackage>,
    ) -> Result<NodeConfig> {
        let lock = match evaluation.and_then(|evaluation| evaluation.packages.as_deref()) {
            Some(lock) => Some(self.dependencies().blobs.put(Bytes::copy_from_slice(lock.as_bytes())).await?),
            None => None,
        };
        if evaluation.is_none() {
            packages.clear();
        }
        packages.sort_unstable();
        let packages = packages.iter().map(|NodePackage { name, version }| format!("{name}@{version}"));
        Ok(NodeConfig { version, packages: packages.collect(), lock })
    }
}

/// Packages as rows write them. A name can begin with an `@`, a version has none.
pub(crate) fn packages(texts: &[String]) -> Result<Vec<NodePackage>, String> {
    let package = |text: &String| {
        let (name, version) = text.rsplit_once('@').ok_or_else(|| format!("`{text}` is no package"))?;
        Ok(NodePackage { name: name.to_owned(), version: version.to_owned() })
    };
    texts.iter().map(package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_with_a_scope_are_read_as_they_were_written() {
        let read = packages(&["@a/b@1.0.0-x".to_owned(), "c@2.0.0".to_owned()]).expect("readable");
        let read: Vec<_> = read.iter().map(|one| (one.name.as_str(), one.version.as_str())).collect();
        assert_eq!(read, [("@a/b", "1.0.0-x"), ("c", "2.0.0")]);
        assert!(packages(&["c".to_owned()]).is_err());
    }
}
