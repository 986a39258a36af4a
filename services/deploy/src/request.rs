//! The bodies of the push requests, as the command line tool sends them.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value as Json;

/// The body of `start_push`, `evaluate_push` and `evaluate_schema`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PushRequest {
    #[serde(default)]
    pub dry_run: bool,
    /// The functions' folder in the project, kept for the next `get_config_hashes`.
    pub functions: String,
    pub app_definition: AppDefinition,
    #[serde(default)]
    pub component_definitions: Vec<ComponentDefinition>,
    #[serde(default)]
    pub node_dependencies: Vec<NodeDependency>,
    /// Code generation for a component alone; the deployed app is not concerned.
    #[serde(default)]
    pub for_codegen: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppDefinition {
    pub definition: Option<BundledModule>,
    pub schema: Option<BundledModule>,
    /// Modules whose text is sent.
    pub changed_modules: Vec<BundledModule>,
    /// Modules whose text is the deployed one.
    #[serde(default)]
    pub unchanged_module_hashes: Vec<ModuleHash>,
    #[serde(default)]
    pub udf_server_version: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BundledModule {
    pub path: String,
    pub source: Arc<str>,
    pub source_map: Option<Arc<str>>,
    pub environment: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ModuleHash {
    pub path: String,
    pub environment: String,
    /// Lower-case hexadecimal, over the source and then the source map.
    pub sha256: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentDefinition {
    pub definition_path: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct NodeDependency {
    pub name: String,
}

/// The body of `wait_for_schema`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitForSchemaRequest {
    pub schema_change: Json,
    /// How long to wait; as long as a request may, if it is not said.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    #[serde(default)]
    pub dry_run: bool,
}

/// The body of `finish_push`. The answer of `start_push` comes back as it was sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FinishPushRequest {
    pub start_push: Json,
    #[serde(default)]
    pub dry_run: bool,
}
